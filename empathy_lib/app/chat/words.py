"""What both doors say beside an answer, in Chinese and English.

Does not know: the numbers of lines (``core.helplines``), the fixed text.
"""

from __future__ import annotations

from empathy_lib.core.helplines import Region, resources

Both = tuple[str, str]

LABEL: Both = ("AI 生成", "AI-generated")
WHAT: Both = (
    "这是一个研究用的模型，不是治疗师，也不是人；它会出错，会漏看，不要照着它做决定。",
    "A research model: no therapist and no person. It errs and misses things; decide nothing by it.",
)
KEPT: Both = (
    "不保存、不记录任何文字，也不记得上一条。",
    "No text is stored or logged, and nothing is remembered from one post to the next.",
)
TURN: Both = ("想找人说说", "People to turn to")
EMERGENCY: Both = ("此刻有危险", "In danger now")
HELP: Both = ("这里没有用模型来回应；下面这段话由人写成。", "No model answers here; people wrote this text.")
WITHDRAWN: Both = ("上面已显示的部分作废。", "What was shown of an answer is withdrawn.")
CHAIN: Both = ("共情思考", "Chain of Empathy, written before the reply")
REPLY: Both = ("回复", "Reply")
STRAY: Both = ("格式之外", "outside the format")
NO_REPLY: Both = ("没有写出回复。", "It wrote no reply.")
MALFORMED: Both = (
    "不合格式（{}），原样显示。",
    "Not in the trained format ({}); shown as it came.",
)
TOO_LONG: Both = (
    "帖子太长：最多 {} 字。",
    "The post is too long: {} characters at most.",
)


def both(pair: Both) -> str:
    """Chinese and English in one line."""
    return f"{pair[0]} {pair[1]}"


def whom_to_turn_to(region: Region) -> str:
    """The lines of a region, and its emergency numbers, in one line."""
    here = resources(region)
    told = f"{both(TURN)}: {'、'.join(line.said('zh') for line in here.lines)}"
    return told + (f"; {both(EMERGENCY)}: {'、'.join(here.emergency)}" if here.emergency else "")
