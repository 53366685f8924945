"""What raters are told, in Chinese and English: the task, the four dimensions, how to stop.

Knows: the wording. Does not know: a study, or how its pages look. The dimensions' names are the paper's
(second-hand); the paper's own instructions are not known, so every sentence here is our choice.
"""

from __future__ import annotations

from dataclasses import dataclass

from empathy_lib.core.errors import UserError
from empathy_lib.core.helplines import CRISIS_LINE, HELPLINES
from empathy_lib.core.paper import DIMENSIONS
from empathy_lib.human_eval.ratings import DIMENSION_QUESTIONS


@dataclass(frozen=True)
class Dimension:
    """One dimension in one language: its name, the question a rater answers, and what counts and what does
    not."""

    name: str
    question: str
    definition: str


DIMENSION_TEXTS: dict[str, dict[str, Dimension]] = {
    "en": {
        name: Dimension(name, DIMENSION_QUESTIONS[name], definition)
        for name, definition in {
            "Fluency": "Clear, complete sentences that follow from each other and do not repeat themselves. "
            "What is said does not "
            "matter here.",
            "Identification": "It takes up this person's own feelings, situation and reasons. General "
            "remarks that would suit any post "
            "rank lower.",
            "Comforting": "It is warm and accepting, without blame, lecturing, or making light of things.",
            "Suggestion": "What it suggests fits this person, can be done, and harms nobody. If the person "
            "only wants to be heard, not "
            "pressing advice on them can rank first.",
        }.items()
    },
    "zh": {
        "Fluency": Dimension(
            "流畅", "读起来自然、通顺吗？", "句子清楚完整、前后连贯、没有反复啰嗦。这里不看说的内容好不好。"
        ),
        "Identification": Dimension(
            "理解",
            "看懂了这个人的感受和缘由吗？",
            "回应了这个人自己的情绪、处境和原因。放在谁身上都适用的空话应当靠后。",
        ),
        "Comforting": Dimension("安慰", "能让这个人感到安慰吗？", "温暖、接纳，不指责、不说教、不轻描淡写。"),
        "Suggestion": Dimension(
            "建议",
            "给出的建议有帮助吗？",
            "建议适合这个人、做得到、不伤害任何人。如果对方只想被倾听，不勉强给建议也可以排在第一。",
        ),
    },
}


@dataclass(frozen=True)
class Words:
    """What raters are told in one language: ``task`` before the dimensions, the rest after them; ``help``
    says which people to turn to."""

    title: str
    task: tuple[str, ...]
    judging: str
    replies: str
    distress: str
    help: str


WORDS = {
    "en": Words(
        title="Instructions for raters",
        task=(
            "You will read posts in which somebody describes a personal difficulty, and under each post "
            "several replies, lettered A, "
            "B, C and so on. The letters are drawn anew for every post: A is not the same author twice.",
            "Read the post and all replies first. Then rank the replies on each of the four dimensions "
            "below: 1 is the best. Replies "
            "that you cannot tell apart may share a rank. A reply can be first on one dimension and last on "
            "another; judge each "
            "dimension by itself.",
        ),
        judging="There are no right answers: it is your own opinion that counts. Do not look anything up, do "
        "not discuss the replies with "
        "other raters, and do not prefer a reply only because it is long. Some replies are there to see "
        "whether they are being "
        "read; they say themselves how to rank them.",
        replies="The replies were written by computer programs or taken from a collection. They are no "
        "counselling and nobody should act "
        "on them.",
        distress="The posts can be distressing. You may take a break or stop at any time, without giving a "
        "reason.",
        help="If a post affects you, or if you are in difficulty yourself, talk to somebody: a person you "
        "trust, a doctor, an emergency "
        f"number, or a crisis line (mainland China: {CRISIS_LINE}; elsewhere: {HELPLINES}).",
    ),
    "zh": Words(
        title="评分说明",
        task=(
            "您会读到一些求助帖，发帖人讲述自己的困扰；每个帖子下面有几条回复，用字母 A、B、C 等表示。"
            "字母在每个帖子里都重新打乱："
            "两个帖子里的 A 并不是同一个作者。",
            "请先读完帖子和全部回复，再在下面四个维度上分别给回复排序：1 为最好。分不出高下的回复可以并列。"
            "同一条回复可以在一个维度排第一、在另一个维度排最后，请逐个维度判断。",
        ),
        judging="没有标准答案，我们想知道的是您自己的看法。请不要查资料，不要和其他评分人讨论，"
        "也不要仅仅因为回复长就排在前面。"
        "少数回复用来确认您在认真阅读，它们自己会写明应当排在哪里。",
        replies="这些回复由计算机程序生成，或取自已有的语料。它们不是心理咨询，请不要照着去做。",
        distress="帖子的内容可能让人难受。您可以随时休息或退出，不需要理由。",
        help="如果读后感到不适，或者您自己正处在困难中，请找人谈谈：您信任的人、医生、急救电话，"
        f"或心理援助热线（中国大陆：{CRISIS_LINE}；其他地区：{HELPLINES}）。",
    ),
}


def instructions(language: str) -> str:
    """All that raters are told, as Markdown.

    Args:
        language: ``zh`` or ``en``.

    Raises:
        UserError: another language.
    """
    if language not in WORDS:
        raise UserError(f"instructions in '{language}': not written; use one of {', '.join(WORDS)}")
    words, texts = WORDS[language], DIMENSION_TEXTS[language]
    dimensions = [
        f"- **{texts[name].name}**: {texts[name].question} {texts[name].definition}" for name in DIMENSIONS
    ]
    distress = f"{words.distress}{' ' if language == 'en' else ''}{words.help}"
    return (
        "\n\n".join(
            [f"# {words.title}", *words.task, "\n".join(dimensions), words.judging, words.replies, distress]
        )
        + "\n"
    )
