"""The wording of rule-made chains: several frames for each finding.

Knows: sentences with {slots}. Does not know: posts. No frame holds a word of the lexicon's emotions or the
name of a bias, so that a chain names what was found in the post and nothing else. Every L4 of a post that
speaks of danger opens with safety and points to human help.
"""

from __future__ import annotations

from empathy_lib.core.helplines import CRISIS_LINE

# These phrases stand where a layer names nothing: so it can be counted, and a reader sees it.
UNNAMED = {"L1": "没有直接说出情绪", "L2": "没有写明起因", "L3": "没有写明请求"}

L1_SHOWN = (
    "来访者{since}{lasting}感到{strength}{emotions}{area}，从{quote}可以读到。",
    "核心情绪是{strength}{emotions}{area}，{quote}一句说得明白。",
    "{quote}：来访者{since}{lasting}处在{strength}{emotions}之中{area}。",
    "字里行间是{strength}{emotions}{area}，如{quote}所说。",
)
L1_TOLD = (
    "来访者{since}{lasting}感到{strength}{emotions}{area}，处境是{scene}。",
    "{scene}，来访者因此{lasting}感到{strength}{emotions}{area}。",
    "面对的情境是{scene}；情绪以{strength}{emotions}为主{area}。",
    "主要的情绪是{strength}{emotions}{area}，{since}的处境：{scene}。",
    "来访者讲到{scene}，言语间是{strength}{emotions}{area}。",
)
L1_UNNAMED = (
    "来访者" + UNNAMED["L1"] + "{area}，所处的情境是{scene}。",
    "帖子" + UNNAMED["L1"] + "，情境是{scene}{area}。",
)
MIXED = ("{0}和{1}", "{0}与{1}", "{0}、{1}")

L2 = {
    "causal": (
        "来访者自己说出的原因是{what}",
        "缘由在于{what}",
        "这样的感受由此而来：{what}",
        "背后的原因是{what}",
    ),
    "event": (
        "触动来自{gist}：{what}",
        "{gist}是一个来由，{what}",
        "困扰与{gist}分不开，具体是{what}",
        "源头之一是{gist}，来访者提到{what}",
    ),
    "loss": ("这份感受跟着一次变故而来：{what}", "难处的起点是一次失去或打击，{what}", "变故在前：{what}"),
    "turn": ("变化从这里开始：{what}", "转折在于{what}", "事情的经过里有这一步：{what}"),
    "comparison": ("比较让这份感受变重：{what}", "来访者拿自己与旁人相比，{what}", "落差来自比较，{what}"),
    "contrast": ("期待与实际不一致：{what}", "让人过不去的是这个落差：{what}", "想要的和得到的不同，{what}"),
    "past": ("可以追溯到更早的经历：{what}", "早先的经历留下了影响，{what}", "来由不只在眼前，{what}"),
    "passive": ("反复发生的是{what}", "日积月累的来由是{what}", "绕不过去的是{what}"),
    "": (
        UNNAMED["L2"] + "，能看到的是{what}",
        "帖子" + UNNAMED["L2"] + "，只知道{what}",
    ),
}
BELIEF = (
    "；并认定{belief}，这里可能有“{bias}”",
    "；“{bias}”的影子在{belief}里",
    "；想法是{belief}，近于“{bias}”",
    "；由此相信{belief}，或许带着“{bias}”",
)

L3 = {
    ("advice", "choose"): ("想弄清该如何取舍", "在两条路之间拿不定主意，想有人一起掂量"),
    ("advice", "talk"): ("想知道怎样与对方沟通和相处", "想找到能说出口的话"),
    ("advice", "help"): ("想知道怎样帮到身边的人", "关心的是自己能为对方做些什么"),
    ("advice", "calm"): ("想找到让自己缓下来、走出来的办法", "想知道怎样调整眼前的状态"),
    ("advice", ""): ("想知道下一步可以怎么做", "需要具体可行的做法", "盼着有人给出方向"),
    ("validated", "fault"): ("想确认并不全是自己的错", "需要有人公道地看一看对错"),
    ("validated", "normal"): ("想确认这样的反应算不算正常", "想知道别人是否也会这样"),
    ("validated", "much"): ("想放下“是不是反应过度”的怀疑", "需要有人说这样的感受情有可原"),
    ("understood", "why"): ("想明白事情为什么会这样", "想把自己或对方的心思看明白"),
    ("understood", "alone"): ("想摆脱没有人能懂的处境", "盼着有一个人听懂"),
    ("understood", "told"): ("想把心里的话说完", "更需要有人耐心听"),
}
L3_FRAMES = (
    "来访者{intent}，{detail}。",
    "此刻来访者{intent}，{detail}。",
    "主要的意图：{intent}，{detail}。",
)
L3_SHOWN = ("从{quote}看，来访者{intent}，{detail}。", "{quote}说明来访者{intent}，{detail}。")
L3_UNNAMED = (
    "帖子" + UNNAMED["L3"] + "，可以先当作{intent}，{detail}。",
    UNNAMED["L3"] + "；把事情写下来，多半是{intent}，{detail}。",
)

