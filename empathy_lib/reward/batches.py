"""Batches for InfoNCE: like posts together, none met twice, and how their texts are read.

Knows: sentence-transformers' batch samplers and loss, which posts are alike in words. Does not know: how
triplets are drawn.

Every other answer of a batch is a wrong one to an anchor, whether drawn for it or not. Among posts at random
it is told by its topic alone. Among posts that are near in words it answers the same trouble of another
person, at no further token: so a batch is one post and those nearest to it.

A second answer to the same post, as another triplet's positive or negative, would be pushed away though it
is right; so would one to a post of the same need, where needs are known. The library's
``NO_DUPLICATES`` compares texts: it keeps an anchor from coming twice, but sees no second answer to it among
other triplets' negatives, and on few posts its epochs have more batches than it says, so that a resumed run
would lose its place.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
from sentence_transformers.base.sampler import DefaultBatchSampler
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.neighbors import NearestNeighbors
from torch.nn.functional import pad
from torch.utils.checkpoint import checkpoint

from empathy_lib.core.segment import Segmenter
from empathy_lib.models.passes import deal, padded
from empathy_lib.models.processes import count

_SIDES = ("anchor", "positive", "negative")
_NEAR_BATCHES = 20  # so many batches' worth of near posts are known of each: the nearest may be gone
_KEPT_PASSES = 4  # whose activations wait for the backward pass; those of further ones are computed again


def nearest_posts(posts: Sequence[str], most: int) -> np.ndarray:
    """The ``most`` nearest others of each post by cosine of TF-IDF over words, nearest first, shape
    ``(n, min(most, n - 1))``."""
    words = TfidfVectorizer(analyzer=Segmenter("word").tokenize, sublinear_tf=True).fit_transform(posts)
    index = NearestNeighbors(n_neighbors=min(most, len(posts) - 1), metric="cosine", algorithm="brute")
    return index.fit(words).kneighbors(return_distance=False)  # asked about no post, it leaves out each own


class OncePerPost(DefaultBatchSampler):
    """Batches of which no two triplets touch one post, drawn from (seed, epoch) alone.

    There are as many as without that rule, none is empty. A triplet that finds no place, which happens where
    posts are few, waits for the next epoch.

    Args:
        posts: of each triplet, the posts it touches.
        anchors: of each triplet, its own post, where near posts are to share a batch; else chance decides.
        processes: among which a batch is dealt: so many equal parts of it follow each other; what cannot be
            dealt evenly waits for the next epoch.
    """

    def __init__(
        self,
        posts: Sequence[frozenset[str]],
        batch_size: int,
        seed: int = 0,
        anchors: Sequence[str] = (),
        processes: int = 1,
    ):
        super().__init__(range(len(posts)), batch_size, drop_last=False, seed=seed)
        self.posts, self.size, self.processes = posts, batch_size, processes
        self.whole = super().__len__()  # batches of all processes together
        if processes > 1:  # parts are of any length, and none is made up to be even with others
            self.batch_size, self.drop_last = None, True
        numbers = {post: number for number, post in enumerate(dict.fromkeys(anchors))}
        self.own = [numbers[post] for post in anchors]
        self.nearest = nearest_posts([*numbers], _NEAR_BATCHES * batch_size) if len(numbers) > 1 else None

    def __len__(self) -> int:
        return self.whole * self.processes

    def _order(self, rng: np.random.Generator) -> Iterator[int]:
        """All triplets; where posts are compared, each first one of a batch with one of each of the nearest
        posts that have any left."""
        order = rng.permutation(len(self.posts)).tolist()
        if self.nearest is None:
            yield from order
            return
        left = defaultdict(list)
        for index in reversed(order):
            left[self.own[index]].append(index)
        for index in order:
            post = self.own[index]
            if index not in left[post]:
                continue
            left[post].remove(index)
            yield index
            near = (other for other in self.nearest[post].tolist() if left[other])
            for other in islice(near, self.size - 1):
                yield left[other].pop()

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        batches = [([], set()) for _ in range(self.whole)]
        full = 0  # batches before this one are
        for index in self._order(rng):
            for members, touched in batches[full:]:
                if len(members) < self.size and touched.isdisjoint(self.posts[index]):
                    members.append(index)
                    touched |= self.posts[index]
                    break
            while full < len(batches) and len(batches[full][0]) == self.size:
                full += 1
        for place in rng.permutation(len(batches)).tolist():  # the last ones hold what was near nothing
            members = batches[place][0]
            if part := len(members) // self.processes:
                yield from (members[n * part : (n + 1) * part] for n in range(self.processes))


class TripletTrainer(SentenceTransformerTrainer):
    """The library's trainer with batches of :class:`OncePerPost`."""

    def know(self, triplets: Sequence[dict], near_batches: bool) -> None:
        """Learn which posts and needs each triplet touches: its own, and those that its negative's replies
        answer (``others``, ``needs``)."""
        self.posts = {
            tuple(t[side] for side in _SIDES): frozenset(
                [t["anchor"], *t.get("others", ()), *t.get("needs", ())]
            )
            for t in triplets
        }
        self.near_batches = near_batches

    def get_batch_sampler(self, dataset, batch_size, drop_last, seed=0, **_) -> OncePerPost:
        """Whatever else the library asks of a sampler (labels, a shared generator) does not matter here."""
        touched = [self.posts[tuple(row[side] for side in _SIDES)] for row in dataset]
        among = self.accelerator.num_processes
        anchors = dataset["anchor"] if self.near_batches else ()
        return OncePerPost(touched, batch_size * among, seed or 0, anchors, among)


