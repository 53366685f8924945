"""Batches for InfoNCE in which no post is met twice, be it as anchor or as the post that a negative answers.

Knows: sentence-transformers' batch samplers. Does not know: texts, the loss.

Every other text of a batch counts as a wrong answer to an anchor. A second answer to the same post, as
another triplet's positive or negative, would be pushed away though it is right. The library's
``NO_DUPLICATES`` compares texts: it keeps an anchor from coming twice, but sees no second answer to it among
other triplets' negatives, and on few posts its epochs have more batches than it says, so that a resumed run
would lose its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from sentence_transformers import SentenceTransformerTrainer
from sentence_transformers.base.sampler import DefaultBatchSampler

_SIDES = ("anchor", "positive", "negative")


class OncePerPost(DefaultBatchSampler):
    """Batches of which no two triplets touch one post, drawn from (seed, epoch) alone.

    There are as many as without that rule, none is empty. A triplet that finds no place, which happens where
    posts are few, waits for the next epoch.

    Args:
        posts: of each triplet, the posts it touches.
    """

    def __init__(self, posts: Sequence[frozenset[str]], batch_size: int, seed: int = 0):
        super().__init__(range(len(posts)), batch_size, drop_last=False, seed=seed)
        self.posts = posts

    def __iter__(self) -> Iterator[list[int]]:
        batches = [([], set()) for _ in range(len(self))]
        full = 0  # batches before this one are
        for index in np.random.default_rng([self.seed, self.epoch]).permutation(len(self.posts)).tolist():
            for members, touched in batches[full:]:
                if len(members) < self.batch_size and touched.isdisjoint(self.posts[index]):
                    members.append(index)
                    touched |= self.posts[index]
                    break
            while full < len(batches) and len(batches[full][0]) == self.batch_size:
                full += 1
        yield from (members for members, _ in batches)


class TripletTrainer(SentenceTransformerTrainer):
    """The library's trainer with batches of :class:`OncePerPost`."""

    def know(self, triplets: Sequence[dict]) -> None:
        """Learn which posts each triplet touches: its own, and those that its negative's replies answer
        (``others``)."""
        self.posts = {
            tuple(t[side] for side in _SIDES): frozenset([t["anchor"], *t.get("others", ())])
            for t in triplets
        }

    def get_batch_sampler(self, dataset, batch_size, drop_last, seed=0, **_) -> OncePerPost:
        """Whatever else the library asks of a sampler (labels, a shared generator) does not matter here."""
        touched = [self.posts[tuple(row[side] for side in _SIDES)] for row in dataset]
        return OncePerPost(touched, batch_size, seed or 0)
