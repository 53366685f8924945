"""Chinese text into tokens, for every count of words or n-grams: ROUGE, BLEU, Distinct, BM25.

Knows: jieba words and characters. Does not know: what is counted. The unit is our choice
(``metrics.segment``): the paper does not say which one its scores count, and a score in characters is higher
than the same score in words.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import jieba

jieba.setLogLevel(logging.WARNING)

Unit = Literal["word", "char"]

# a Latin word or number stays whole; every other letter, a Chinese character above all, is a token
_CHARACTER = re.compile(r"[a-z0-9]+|[^\W_]")
_CHARACTER_OR_MARK = re.compile(r"[a-z0-9]+|\S")
_HAS_LETTER = re.compile(r"[^\W_]")


@dataclass(frozen=True)
class Segmenter:
    """Splits text into lower-cased tokens; has the ``tokenize`` that ``rouge_score`` asks of a tokenizer.

    ``rouge_score``'s own tokenizer keeps ``[a-z0-9]`` only, so it scores every Chinese text 0 without a word
    of warning.
    """

    unit: Unit = "word"
    punctuation: bool = False

    def tokenize(self, text: str) -> list[str]:
        """Tokens in order, without white space; without punctuation unless ``punctuation`` is set."""
        return list(_cut(text.lower(), self.unit, self.punctuation))


@lru_cache(maxsize=16384)  # a reference is cut once, not once per system and ROUGE variant
def _cut(text: str, unit: Unit, punctuation: bool) -> tuple[str, ...]:
    if unit == "char":
        return tuple((_CHARACTER_OR_MARK if punctuation else _CHARACTER).findall(text))
    words = _words(text)
    return words if punctuation else tuple(word for word in words if _HAS_LETTER.search(word))


# jieba is slow: once for ROUGE's words and BLEU's, which are the same and the marks
@lru_cache(maxsize=16384)
def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in jieba.lcut(text) if word.strip())
