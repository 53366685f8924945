"""What two texts have in common, and what one is made of: normal form, 5-grams, content bigrams, sentences,
length.

Knows: plain texts. Does not know: items, or what a likeness means (``dataset.deduplicate``, ``core.copying``,
``reward.grounding``).
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from itertools import pairwise

NGRAM = 5
_MARKS = re.compile(r"[\W_]+")
_SENTENCE = re.compile(r"[^。！？!?\n]+[。！？!?]*[”」』’]*")
_FUNCTION = set(
    "的了是我你他她它们这那有在和就都也不很到着过吗呢吧啊会能要想为与及或但而让被把给对从以得地之其个一没又还更最者"
)


def normalise(text: str) -> str:
    """NFKC, case-folded, letters and digits only; a text without any (e.g. "……") keeps its characters."""
    # Without marks first: what is left of a Chinese text mostly is in NFKC already, which is quick to see.
    plain = unicodedata.normalize("NFKC", _MARKS.sub("", text)).casefold()
    return (plain if plain.isalnum() else _MARKS.sub("", plain)) or unicodedata.normalize(
        "NFKC", text
    ).casefold().strip()


def fingerprint(text: str) -> int:
    """A 64-bit hash of the normal form; a million different texts hold an equal pair by chance once in 40
    million times."""
    return int.from_bytes(
        hashlib.blake2b(normalise(text).encode(errors="surrogatepass"), digest_size=8).digest()
    )


def shingles(text: str) -> frozenset[str]:
    """The set of character 5-grams of the normal form; a shorter text is its own only 5-gram."""
    plain = normalise(text)
    return frozenset(plain[i : i + NGRAM] for i in range(max(1, len(plain) - NGRAM + 1)))


def jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    """Size of the intersection over size of the union, in [0, 1]; two empty sets are equal (1)."""
    union = len(a | b)
    return len(a & b) / union if union else 1.0


def content_bigrams(text: str) -> set[str]:
    """Pairs of neighbouring letters or characters, without function words."""
    return {a + b for a, b in pairwise(text) if a.isalnum() and b.isalnum() and not {a, b} & _FUNCTION}


def sentences(text: str) -> list[str]:
    """Sentences in order, with their end marks, without white space around them."""
    return [sentence for found in _SENTENCE.findall(text) if (sentence := found.strip())]


def visible_length(text: str) -> int:
    """Characters that are not white space."""
    return len("".join(text.split()))
