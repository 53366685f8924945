"""Each frame, each bias cue, each request is read from a post written for it; the same post gives the same
chain; nothing invented, nothing cut in two."""

import re

import pytest

from empathy_lib.core.coe import LAYERS, is_well_formed, render
from empathy_lib.dataset.lexicon import load_lexicon
from empathy_lib.dataset.rules import beliefs, causes, feelings, frames, requests
from empathy_lib.dataset.rules.chain import default_rules, emotion_words, named_nothing
from empathy_lib.dataset.rules.clauses import MAX_QUOTE, clauses, quote, retell

RULES = default_rules()


@pytest.mark.parametrize(
    ("post", "kind", "told"),
    [
        ("我睡不好，因为领导总让我加班。", "causal", "领导总让我加班"),
        ("工作没了，导致我整夜睡不着。", "causal", "工作没了"),
        ("项目被砍导致奖金没了。", "causal", "项目被砍"),
        ("晚饭的时候妈妈又骂我懒。", "event", "晚饭的时候妈妈又骂我懒"),
        ("外婆去年冬天去世了。", "loss", "外婆去年冬天去世了"),
        ("自从换了座位，话就少了。", "turn", "自从换了座位"),
        ("班上人家都有奖，只剩下我空着手。", "comparison", "班上人家都有奖"),
        ("明明说好一块儿去，临时又变了。", "contrast", "明明说好一块儿去"),
        ("小时候家里很穷，冬天没有棉鞋。", "past", "小时候家里很穷"),
        ("她每次见面迟到一小时。", "passive", "她每次见面迟到一小时"),
        ("窗外下着雨，屋里很安静。", "", "屋里很安静"),
    ],
)
def test_each_kind_of_cause(post, kind, told):
    found = causes.read(clauses(post), set())
    assert found.kind == kind
    if kind:
        assert found.text == told
    else:
        assert frames.UNNAMED["L2"] in RULES.chain(post).L2


@pytest.mark.parametrize(
    ("clause", "gist"),
    [
        ("被妈妈当众批评", "母亲的指责"),
        ("老公最近总不理我", "伴侣的冷落"),
        ("昨晚又跟室友吵架", "与室友的冲突"),
        ("爸妈催我结婚", "父母的逼迫与管束"),
        ("男朋友和我提了分手", "伴侣的离开"),
        ("同学在背后嘲笑我", "同学的排挤与嘲笑"),
        ("我骂了孩子", ""),  # the writer's own deed
        ("我对妈妈发火了", ""),
        ("老师没批评我", ""),
        ("今天天气很好", ""),
    ],
)
def test_who_does_what(clause, gist):
    assert causes.event(clause) == gist


@pytest.mark.parametrize(
    ("clause", "bias"),
    [
        ("都是我的错", "personalization"),
        ("一定是我哪里做得不好", "personalization"),
        ("他们心里肯定都看不起我", "mind_reading"),
        ("在别人眼里我就是多余", "mind_reading"),
        ("我就是个没用的人", "labeling"),
        ("考上也只是运气", "discounting_positives"),
        ("要么第一要么不做", "all_or_nothing"),
        ("如果这次没过我就完了", "catastrophizing"),
        ("心里这么慌就说明要出事", "emotional_reasoning"),
        ("以后再也不会有人喜欢我", "fortune_telling"),
        ("做儿女的就应该听话", "should_statements"),
        ("我必须做到完美", "should_statements"),
        ("从来没有人懂我", "overgeneralization"),
        ("没人喜欢我", "overgeneralization"),
        ("我总是做不好", "overgeneralization"),
    ],
)
def test_each_bias_has_a_cue(clause, bias):
    post = f"昨天在家待了一天。{clause}。"
    assert beliefs.read(clauses(post)).bias == bias
    assert load_lexicon().biases[bias] in RULES.chain(post).L2


@pytest.mark.parametrize(
    "clause",
    ["我应该怎么办呢", "他叫我应该早点睡吗？", "晚饭吃了面条", "我必须坐车才能到公司", "一天下来很愉快"],
)
def test_no_bias_without_a_cue(clause):
    assert beliefs.read([clause]) is None
    assert not any(name in RULES.chain(clause).L2 for name in RULES.biases.values())


def test_biases_are_those_of_the_lexicon():
    assert set(beliefs.BELIEFS) == set(load_lexicon().biases)


@pytest.mark.parametrize(
    ("post", "emotions"),
    [
        ("我很焦虑，也很委屈，委屈得睡不着。", ("委屈", "焦虑")),
        ("我不紧张，就是难过。", ("悲伤",)),
        ("我特别孤独，别难过。", ("孤独",)),
        ("没有觉得伤心难过，只是孤独。", ("孤独",)),
        ("我女朋友很难过，一直说她难过，我很内疚。", ("自责",)),
        ("我有社交恐惧，一上台就紧张。", ("焦虑",)),
        ("朋友都羡慕我，可我很迷茫。", ("迷茫",)),
        ("心里堵得慌，怕见人。", ("焦虑",)),  # faint words, where there is no other
        ("今天下了一天雨。", ()),
    ],
)
def test_emotions(post, emotions):
    assert RULES.read(post).feelings.emotions == emotions


