"""English for the labels of a synthetic post, so that readers without Chinese can follow the cards.

Knows: ``data/synthesis_glosses.yaml`` and the one line that a card shows beneath a post, or a chain.
Does not know: how a card looks (``core.coe``), or how posts are written: no data is made from a gloss.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from empathy_lib.core.errors import UserError
from empathy_lib.core.schema import Item
from empathy_lib.dataset.lexicon import SYNTHESIS_DIR, read_yaml

GLOSS_FILE = SYNTHESIS_DIR.with_name("synthesis_glosses.yaml")


@lru_cache
def load_glosses(path: Path = GLOSS_FILE) -> dict[str, str]:
    """Label to its English.

    Raises:
        UserError: the file is missing or no YAML, or a label's gloss is no text; names file and label.
    """
    glosses = read_yaml(path)
    for label, gloss in glosses.items():
        if not (isinstance(label, str) and isinstance(gloss, str) and gloss.strip()):
            raise UserError(
                f"{path}: field '{label}': no text; give the label's English, in quotes if need be"
            )
    return glosses


def english(label: str) -> str:
    """A label's gloss, or the label as it stands where none is known."""
    return load_glosses().get(label, label)


def bilingual(label: str, between: str = " · ") -> str:
    """A label with its English behind it; alone where none is known."""
    gloss = english(label)
    return label if gloss == label else f"{label}{between}{gloss}"


def gloss_line(item: Item) -> str:
    """A post's labels in one line of English: topic / sub-topic · emotion · situation · “belief” · intent.

    Empty for an item without gold labels; a label that is none of the synthesis' stands as it is.
    """
    if item.gold is None:
        return ""
    gold = item.gold
    place = " / ".join(english(name) for name in (item.topic, item.subtopic) if name)
    belief = gold.belief or gold.cause
    parts = (place, english(gold.emotion), english(gold.situation), belief and f"“{english(belief)}”")
    return " · ".join(part for part in (*parts, english(gold.intent)) if part)


def gloss_layers(item: Item) -> str:
    """What each layer of a synthetic item's chain says, in English, a line each; L4 is its first answer's
    strategy. Empty for an item without gold labels."""
    if item.gold is None:
        return ""
    gold = item.gold
    layers = {
        "L1": f"{english(gold.emotion)}: {english(gold.situation)}",
        "L2": f"{english(gold.cause)}; belief: “{english(gold.belief)}”, which is {english(gold.bias)}",
        "L3": english(gold.intent),
        "L4": english(item.answers[0].strategy),
    }
    return "\n".join(f"{layer}  {said}" for layer, said in layers.items())
