"""De-identification, marked on planted cases: every value and sentence here is invented."""

from collections import Counter

import pytest

from empathy_lib.core.config import DatasetConfig
from empathy_lib.dataset.deidentify import PLACEHOLDERS, TYPES, deidentify, deidentify_items, find
from empathy_lib.dataset.generate import generate

SENTENCES = {
    "phone": [
        "我的电话是{}，随时可以打给我。",
        "有事打{}",
        "他一直用{}骚扰我，我很害怕。",
        "手机号{}，名字就不说了。",
        "可以联系我（{}）吗？",
    ],
    "id_card": ["我的身份证号是{}，被人拿去贷款了。", "身份证{}", "他把我的证件号{}发到了群里。"],
    "email": ["可以写信到{}，我会看的。", "邮箱：{}", "我给{}发过邮件，没有回音。"],
    "wechat": [
        "我的微信是{}，想找人聊聊。",
        "加微信{}",
        "微信号：{}，晚上在。",
        "VX：{}",
        "他的威信号是{}。",
    ],
    "qq": ["我的QQ是{}，加我吧。", "qq号：{}", "扣扣{}，备注求助。"],
    "url": ["我把经过写在{} 了。", "网址是{}", "他发的帖子在{}，所有人都看到了。"],
    "date": ["{}那天我们分手了。", "我是{}出生的，今年很不顺。", "爷爷在{}走了，我没有赶上。"],
    "address": ["我住在{}，晚上总有人敲门。", "家在{}", "他找到了我租的房子，{}，我不敢回去。"],
    "school": [
        "我在{}读书，室友都不理我。",
        "我今年考上了{}，可是一点也不开心。",
        "孩子在{}，老师总批评他。",
    ],
    "company": ["我在{}上班，领导天天骂人。", "去年我进了{}，压力很大。", "他是{}的主管。"],
    "name": [
        "我叫{}，今年二十岁。",
        "我的名字是{}。",
        "她叫{}，我们在一起三年了。",
        "同桌叫{}，总是笑我。",
        "姓名：{}",
    ],
}
VALUES = {
    "phone": [
        *(
            "13812345678",
            "138-1234-5678",
            "138~1234~5678",
            "１３８１２３４５６７８",
            "一三八一二三四五六七八",
            "幺三八零零幺三八零零零",
        ),
        *(
            "+8613912345678",
            "1~3~8~1~2~3~4~5~6~7~8",
            "159.8765.4321",
            "1３8-１２34-５678",
            "010-62345678",
            "0571-87654321",
            "19900001111",
        ),
    ],
    "id_card": [
        "11010519491231002X",
        "440308199901011234",
        "４４０３０８１９９９０１０１１２３４",
        "320102~19880214~1234",
        "51010219770909456x",
        "三三零一零二一九九零零一零一一二三四",
    ],
    "email": [
        "lihua@example.com",
        "zhang.san_88@163.com",
        "ａｂｃ＠ｑｑ．ｃｏｍ",
        "test(at)gmail.com",
        "wang-wu@mail.example.edu.cn",
        "12345678@qq.com",
        "xiao~@~126.com",
    ],
    "wechat": ["lonely_cat88", "wxid_abc123", "sunny2008", "ａｂｃ_１２３４", "13812345678", "xiaoyu-520"],
    "qq": ["123456789", "1029384756", "８８８８８６６６６", "12345~6789", "一二三四五六七八九", "98765"],
    "url": [
        "https://example.com/post?id=5",
        "www.example.cn/a/b",
        "http://bbs.example.org",
        "example.com/user/77",
        "https://weibo.com/u/1234567890",
    ],
    "date": [
        "2019年3月5日",
        "2019-03-05",
        "2020/12/1",
        "二〇一八年五月四日",
        "3月15日",
        "十二月二十五号",
        "２０２１年７月９日",
        "98年10月2日",
        "2022.6.18",
    ],
    "address": [
        "北京市朝阳区建国路88号",
        "上海市徐汇区漕溪北路1200弄5号302室",
        "翠湖花园3栋502",
        "杭州市西湖区文三路",
        "广东省深圳市南山区科技园路１２号",
        "幸福小区十二号楼二单元",
        "青年路15号",
        "红旗镇柳树村6号",
    ],
    "school": [
        "北京大学",
        "青山实验学校",
        "清河第一中学",
        "育才小学",
        "南川师范大学",
        "阳光幼儿园",
        "江城理工大学",
        "衡水二中",
    ],
    "company": ["蓝海科技有限公司", "远洋集团", "华兴会计师事务所", "天宇股份有限公司", "云帆网络公司"],
    "name": ["李明", "王小红", "欧阳娜", "张伟", "陈思雨", "赵磊", "司马青", "林小雨", "周海燕"],
}
NEGATIVES = [
    "我读大学的时候就这样，毕业进了一家公司，公司里没有人理我。",
    "我是高三学生，高考前压力很大，想考重点大学。",
    "可以拨打12356或者400-161-9995，也可以打110、120。",
    "孩子上小学三年级，老师说他不听话，附近的中学也不收。",
    "三月份我们吵过一次，五月又吵，一年到头没有安静的日子。",
    "我一个人走在路上，路边的小区灯火通明，我却不想回家。",
    "他叫我别再打电话，微信也不回，QQ拉黑了我。",
    "我今年25岁，工资3500，存款12000，身高170，体重120斤。",
    "凌晨2点到5点，我每天醒来三四次，吃了2片药。",
    "这家公司加班到十一点，老板叫我们周末也来，前公司不是这样。",
    "我叫他不要走，他叫妈妈过来，大家叫我想开点。",
    "我的微信里有三百个人，没有一个能说话。",
    "朋友都说我想多了，去年考研失败，今年又失业，已经123天没有出门。",
    "我们高中同学里，一二三四五个都结婚了，只有我一个人。",
    "房子在城里，每月还贷四千，银行天天打电话催。",
]