def test_strength_time_and_area():
    feeling = RULES.read("高三压力大，作业多。最近我非常焦虑，一模考试没考好。").feelings
    assert (feeling.strength, feeling.since, feeling.area) == ("强烈", "最近", "学业")
    assert RULES.read("我一直有点难过。").feelings.strength == "轻微"
    assert RULES.read("我一直有点难过。").feelings.lasting


@pytest.mark.parametrize(
    ("post", "intent", "detail"),
    [
        ("我很难受，该怎么办？", "advice", ""),
        ("我该不该辞职？", "advice", "choose"),
        ("我该怎样跟妈妈沟通？", "advice", "talk"),
        ("怎么安慰失恋的朋友？", "advice", "help"),
        ("我怎样才能走出来？", "advice", "calm"),
        ("是不是我的错？", "validated", "fault"),
        ("我这样正常吗？", "validated", "normal"),
        ("是我太矫情了吗？", "validated", "much"),
        ("他为什么不回我？", "understood", "why"),
        ("没有人懂我。", "understood", "alone"),
        ("只想说说心里话。", "understood", "told"),
    ],
)
def test_requests(post, intent, detail):
    found = requests.read(clauses(post))
    assert (found.intent, found.detail, found.named) == (intent, detail, True)
    assert RULES.intents[intent] in RULES.chain(post).L3


def test_what_others_ask_is_no_request():
    found = requests.read(clauses("他问我要不要送。我说不用。"))
    assert not found.named and found.intent == "understood"
    assert frames.UNNAMED["L3"] in RULES.chain("他问我要不要送。我说不用。").L3


@pytest.mark.parametrize(
    ("clause", "told"),
    [
        ("但是我真的很累", "来访者很累"),
        ("我觉得我不行", "来访者觉得自己不行"),
        ("他说我不行", "他说来访者不行"),
        ("他对我说我不行", "他对来访者说来访者不行"),
        ("我妈又催我结婚", "来访者的妈又催自己结婚"),
        ("我们在一起三年", "双方在一起三年"),
        ("我们班有人传闲话", "来访者所在的班有人传闲话"),
        ("可以说是自我怀疑", "可以说是自我怀疑"),
        ("[姓名]把我拉黑了", "[姓名]把来访者拉黑了"),
        ("我们去了海边", None),  # who are "we"?
        ("你能不能帮我", None),
        ("他说“我不爱你”", None),
        ("我" + "很" * 40, None),
    ],
)
def test_retelling(clause, told):
    assert retell(clause) == told


def test_a_placeholder_is_kept_whole_or_left_out():
    clause = "很" * 36 + "[微信号]" + "很" * 10
    assert quote([clause], 0) == "「" + "很" * 36 + "」"
    assert (
        quote(["[手机号码]" + "很" * 60 + "紧张" + "很" * 9], 0, 69)
        == "「" + ("很" * 60 + "紧张" + "很" * 9)[-40:] + "」"
    )
    for post in (f"因为{clause}，我很紧张，在[公司]上班。", "[姓名]骂我，我和[姓名]都很紧张，[姓名]怎么办？"):
        chain = RULES.chain(post)
        for layer in LAYERS:
            assert not set("[]") & set(re.sub(r"\[(?:姓名|公司|微信号)\]", "", getattr(chain, layer)))


def test_the_same_post_gives_the_same_chain_and_others_other_frames():
    posts = [f"我很焦虑，因为第{n}次考试没考好，该怎么办？" for n in range(60)]
    assert [RULES.chain(p) for p in posts] == [RULES.chain(p) for p in posts]
    for layer in LAYERS:
        texts = {re.sub(r"\d+", "", getattr(RULES.chain(p), layer)) for p in posts}
        assert len(texts) >= 4, layer


def test_frames_name_no_emotion_and_no_bias():
    words = [word for some in load_lexicon().emotions.values() for word in some]
    names = list(load_lexicon().biases.values())

    def texts(value):
        if isinstance(value, str):
            return [value]
        return [t for one in (value.values() if isinstance(value, dict) else value) for t in texts(one)]

    everything = [t for name, v in vars(frames).items() if name[0].isupper() for t in texts(v)]
    assert len(everything) > 90
    assert not [(text, word) for text in everything for word in (*words, *names) if word in text]


@pytest.mark.parametrize(
    "post", ["？？？", "。", "啊", "1", "<>", "「」", "我" * 5000, "因为我很焦虑，" * 2000, "怎么办" * 3000]
)
def test_blank_short_and_very_long_posts(post):
    chain = RULES.chain(post)
    assert is_well_formed(render(chain, "好"))
    assert all(len(getattr(chain, layer)) <= 160 for layer in LAYERS)
    for layer in LAYERS:
        for said in re.findall("「(.*?)」", getattr(chain, layer)):
            assert said in post and len(said) <= MAX_QUOTE


def test_named_nothing_counts_layers():
    full = RULES.chain("我很焦虑，因为考试没考好，该怎么办？")
    bare = RULES.chain("窗外下着雨。")
    assert named_nothing([full, bare, full, full]) == {"posts": 4, "L1": 0.25, "L2": 0.25, "L3": 0.25}
    assert named_nothing([]) == {"posts": 0, "L1": 0.0, "L2": 0.0, "L3": 0.0}


def test_every_word_read_is_known_to_the_grounding():
    known = emotion_words()
    for words in (feelings.EVERYDAY, feelings.FAINT):
        for emotion, some in words.items():
            assert set(some) <= set(known[emotion])
