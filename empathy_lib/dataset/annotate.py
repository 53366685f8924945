"""The Chain of Empathy of every answer: taken from the source (``gold``), or made from the post by rules
(``rules``).

Knows: items and where their chains come from. Does not know: how rules read a post (``rules``). The third
annotator, a language model, is in ``teacher``. The paper does not say how its chains were made; all rules are
our choice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from empathy_lib.core.coe import ChainOfEmpathy
from empathy_lib.core.errors import UserError
from empathy_lib.core.schema import Item
from empathy_lib.dataset.rules.chain import default_rules, named_nothing
from empathy_lib.dataset.store import map_items

Annotator = Literal["gold", "rules"]
_ORIGINS = {
    "gold": "given by the source",
    "rules": "rule-made, the post's clauses told again in four layers: grounded, often shallow",
    "teacher": "written by a language model",
}


def chain_origin(item: Item) -> str:
    """Who made an item's chain, for the label above it; of a real post also what that limits."""
    if item.gold is not None and item.coe_origin == "gold":
        return "made from the labels that this synthetic post was written from (annotator: gold)"
    made = _ORIGINS.get(item.coe_origin, "of unknown origin")
    named = f"{made} (annotator: {item.coe_origin or 'not named'})"
    return named if item.gold else f"{named}; no chain of a real post is better than its annotator"


def has_gold(item: Item) -> bool:
    """Whether the source itself gives chains for the item."""
    return item.coe_origin == "gold" and any(answer.coe is not None for answer in item.answers)


def resolve_annotator(items: Sequence[Item], wanted: Annotator) -> Annotator:
    """``wanted``, or ``rules`` where gold is wanted and any item has none (real data); prints a line when it
    falls back."""
    return gold_or_rules(sum(not has_gold(item) for item in items), len(items), wanted)


def gold_or_rules(lacking: int, questions: int, wanted: Annotator) -> Annotator:
    """:func:`resolve_annotator` from the number of questions that lack a gold chain."""
    if wanted == "gold" and lacking:
        print(
            f"annotator: {lacking} of {questions} questions carry no gold Chain of Empathy, so the rules "
            f"annotator makes all chains"
        )
        return "rules"
    return wanted


def annotate(items: Sequence[Item], annotator: Annotator) -> Sequence[Item]:
    """Items with a chain on every answer and ``coe_origin`` set; the input is not changed.

    An answer without a chain in a ``gold`` item is planted noise that got past the cleaning. It stays, as
    noise of a real corpus would, with the chain of the item's first answer that has one: L1 to L3 are true of
    the post whatever the answer.

    Raises:
        UserError: ``gold`` is asked for and an item has none.
    """
    return map_items(BY[annotator], items)[0]


def _with_gold(items: list[Item]) -> tuple[list[Item], None]:
    for item in items:
        if not has_gold(item):
            raise UserError(
                f"item '{item.id}', field 'coe': no gold Chain of Empathy; set dataset.annotator=rules"
            )
    return [_with_chains(item, next(a.coe for a in item.answers if a.coe), keep=True) for item in items], None


def _with_rules(items: list[Item]) -> tuple[list[Item], None]:
    rules = default_rules()
    chained = [_with_chains(item, rules.chain(item.question), keep=False) for item in items]
    return [item.model_copy(update={"coe_origin": "rules"}) for item in chained], None


# takes items and gives them back with chains, as map_items wants it
BY: dict[Annotator, Callable[[list[Item]], tuple[list[Item], None]]] = {
    "gold": _with_gold,
    "rules": _with_rules,
}


def _with_chains(item: Item, chain: ChainOfEmpathy, *, keep: bool) -> Item:
    answers = [
        answer if keep and answer.coe else answer.model_copy(update={"coe": chain}) for answer in item.answers
    ]
    return item.model_copy(update={"answers": answers})


def rules_named_nothing(items: Iterable[Item]) -> dict[str, float] | None:
    """:func:`named_nothing` of the items' own chains, a chain a post; None where the rules made none."""
    chains = (item.answers[0].coe for item in items if item.coe_origin == "rules" and item.answers)
    shares = named_nothing(filter(None, chains))
    return shares if shares["posts"] else None


def named_nothing_line(shares: dict[str, float] | None) -> str:
    """The shares in a sentence; empty without any."""
    if not shares:
        return ""
    parts = ", ".join(f"{layer} of {share:.0%}" for layer, share in shares.items() if layer != "posts")
    return f"the rules named nothing in {parts} of {shares['posts']:,} posts (emotion, cause, request)"


def rules_accuracy(items: list[Item]) -> dict[str, float] | None:
    """Share of items whose gold ``emotion`` and ``intent`` the rules find; None where no item has gold labels
    (real data).

    Optimistic, and no held-out result: the rules' words and the synthetic posts come from the same project,
    and the wordings of requests were mended on synthetic posts of another seed.
    """
    known = [(item.question, item.gold) for item in items if item.gold]
    if not known:
        return None
    rules = default_rules()
    found = [(rules.labels(post), gold) for post, gold in known]
    return {
        "emotion": sum(emotion == gold.emotion for (emotion, _), gold in found) / len(found),
        "intent": sum(intent == gold.intent for (_, intent), gold in found) / len(found),
    }