# Ordinary words beside a word like 大学, 公司 or 叫: nothing here is a name.
WORDS = [
    "从这次失败中学到很多，也在痛苦中学会了等待。",
    "我总感觉初中比较快乐，其实高中也还好。",
    "孩子慢慢适应幼儿园了，刚上大学的姐姐也在适应。",
    "他主管公司的采购，先咨询公司再说。",
    "她最喜欢宁静的晚上，也不叫冷漠，本人高二。",
    "不是叫宁静的晚上太长，是我睡不着。",
    "入职新公司以后换了一家公司，还是想经营一家有限公司。",
    "英国大学和国内的重点高中不一样，河南高中也难考。",
    "无论哪所大学，我考上大学就好，我想读高中。",
    "找了个地产公司和房地产集团，都是外贸公司。",
    "那张老师给的卷子，和老师说的一样。",
    "室友小气，同桌小学毕业，男朋友小时候不是这样。",
    "用微信和朋友聊天，微信上有三百人；百度一下，在淘宝买东西。",
    "附近的小区路灯坏了，市区路上没有人。",
]
NAMED = [
    ("我在{}读书。", "深圳大学", "school"),
    ("我在{}上班。", "蓝海科技有限公司", "company"),
    ("孩子在{}念书。", "北京四中", "school"),
    ("我在{}上班。", "腾讯", "company"),
    ("他从{}裸辞了。", "字节跳动", "company"),
    ("我考上了{}，可是不开心。", "长沙市雅礼中学", "school"),
    ("他们都说{}很难考。", "复旦", "school"),
    ("她是{}毕业的。", "成都七中", "school"),
    ("去年进了{}。", "天宇股份有限公司", "company"),
    ("班里只有{}看出来了。", "张老师", "name"),
    ("室友{}最近不说话。", "小雨", "name"),
    ("我儿子{}不肯出门。", "吴梓涵", "name"),
    ("她叫{}，人很好。", "田曦薇", "name"),
    ("我住在{}，很吵。", "上海市徐汇区漕溪北路1200弄5号302室", "address"),
    ("公司在{}，很远。", "江宁区将军大道", "address"),
    ("想聊就加{}，我的QQ。", "123456789", "qq"),
    ("出生日期{}，不算大。", "20010416", "date"),
]


