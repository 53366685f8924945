"""Would the policy write another reply after another chain? Replies are drawn anew after the changed chains
of ``dependence``; asked for by ``metrics.chain_regenerated``, since it takes minutes.

Knows: how a reply is drawn after an opening, and how far it is from the policy's own. Does not know: how a
chain is changed. Two measures, since one of them alone may mislead: how much of the wording stays (chrF), and
whether a planted emotion is taken up by name. Both stand beside a second draw after the intact chain: what
differs there is the luck of sampling alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sacrebleu.metrics import CHRF
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from empathy_lib.core.coe import parse
from empathy_lib.core.config import GenerationConfig
from empathy_lib.core.schema import Item
from empathy_lib.core.statistics import wilson_share
from empathy_lib.metrics.dependence import CONDITIONS, changed_chains, differs, donor, paired_table
from empathy_lib.models.base import generate

AGAIN = "intact, drawn again"
EMOTION = "planted emotion"


def regenerated(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    items: Sequence[Item],
    completions: Sequence[str],
    prompts: Sequence[str],
    generation: GenerationConfig,
    seed: int,
) -> pd.DataFrame:
    """Replies drawn anew, a row a post and condition.

    The first reply is drawn after the intact chain as well, so that all are sampled in one way.

    Returns:
        ``id``, ``condition``, ``reply``, ``closeness`` (chrF to the post's first reply, 0 to 100); after a
        planted emotion and after the intact chain also ``names_planted`` and ``names_own``: whether the reply
        has the word for that emotion.
    """
    parsed, made = [parse(completion) for completion in completions], changed_chains(items, completions)
    drawn: dict[str, dict[int, str]] = {}
    for number, name in enumerate([*CONDITIONS, AGAIN]):
        change = "intact" if name == AGAIN else name
        posts = [place for place, openings in enumerate(made) if change in openings]
        asked = [prompts[place] + made[place][change] for place in posts]
        texts = generate(model, tokenizer, asked, generation, seed + number)
        drawn[name] = {
            place: text.split("</answer>")[0].strip() for place, text in zip(posts, texts, strict=True)
        }
    donors = {
        place: donor(place, items, parsed, differs(item, "emotion")) for place, item in enumerate(items)
    }
    planted = {place: items[other].gold.emotion for place, other in donors.items() if other is not None}
    chrf, rows = CHRF(), []
    for name in [*list(CONDITIONS)[1:], AGAIN]:
        for place, reply in drawn[name].items():
            row = {"id": items[place].id, "condition": name, "reply": reply}
            row["closeness"] = chrf.sentence_score(reply, [drawn["intact"][place]]).score
            if name in (EMOTION, AGAIN) and place in planted:
                row["names_planted"] = planted[place] in reply
                row["names_own"] = items[place].gold.emotion in reply
            rows.append(row)
    return pd.DataFrame(rows)


def regeneration_table(found: pd.DataFrame, *, resamples: int, rng: np.random.Generator) -> pd.DataFrame:
    """How far each change moves the reply: mean ``closeness``, and ``difference``, by how much a second draw
    after the intact chain is closer, with interval and ``p_holm`` over the conditions."""
    close = found.pivot(index="id", columns="condition", values="closeness")
    return paired_table(
        close,
        AGAIN,
        before={"closeness": lambda again, changed: changed.mean()},
        resamples=resamples,
        rng=rng,
    )


def follow_table(found: pd.DataFrame) -> pd.DataFrame:
    """Share of replies that name the planted emotion, and the post's own, with Wilson's interval: after the
    planted chain and after the intact one. Not available without gold labels."""
    rows = {}
    for name in (EMOTION, AGAIN):
        some = found[found["condition"] == name]
        for column in ("names_planted", "names_own"):
            named = some[column].dropna().astype(float) if column in some else ()
            rows[f"{name}: {column.replace('_', ' ')}"] = vars(wilson_share(np.array(named)))
    return pd.DataFrame.from_dict(rows, orient="index")