L4 = {
    "advice": (
        "先接住这份{emotion}，再说出对{matter}的理解，最后给一两个小而可行的步骤。",
        "简短回应这份{emotion}之后，把{matter}拆小，提出一个容易开始的做法，由来访者自己选。",
        "先承认这份{emotion}有来由，再就{matter}一起想可以试的办法，不求一步到位。",
        "先说听到了这份{emotion}，再围绕{matter}给出方向，并邀请来访者说说试过什么。",
    ),
    "validated": (
        "先说明这份{emotion}情有可原，再联系{matter}讲出它的来由，不急着给建议。",
        "先肯定来访者，讲清在{matter}之下有这份{emotion}是常有的反应，减少其对自己的怀疑。",
        "不评判对错，先认可这份{emotion}，再谈{matter}，把不该由来访者承担的部分说出来。",
    ),
    "understood": (
        "先用自己的话复述处境和这份{emotion}，再回应{matter}带来的影响，多倾听，少评判。",
        "放慢节奏，说出听到的{emotion}，就{matter}多问一句，邀请来访者继续讲。",
        "先陪来访者待在这份{emotion}里，不讲道理，再慢慢理清{matter}是怎样走到今天的。",
    ),
}
REFRAME = (
    "其间温和地一起看看“{bias}”式的想法。",
    "再借提问松一松“{bias}”式的想法。",
    "并留意“{bias}”，请来访者想想有没有别的解释。",
)
MATTERS = {"": "眼前的处境", "对自己的看法": "对自己的看法", "养育孩子": "养育孩子的难处"}

DANGER_L1 = {
    "self": (
        "来访者处在很深的痛苦甚至绝望之中{also}，帖子里说到死亡或伤害自己，必须认真对待{area}。",
        "来访者痛苦到了说起死亡或伤害自己的地步{also}，这是绝望的表达{area}，需要先被认真听见。",
        "帖子里有伤害自己或不愿活下去的话，来访者正承受着痛苦与绝望{also}{area}。",
    ),
    "abuse": (
        "来访者讲到自己受到的伤害，心里是沉重的痛苦{also}{area}，安全可能仍受威胁。",
        "帖子里有被伤害的经历，来访者承受着痛苦{also}{area}，这不是其过错。",
    ),
    "harm": (
        "来访者处在强烈的痛苦里，几近失控{also}{area}，帖子里说到伤害他人，必须认真对待。",
        "来访者痛苦而难以自控{also}{area}，说到了伤害他人的念头或举动。",
    ),
    "near": (
        "来访者谈到身边有人轻生或伤害自己，心里沉重而痛苦{also}{area}。",
        "身边人的生死让来访者承受着沉重的痛苦{also}{area}。",
    ),
}
ALSO = ("，也有{emotions}", "，其中还有{emotions}")
DANGER_L2 = (
    "痛苦背后有具体的处境：{what}。",
    "走到这一步与处境有关，{what}。",
    "压着来访者的事里有这一件：{what}。",
)
DANGER_L2_UNNAMED = (
    "痛苦从何而来，帖子" + UNNAMED["L2"] + "，不作猜测，先确认安全。",
    UNNAMED["L2"] + "；此刻不追问缘由，先确认安全。",
)
DANGER_L3 = (
    "来访者希望被人理解，此刻最需要的是安全，并有人认真听见这份痛苦。",
    "写出来就是在求助：来访者希望被人理解，需要先安全下来，再有人陪着听完。",
    "来访者希望被人理解；比起办法，先要有人守住安全、不带评判地听。",
)
_HELP = f"身边信任的人、医生或心理援助热线（中国大陆 {CRISIS_LINE}）"
DANGER_L4 = {
    "self": (
        f"先确认来访者此刻是否安全、身边有没有人，请其立刻联系{_HELP}；不评判，也不讲道理，陪其把话说出来。",
        f"先问安全：此刻有没有伤害自己的打算，并请其马上告诉{_HELP}；再承认这份痛苦，认真听，不急于劝解。",
    ),
    "abuse": (
        f"先确认来访者此刻是否安全，受威胁时报警或离开，并告诉{_HELP}；再说明被伤害不是其过错，慢慢听。",
        f"先问安全与能去的地方，请其求助于警方、{_HELP}；再承认痛苦，不追问细节，不责备。",
    ),
    "harm": (
        f"先确认来访者和他人此刻是否安全，请其先离开冲突的现场，并联系{_HELP}；再听背后的痛苦，不纵容伤害。",
        f"先问安全：请来访者停下来、拉开距离，马上找{_HELP}；再一起看怒与痛从哪里来。",
    ),
    "near": (
        f"先确认来访者与其挂念的人此刻是否安全，请其一起联系{_HELP}；再承认这份沉重，听来访者慢慢说。",
        f"先问安全，不让来访者独自扛着，请其找{_HELP}帮忙；再陪其说说自己的感受。",
    ),
}