def cases() -> list[tuple[str, str, str]]:
    """(type, value, text): every value in every sentence of its type; ``~`` stands for a space inside a
    value."""
    return [
        (kind, v.replace("~", " "), s.format(v.replace("~", " ")))
        for kind in TYPES
        for s in SENTENCES[kind]
        for v in VALUES[kind]
    ]


def test_planted_cases_recall_and_precision():
    planted, missed, wrong, right = Counter(), [], [], 0
    for kind, value, text in cases():
        planted[kind] += 1
        start = text.index(value)
        covered = {i for finding in find(text) for i in range(finding.start, finding.end)}
        if not covered.issuperset(i for i in range(start, start + len(value)) if text[i] != " "):
            missed.append((kind, text))
        for finding in find(text):
            inside = finding.start < start + len(value) and finding.end > start
            right += inside
            if not inside or finding.end - finding.start > len(value) + 2:
                wrong.append((kind, text, text[finding.start : finding.end]))
    posts = [item.question for item in generate(DatasetConfig(questions=200, duplicate_rate=0), seed=5)]
    wrong += [("none", text, text[f.start : f.end]) for text in [*NEGATIVES, *posts] for f in find(text)]
    total = sum(planted.values())
    assert total >= 300 and set(planted) == set(TYPES)
    recall, precision = 1 - len(missed) / total, right / (right + len(wrong))
    assert recall >= 0.98, (recall, missed)
    assert precision >= 0.95, (precision, wrong)


@pytest.mark.parametrize("kind", TYPES)
def test_recall_of_every_type(kind):
    texts = [(value, text) for k, value, text in cases() if k == kind]
    missed = [text for value, text in texts if value in deidentify(text)[0]]
    assert len(missed) <= 0.05 * len(texts), missed


def test_ordinary_posts_stay_as_they_are():
    changed = [text for text in NEGATIVES if deidentify(text)[0] != text]
    assert changed == []


def test_placeholders_and_positions():
    text = "我叫李明，电话１３８ 1234 5678，住在青年路15号。"
    done, findings = deidentify(text)
    assert done == f"我叫{PLACEHOLDERS['name']}，电话{PLACEHOLDERS['phone']}，住在{PLACEHOLDERS['address']}。"
    assert [text[f.start : f.end] for f in findings] == ["李明", "１３８ 1234 5678", "青年路15号"]
    assert deidentify(done) == (done, [])  # placeholders are no findings


def test_items_are_cleaned_in_posts_and_answers():
    item = generate(DatasetConfig(questions=1, duplicate_rate=0), seed=1)[0]
    item = item.model_copy(update={"question": item.question + "我叫李明。"})
    answers = [item.answers[0].model_copy(update={"text": "李明你好，邮箱a1@example.com"})]
    (done,), counts = deidentify_items([item.model_copy(update={"answers": answers})])
    assert done.question.endswith("我叫[姓名]。") and done.answers[0].text == "李明你好，邮箱[邮箱]"
    assert counts == {"name": 1, "email": 1}


@pytest.mark.parametrize("text", WORDS)
def test_ordinary_words_are_no_names(text):
    assert deidentify(text) == (text, [])


@pytest.mark.parametrize(("sentence", "value", "kind"), NAMED)
def test_names_are_found_whole(sentence, value, kind):
    assert deidentify(sentence.format(value))[0] == sentence.format(PLACEHOLDERS[kind])
