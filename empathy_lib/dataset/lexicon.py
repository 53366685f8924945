"""The words that emotions, cognitive biases and intents go by in a Chain of Empathy.

Knows: which words name an emotion, the Chinese name of each bias, the canonical phrase of each intent.
Does not know: how text is written with them (``synthesis``), annotated (``annotate``) or marked
(``metrics``).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from empathy_lib.core.errors import UserError
from empathy_lib.core.run import ROOT
from empathy_lib.core.schema import Intent, describe

SYNTHESIS_DIR = ROOT / "data" / "synthesis"
COMMON_FILE = SYNTHESIS_DIR / "common.yaml"
_FEWEST_SYNONYMS = 6


class Lexicon(BaseModel):
    """``emotions``: emotion to the words that name it (itself among them); ``biases``: key to Chinese name,
    as in ``Gold.bias``; ``intents``: key to the phrase that stands in every L3 of that intent."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    emotions: dict[str, list[str]]
    biases: dict[str, str]
    intents: dict[Intent, str]

    @field_validator("emotions")
    @classmethod
    def _words_tell_emotions_apart(cls, emotions: dict[str, list[str]]) -> dict[str, list[str]]:
        for emotion, words in emotions.items():
            if emotion not in words or len(set(words)) < _FEWEST_SYNONYMS:
                raise ValueError(
                    f"'{emotion}' needs at least {_FEWEST_SYNONYMS} different words, itself among them"
                )
            for other, others in emotions.items():
                clash = [(a, b) for a in words for b in others if other != emotion and a in b]
                if clash:
                    raise ValueError(
                        f"'{clash[0][0]}' of '{emotion}' is part of '{clash[0][1]}' of '{other}'; drop one "
                        f"of them"
                    )
        return emotions

    @field_validator("intents")
    @classmethod
    def _all_intents(cls, intents: dict[Intent, str]) -> dict[Intent, str]:
        missing = set(get_args(Intent)) - set(intents)
        if missing:
            raise ValueError(f"no phrase for {', '.join(sorted(missing))}; give every intent one")
        return intents

    def emotion_counts(self, text: str) -> dict[str, int]:
        """How many different words of each emotion stand in ``text``; emotions without one are left out."""
        counts = {emotion: sum(word in text for word in words) for emotion, words in self.emotions.items()}
        return {emotion: count for emotion, count in counts.items() if count}


def read_yaml(path: Path) -> dict:
    """Read a YAML file that holds one mapping.

    Raises:
        UserError: the file is missing, no YAML or no mapping; names file, line and remedy.
    """
    try:
        value = yaml.load(
            Path(path).read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        )
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; restore it from the repository") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise UserError(
            f"{path}{where}: not valid YAML ({getattr(error, 'problem', error)}); mend that line"
        ) from error
    if not isinstance(value, dict):
        raise UserError(f"{path}: holds no mapping; see the files beside it for the layout")
    return value


@lru_cache
def load_lexicon(path: Path = COMMON_FILE) -> Lexicon:
    """Read the ``lexicon`` section of ``data/synthesis/common.yaml``.

    Raises:
        UserError: names file and field of a fault.
    """
    try:
        return Lexicon.model_validate(read_yaml(path).get("lexicon", {}))
    except ValidationError as error:
        raise UserError(f"{path}: section 'lexicon', {describe(error)}") from error
