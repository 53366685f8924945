"""A Chain of Empathy from a post, by rules.

Knows: what the other modules read, and how their findings become four layers. Does not know: what a post
means. It is grounded and often shallow: sarcasm, reported speech and unnamed feelings escape it, and it
gives all answers of a post the same chain. The chain of a real post is never better than this annotator.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

from empathy_lib.core.coe import ChainOfEmpathy
from empathy_lib.core.schema import Intent
from empathy_lib.dataset.lexicon import load_lexicon
from empathy_lib.dataset.rules import beliefs, causes, feelings, frames, requests, safety
from empathy_lib.dataset.rules.beliefs import Belief
from empathy_lib.dataset.rules.causes import Cause
from empathy_lib.dataset.rules.clauses import asks, clauses, first_telling, is_polite, quote, retell, told
from empathy_lib.dataset.rules.feelings import EVERYDAY, FAINT, Feelings, Words
from empathy_lib.dataset.rules.requests import Request

_SHORT_QUOTE = 20
_TELLS = re.compile(r"(讲到|提到|认定|相信|想法是)来访者")


class _Choice:
    """Deals frames by a hash of the post: the same post gets the same chain, and neighbours differ."""

    def __init__(self, post: str) -> None:
        self._bytes = hashlib.blake2b(post.encode(errors="surrogatepass"), digest_size=16).digest()
        self._at = 0

    def of(self, options: Sequence[str]) -> str:
        self._at += 1
        return options[self._bytes[self._at % 16] % len(options)]


@dataclass(frozen=True)
class Reading:
    """All that the rules find in a post; ``danger`` is the kind and its clause."""

    clauses: list[str]
    danger: tuple[safety.Danger, int] | None
    feelings: Feelings
    request: Request
    cause: Cause
    belief: Belief | None


@dataclass(frozen=True)
class RulesAnnotator:
    """A small, transparent annotator that tells what the post says, in other words where that is safe.

    Args:
        emotions: emotion to all words that name it (L1).
        biases: key to the name of a cognitive bias (L2); a cue of a bias without a name is left alone.
        intents: intent to the phrase that names it (L3).
    """

    emotions: Mapping[str, Sequence[str]]
    biases: Mapping[str, str]
    intents: Mapping[Intent, str]

    @cached_property
    def _words(self) -> Words:
        return Words(self.emotions)

    def read(self, post: str) -> Reading:
        """What the rules find in a post (any non-blank text)."""
        found = clauses(post)
        feeling, request = feelings.read(found, self._words), requests.read(found)
        taken = {request.clause} | ({feeling.clause} if feeling.emotions else set())
        belief = beliefs.read(found)
        return Reading(
            clauses=found,
            danger=safety.danger(found),
            feelings=feeling,
            request=request,
            cause=causes.read(found, taken | ({belief.clause} if belief else set())),
            belief=belief if belief and belief.bias in self.biases else None,
        )

    def chain(self, post: str) -> ChainOfEmpathy:
        """The four layers for a post (any non-blank text); the same post gives the same chain.

        L1: one or two emotions with strength, time and area of life. L2: a cause, and a belief with the
        bias whose cue it holds. L3: the request. L4: a strategy put together from the three. A layer that
        finds nothing says so (:data:`frames.UNNAMED`). A post that speaks of danger gets a chain of its
        own: despair or pain in L1, no bias, safety in L3 and, first of all and with human help, in L4."""
        reading, choice = self.read(post), _Choice(post)
        if reading.danger:
            return self._in_danger(reading, choice)
        return ChainOfEmpathy(
            L1=_TELLS.sub(r"\1自己", self._feeling(reading, choice)),
            L2=_TELLS.sub(r"\1自己", self._cause(reading, choice)),
            L3=self._request(reading, choice),
            L4=self._strategy(reading, choice),
        )

    def labels(self, post: str) -> tuple[str, Intent]:
        """The emotion (empty if none is named) and the intent that :meth:`chain` writes for a post without
        danger."""
        reading = self.read(post)
        return next(iter(reading.feelings.emotions), ""), reading.request.intent

    def _feeling(self, reading: Reading, choice: _Choice) -> str:
        feeling, found = reading.feelings, reading.clauses
        area = f"（{feeling.area}）" if feeling.area else ""
        scene = told(found, self._scene(reading))
        if not feeling.emotions:
            return choice.of(frames.L1_UNNAMED).format(area=area, scene=scene)
        shown = feelings.shows(found, feeling) and choice.of((True, False))
        frame = choice.of(frames.L1_SHOWN if shown else frames.L1_TOLD)
        return frame.format(
            emotions=_emotions(feeling.emotions, choice),
            strength={"强烈": "强烈的", "轻微": "几分"}.get(feeling.strength, ""),
            lasting="持续" if feeling.lasting else "",
            since=feeling.since or ("目前" if "{since}的" in frame else ""),
            area=area,
            quote=quote(found, feeling.clause, feeling.at, _SHORT_QUOTE),
            scene=scene,
        )

    def _scene(self, reading: Reading) -> int:
        """The first telling clause that no other layer tells and that names no emotion, else the first
        telling one."""
        found, taken = reading.clauses, {reading.cause.clause, reading.request.clause}
        for i, clause in enumerate(found):
            tells = i not in taken and 8 <= len(clause) <= 30 and not (is_polite(clause) or asks(clause))
            if tells and not feelings.has_emotion_word(clause, self._words):
                return i
        return first_telling(found)

    def _what(self, reading: Reading) -> str:
        cause = reading.cause
        if not cause.text:
            return "原帖"
        return retell(cause.text) or quote([cause.text], 0, max(0, cause.at - len(cause.text)))

    def _cause(self, reading: Reading, choice: _Choice) -> str:
        cause, belief = reading.cause, reading.belief
        kind = cause.kind if cause.kind != "event" or cause.gist else ""
        text = choice.of(frames.L2[kind]).format(what=self._what(reading), gist=cause.gist)
        if cause.gist and kind != "event" and kind:
            text += f"，其中有{cause.gist}"
        if belief and (belief.clause != cause.clause):
            clause = told(reading.clauses, belief.clause, belief.at, _SHORT_QUOTE)
            text += choice.of(frames.BELIEF).format(belief=clause, bias=self.biases[belief.bias])
        elif belief:
            text += f"；这句话里可能有“{self.biases[belief.bias]}”"
        return text + "。"

    def _request(self, reading: Reading, choice: _Choice) -> str:
        request = reading.request
        short = reading.clauses and len(reading.clauses[request.clause]) <= _SHORT_QUOTE
        named = frames.L3_SHOWN if short and choice.of((True, False)) else frames.L3_FRAMES
        frame = choice.of(named if request.named else frames.L3_UNNAMED)
        return frame.format(
            intent=self.intents[request.intent],
            detail=choice.of(frames.L3[request.intent, request.detail]),
            quote=quote(reading.clauses, request.clause, request.at, _SHORT_QUOTE),
        )

    def _strategy(self, reading: Reading, choice: _Choice) -> str:
        area, gist = reading.feelings.area, reading.cause.gist
        matter = gist or frames.MATTERS.get(area, f"{area}里的难处" if area else frames.MATTERS[""])
        text = choice.of(frames.L4[reading.request.intent]).format(
            emotion=next(iter(reading.feelings.emotions), "感受"), matter=matter
        )
        if reading.belief:
            text += choice.of(frames.REFRAME).format(bias=self.biases[reading.belief.bias])
        return text

    def _in_danger(self, reading: Reading, choice: _Choice) -> ChainOfEmpathy:
        kind, clause = reading.danger
        feeling, cause = reading.feelings, reading.cause
        named = _emotions(feeling.emotions, choice)
        also = choice.of(frames.ALSO).format(emotions=named) if named else ""
        area = f"（{feeling.area}）" if feeling.area else ""
        named_cause = cause.kind and cause.clause != clause and not safety.mentions(cause.text)
        second = (
            choice.of(frames.DANGER_L2).format(what=self._what(reading))
            if named_cause
            else choice.of(frames.DANGER_L2_UNNAMED)
        )
        return ChainOfEmpathy(
            L1=choice.of(frames.DANGER_L1[kind]).format(also=also, area=area),
            L2=second,
            L3=choice.of(frames.DANGER_L3),
            L4=choice.of(frames.DANGER_L4[kind]),
        )


def _emotions(names: Sequence[str], choice: _Choice) -> str:
    return choice.of(frames.MIXED).format(*names) if len(names) > 1 else "".join(names)


def named_nothing(chains: Iterable[ChainOfEmpathy]) -> dict[str, float]:
    """Share of chains whose L1 names no emotion, L2 no cause, L3 no request, by what the layers say of
    themselves; ``posts`` is their number. Counts rule-made chains, a chain a post."""
    counts: Counter[str] = Counter()
    for chain in chains:
        counts.update(["posts", *unnamed(chain)])
    return unnamed_shares(counts)


def unnamed(chain: ChainOfEmpathy) -> list[str]:
    """The layers that name nothing, of L1, L2, L3."""
    return [layer for layer, phrase in frames.UNNAMED.items() if phrase in getattr(chain, layer)]


def unnamed_shares(counts: Mapping[str, int]) -> dict[str, float]:
    """:func:`named_nothing` from the number of ``posts`` and of those :func:`unnamed` in each layer."""
    posts = counts.get("posts", 0)
    return {"posts": posts} | {
        layer: counts.get(layer, 0) / posts if posts else 0.0 for layer in frames.UNNAMED
    }


@cache
def default_rules() -> RulesAnnotator:
    """The rules annotator with the dataset's own lexicon."""
    lexicon = load_lexicon()
    return RulesAnnotator(emotions=lexicon.emotions, biases=lexicon.biases, intents=lexicon.intents)


def emotion_words() -> dict[str, tuple[str, ...]]:
    """Emotion to all words that name it: the lexicon's, the everyday and the faint ones."""
    return {
        emotion: (*words, *EVERYDAY.get(emotion, ()), *FAINT.get(emotion, ()))
        for emotion, words in load_lexicon().emotions.items()
    }
