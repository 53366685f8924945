"""Does the reply depend on the chain? The policy reads its own reply again, after a chain that was changed.

Knows: how a chain is changed, and the log-probability of the reply that followed it. Does not know: whether a
chain is true (``reward.marking``). The idea is that of tests of faithful reasoning (arXiv 2307.13702), on
log-probabilities in place of new samples: nothing is drawn, so a difference is no luck of sampling.

Two things to say beside every figure. A changed chain is one that the policy would hardly write, so part of a
loss is surprise. And a synthetic reply shares its chain's labels by construction: the post alone would give
much of it. How the chains are changed is our choice; the paper has no such test.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from empathy_lib.core.coe import LAYERS, Completion, opening, parse
from empathy_lib.core.schema import Item
from empathy_lib.core.statistics import NOT_AVAILABLE, Score, bootstrap_mean, holm, paired_permutation
from empathy_lib.models.decoding import positions, read_prompts

Measure = Callable[[pd.Series, pd.Series], float]  # of the reference and a condition, post by post
FILLER = "这里先不展开说。"
# The frame of a layer in other words; labels and what is quoted from the post stay as they are.
OTHER_WORDS = {
    "来访者": "发帖的人",
    "主要情绪": "最明显的情绪",
    "核心情绪": "最突出的情绪",
    "处境": "境况",
    "情境": "境况",
    "感到": "觉得",
    "希望": "盼着",
    "原因": "缘由",
    "根源": "起因",
    "信念": "看法",
    "想法": "念头",
    "形成": "生出",
    "求助的重心": "求助的重点",
    "核心诉求": "最想要的",
    "开口": "说出来",
    "体现了": "看得出",
    "属": "算是",
    "先": "首先",
    "再": "然后",
    "之后": "以后",
    "给出": "提供",
}
_QUOTED = re.compile("(“[^”]*”|「[^」]*」)")
CUTS = tuple(f"first {kept} layers" if kept else "no layer" for kept in range(4))
PLANTED = {"emotion": "L1", "intent": "L3"}  # a label to the layer that says it
CONDITIONS = {
    "intact": "as written",
    **{name: "the layers after these are left out, tags too" for name in CUTS},
    "filler": f"every layer says {FILLER}",
    "paraphrase": "the same in other words, labels and quotations kept",
    "same topic": "the chain of another post of the topic",
    "other topic": "the chain of a post of another topic",
    "planted emotion": "L1 of a post with another emotion",
    "planted intent": "L3 of a post with another intent",
}


def changed_chains(items: Sequence[Item], completions: Sequence[str]) -> list[dict[str, str]]:
    """Of each completion, condition to its opening; a condition for which no other post serves is left out,
    and a completion that is not well-formed has none.

    The other post is the next one, in the order given, that serves; ``items`` are the completions' own.
    """
    parsed = [parse(completion) for completion in completions]
    return [_changed(place, items, parsed) for place in range(len(items))]


def _changed(place: int, items: Sequence[Item], parsed: Sequence[Completion | None]) -> dict[str, str]:
    if (own := parsed[place]) is None:
        return {}
    layers = own.coe.model_dump()
    made = {"intact": opening(layers)}
    for kept, name in enumerate(CUTS):
        made[name] = opening({layer: layers[layer] for layer in LAYERS[:kept]})
    made["filler"] = opening(dict.fromkeys(LAYERS, FILLER))
    reworded = {layer: in_other_words(text) for layer, text in layers.items()}
    if reworded != layers:
        made["paraphrase"] = opening(reworded)
    item = items[place]

    def chain(serves: Callable[[Item], Any]) -> dict[str, str] | None:
        other = donor(place, items, parsed, serves)
        return None if other is None else parsed[other].coe.model_dump()

    if same := chain(lambda other: item.topic and other.topic == item.topic):
        made["same topic"] = opening(same)
    if foreign := chain(lambda other: item.topic and other.topic and other.topic != item.topic):
        made["other topic"] = opening(foreign)
    for label, layer in PLANTED.items():
        if planted := chain(differs(item, label)):
            made[f"planted {label}"] = opening({**layers, layer: planted[layer]})
    return made


def donor(
    place: int,
    items: Sequence[Item],
    parsed: Sequence[Completion | None],
    serves: Callable[[Item], Any],
) -> int | None:
    """The next post after ``place``, in the order given and around, that has a chain and serves."""
    others = [*range(place + 1, len(items)), *range(place)]
    return next((other for other in others if parsed[other] and serves(items[other])), None)


def differs(item: Item, label: str) -> Callable[[Item], bool]:
    """Whether another post has another gold ``label``; where either has none, it does not serve."""
    return lambda other: bool(
        item.gold and other.gold and getattr(other.gold, label) != getattr(item.gold, label)
    )


def in_other_words(text: str) -> str:
    """A layer with the words of its frame changed, by the table above; what is quoted is not touched."""
    parts = _QUOTED.split(text)
    for place in range(0, len(parts), 2):
        for word, other in OTHER_WORDS.items():
            parts[place] = parts[place].replace(word, other)
    return "".join(parts)


@torch.no_grad()
def reply_log_probability(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompt: str,
    openings: Sequence[str],
    reply: str,
) -> np.ndarray:
    """Mean log-probability of the reply's tokens after each opening, shape ``(len(openings),)``, in nats a
    token. The prompt, which all share, is read once."""
    asked = tokenizer(prompt)["input_ids"]
    said = tokenizer(reply + "</answer>", add_special_tokens=False)["input_ids"]
    rows = [tokenizer(text, add_special_tokens=False)["input_ids"] + said for text in openings]
    width, device = max(map(len, rows)), model.device
    # padding stands between the prompt and an opening, unseen, so that all replies end together
    ids = torch.tensor([asked + [0] * (width - len(row)) + row for row in rows], device=device)
    seen = torch.ones_like(ids)
    for place, row in enumerate(rows):
        seen[place, len(asked) : len(asked) + width - len(row)] = 0
    cache = read_prompts(model, ids[:, : len(asked)], seen[:, : len(asked)])
    made = model(
        input_ids=ids[:, len(asked) - 1 :],
        attention_mask=seen,
        position_ids=positions(seen)[:, len(asked) - 1 :],
        past_key_values=cache,
        logits_to_keep=len(said) + 1,
    ).logits[:, :-1]
    target = torch.tensor(said, device=device)
    found = [row.float().log_softmax(-1)[torch.arange(len(said)), target].mean() for row in made]
    return torch.stack(found).cpu().numpy()


def dependence(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    items: Sequence[Item],
    completions: Sequence[str],
    prompts: Sequence[str],
) -> pd.DataFrame:
    """Mean log-probability of each own reply, a row a post with a well-formed completion, a column a
    condition; NaN where a condition has no chain."""
    rows = {}
    for item, completion, prompt, made in zip(
        items, completions, prompts, changed_chains(items, completions), strict=True
    ):
        if made:
            answer = parse(completion).answer
            found = reply_log_probability(model, tokenizer, prompt, list(made.values()), answer)
            rows[item.id] = dict(zip(made, found.tolist(), strict=True))
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(CONDITIONS), dtype=float)


def dependence_table(found: pd.DataFrame, *, resamples: int, rng: np.random.Generator) -> pd.DataFrame:
    """What each change costs: the intact chain's log-probability minus the changed one's, in nats a token of
    the reply, with interval, ``p_holm`` over the conditions, and ``preferred``, the share of posts whose
    reply is likelier after the own chain."""
    return paired_table(
        found,
        "intact",
        after={"preferred": lambda intact, changed: (intact > changed).mean()},
        resamples=resamples,
        rng=rng,
    )


def paired_table(
    found: pd.DataFrame,
    reference: str,
    *,
    before: Mapping[str, Measure] | None = None,
    after: Mapping[str, Measure] | None = None,
    resamples: int,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """The ``reference`` column minus each condition's, tested in pairs, with ``p_holm`` over the conditions
    that ``found`` has; further columns are measured on both, to stand before or after the test's."""
    rows = {}
    for name in [name for name in list(CONDITIONS)[1:] if name in found]:
        both = found[[reference, name]].dropna()
        pair = both[reference], both[name]
        test = paired_permutation(*pair, rng=rng, resamples=resamples)
        measured = [{key: of(*pair) for key, of in (some or {}).items()} for some in (before, after)]
        rows[name] = {"change": CONDITIONS[name], **measured[0], **vars(test), **measured[1]}
    table = pd.DataFrame.from_dict(rows, orient="index")
    return table.assign(p_holm=holm(table["p"].to_numpy(dtype=float)))


def area_over_curve(found: pd.DataFrame, *, resamples: int, rng: np.random.Generator) -> Score:
    """Mean over the four cuts of what a reply loses, in nats a token: 0 where the layers do not matter to it.
    One number a post, so that the interval is over posts."""
    if found.empty:
        return NOT_AVAILABLE
    lost = found["intact"] - found[list(CUTS)].mean(axis=1)
    return bootstrap_mean(lost, resamples=resamples, rng=rng)
