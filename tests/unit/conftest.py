"""Fixtures that several test modules share: a tiny random model in the hub's layout, and a few items."""

import threading

import numpy as np
import pytest
from stages import tiny_gemma
from teacher_server import KEY, TeacherServer
from tokenizers import Tokenizer, decoders, models, normalizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from empathy_lib.core.coe import ChainOfEmpathy
from empathy_lib.core.config import BaseModelConfig
from empathy_lib.core.schema import Answer, Gold, Item
from empathy_lib.models import compiling
from empathy_lib.models.base import prepare_base
from empathy_lib.models.prompts import training_texts
from empathy_lib.sft import sft_pairs

POSTS = [
    ("最近总是失眠，我很焦虑，怕考试考砸了。该怎么办？", "焦虑", "怕考试考砸"),
    ("和朋友吵架以后，我觉得很委屈，她一直不理我。", "委屈", "朋友不理人"),
    ("分手三个月了，我还是很难过，晚上总是想起以前。", "悲伤", "刚刚分手"),
    ("领导当众批评我，我又气又羞，不想再去上班了。", "羞耻", "被当众批评"),
    ("妈妈总拿我和别人比，我觉得自己什么都做不好。", "自责", "被拿来比较"),
    ("孩子不听话，我每天都很累，忍不住对他发火。", "疲惫", "孩子不听话"),
]


def pytest_collection_modifyitems(items):
    """The longest file first: where workers take a file each, none ends alone with it."""
    items.sort(key=lambda item: item.path.name != "test_notebooks.py")


@pytest.fixture(params=[False, True], ids=["plain", "compiled"])
def compiled(request, monkeypatch) -> bool:
    """Whether training compiles parts of the model; a test that takes this runs both ways, whatever the
    model's size."""
    if request.param and not compiling.can_compile("cpu"):
        pytest.skip(
            "nothing can be compiled here: no g++, or torch stands in a folder whose path has a space"
        )
    monkeypatch.setattr(compiling, "MIN_PARAMETERS", 1)
    monkeypatch.setattr(compiling, "MIN_PASSES", 1 if request.param else 10**9)
    return request.param


@pytest.fixture(scope="session")
def items() -> list[Item]:
    """Six annotated items, two topics, two answers each."""
    made = []
    for number, (post, emotion, cause) in enumerate(POSTS):
        chain = ChainOfEmpathy(L1=f"感到{emotion}", L2=f"源于{cause}", L3="希望得到建议", L4="先共情，再建议")
        answers = [
            Answer(text=f"听起来你很{emotion}，谢谢你愿意说出来。{tail}", coe=chain)
            for tail in ("可以先好好睡一觉。", "不妨和信任的人聊聊。")
        ]
        gold = Gold(
            emotion=emotion, situation="情境", cause=cause, belief="信念", bias="labeling", intent="advice"
        )
        made.append(
            Item(
                id=f"t{number}",
                question=post,
                topic="甲" if number % 2 else "乙",
                answers=answers,
                gold=gold,
                coe_origin="gold",
            )
        )
    return made


@pytest.fixture(scope="session")
def full_tokenizer(items) -> PreTrainedTokenizerFast:
    """A BPE tokenizer with byte fallback and a space mark, as Gemma's; vocabulary far larger than the items
    need."""
    inner = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    inner.normalizer = normalizers.Replace(" ", "▁")
    inner.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    specials = ["<pad>", "<eos>", "<bos>", "<unk>"]
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        special_tokens=[*specials, *(f"<0x{b:02X}>" for b in range(256))],
        initial_alphabet=[chr(c) for c in range(33, 127)],
    )
    inner.train_from_iterator([*training_texts(items), "unused words that nobody needs " * 9], trainer)
    inner.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", inner.token_to_id("<bos>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<pad>",
        eos_token="<eos>",
        bos_token="<bos>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    )


@pytest.fixture(scope="session")
def hub_folder(full_tokenizer, tmp_path_factory):
    """A tiny random Gemma 3 in the hub's layout."""
    folder = tmp_path_factory.mktemp("hub") / "小模型 tiny"
    return tiny_gemma(folder, full_tokenizer, hidden_size=32, intermediate_size=64, head_dim=16)


@pytest.fixture(scope="session")
def base(hub_folder, items, tmp_path_factory):
    """The tiny model as a prepared base, trimmed to the items."""
    config = BaseModelConfig(source=str(hub_folder), trim_min_count=1)
    return prepare_base(config, training_texts(items), cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture
def rng() -> np.random.Generator:
    """A fixed generator."""
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def psyqa_records():
    """40 records of PsyQA's layout in words of our own, one full answer each; copy before changing them."""
    return [
        {
            "question": f"第{i}个帖子：我和第{i * 7}位同事处不好，{'甲乙丙丁戊己庚辛壬癸'[i % 10] * 12}，"
            f"怎么办？",
            "keywords": ["职场", "家庭", "恋爱"][i % 3],
            "answers": [{"answer_text": f"第{i}个回答。" + "慢慢说，我在听。" * 15}],
        }
        for i in range(40)
    ]


@pytest.fixture
def server(monkeypatch):
    """A running :class:`TeacherServer` to which the two environment variables point."""
    with TeacherServer() as made:
        threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        monkeypatch.setenv("OPENAI_BASE_URL", made.url)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        yield made
        made.shutdown()


@pytest.fixture(scope="session")
def tokenizer(base):
    return AutoTokenizer.from_pretrained(base)


@pytest.fixture(scope="session")
def pairs(items, tokenizer):
    return sft_pairs(items, tokenizer, 8, np.random.default_rng(0), coe=True)