class ByLengthLoss(MultipleNegativesRankingLoss):
    """The library's loss, with all texts of a batch read in passes of like length.

    The library pads all replies of a batch to the longest, and keeps the activations of all. The loss and its
    gradient are the same. For an encoder of three parts: transformer, pooling, and what is each side's own.

    Args:
        tokens_per_pass: padded tokens of one pass.
    """

    def __init__(self, model: SentenceTransformer, scale: float, *, tokens_per_pass: int):
        # the answers of all processes are wrong ones to each anchor, as in one
        super().__init__(model, scale=scale, gather_across_devices=count() > 1)
        self.tokens_per_pass = tokens_per_pass

    def forward(self, sentence_features: Iterable[dict[str, Any]], labels: torch.Tensor) -> torch.Tensor:
        """Loss of a batch; ``sentence_features`` are its columns, padded on the right."""
        columns = list(sentence_features)
        # of other parts, or wrapped for several devices
        if not isinstance(self.model, SentenceTransformer) or len(self.model) != 3:
            return super().forward(columns, labels)
        rows = [row for c in columns for row in zip(c["input_ids"], c["attention_mask"], strict=True)]
        lengths = [int(mask.sum()) for _, mask in rows]
        order, pooled = [], []
        for number, part in enumerate(deal(lengths, self.tokens_per_pass)):
            width = padded(lengths[part[0]])
            ids, mask = (
                torch.stack([pad(rows[row][side][: lengths[row]], (0, width - lengths[row])) for row in part])
                for side in (0, 1)
            )
            if number < _KEPT_PASSES or not torch.is_grad_enabled():
                pooled.append(self._pooled(ids, mask))
            else:
                pooled.append(checkpoint(self._pooled, ids, mask, use_reentrant=False))
            order += part
        vectors = torch.cat(pooled)[torch.tensor(order).argsort().to(pooled[0].device)]
        split = vectors.split([len(column["input_ids"]) for column in columns])
        sides = self.model[2]
        embeddings = [
            sides({"sentence_embedding": each}, task=column["task"])["sentence_embedding"]
            for each, column in zip(split, columns, strict=True)
        ]
        return self.compute_loss_from_embeddings(embeddings, labels)

    def _pooled(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        transformer, pooling, _ = self.model
        return pooling(transformer({"input_ids": ids, "attention_mask": mask}))["sentence_embedding"]
