"""A post, its gold labels and chains for it, and a marker that knows them: what tests of marking, levels and
``r_chain`` share."""

from empathy_lib.core.coe import ChainOfEmpathy
from empathy_lib.core.schema import Gold
from empathy_lib.reward.marking import Marker
from empathy_lib.reward.nearest import Candidate, Nearest

SITUATION = "上个月同时跟两个项目，白天开会晚上写材料，刚走到地铁站又被一个电话喊了回去，周末也没有歇过。"
COLD, LOAN = "以前我说过一次手头排不开，领导转头就在会上夸别人能扛事。", "我名下背着房贷，全指着这份工资。"
FIRED, LAZY = "只要我推掉一次，领导马上就会换掉我。", "喊累的人就是不够格。"
ASK = "我到底该怎么跟领导开这个口呢，请大家给我出出主意。"
POST = f"大家好，我最近很不安。{SITUATION}{COLD}想来想去，{FIRED}{ASK}"
MARKER = Marker(
    emotions={"焦虑": ["焦虑", "不安"], "愤怒": ["愤怒", "生气"], "孤独": ["孤独"]},
    intents={"validated": ["希望被认可"], "understood": ["希望被理解"], "advice": ["希望得到建议"]},
    biases={"catastrophizing": "灾难化", "labeling": "贴标签"},
    causes=Nearest([Candidate("曾经说排不开却被冷落", COLD, "加班"), Candidate("背着房贷", LOAN, "加班")]),
    beliefs=Nearest(
        [Candidate("推掉一次就会被换掉", FIRED, "加班"), Candidate("喊累就是不够格", LAZY, "加班")]
    ),
)
L2 = "因为曾经说排不开却被冷落，认定推掉一次就会被换掉，属于灾难化。"


def gold(**labels) -> Gold:
    usual = {
        "emotion": "焦虑",
        "situation": "两个项目并行",
        "cause": "曾经说排不开却被冷落",
        "belief": "推掉一次就会被换掉",
        "bias": "catastrophizing",
        "intent": "advice",
    }
    return Gold(**usual | labels)


def chain(l1="他感到不安", l2=L2, l3="希望得到建议") -> ChainOfEmpathy:
    return ChainOfEmpathy(L1=l1, L2=l2, L3=l3, L4="先安慰")
