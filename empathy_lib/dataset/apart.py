"""Posts that speak of danger to life: tagged, and in real sources kept from what models learn and answer.

Knows: the crisis gate, what ``dataset.crisis`` says. Does not know: how a post is read
(``empathy_lib.core.crisis``). None is deleted: what is set aside is a file of the dataset of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

from empathy_lib.core.config import SYNTHETIC, DatasetConfig
from empathy_lib.core.crisis import screen
from empathy_lib.core.errors import UserError
from empathy_lib.core.schema import Item
from empathy_lib.dataset.store import map_items, select

FILE = "crisis.jsonl"


def crisis_apart(items: Sequence[Item], config: DatasetConfig) -> tuple[Sequence[Item], Sequence[Item]]:
    """Items to go on with, and those set aside, each with its ``crisis`` level.

    A synthetic source is left as it is: it is nobody's distress, and a tag on it would be a false alarm.
    With ``dataset.crisis=keep`` items are tagged and none is set aside.

    Raises:
        UserError: every post is flagged, so nothing is left.
    """
    if config.data == SYNTHETIC:
        return items, []
    done, flags = map_items(tagged, items)
    flagged = [flag for part in flags for flag in part]
    if config.crisis == "keep" or not any(flagged):
        return done, []
    check_some_left(len(flagged), sum(flagged), config)
    kept, apart = (
        [place for place, flag in enumerate(flagged) if flag == wanted] for wanted in (False, True)
    )
    return select(done, kept), select(done, apart)


def check_some_left(posts: int, flagged: int, config: DatasetConfig) -> None:
    """Raise a :class:`UserError` where all posts are to be set aside."""
    if posts == flagged:
        raise UserError(
            f"{config.data}: all {posts} posts speak of danger to life and are set aside; give more "
            "posts, or dataset.crisis=keep"
        )


def tagged(items: list[Item]) -> tuple[list[Item], list[bool]]:
    """Items with their ``crisis`` level, and whether each is flagged."""
    found = [screen(item.question) for item in items]
    done = [item.model_copy(update={"crisis": each.level}) for item, each in zip(items, found, strict=True)]
    return done, [each.flagged for each in found]
