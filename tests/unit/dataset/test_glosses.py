import hashlib
import re
from itertools import chain

import pytest

from empathy_lib.core.config import DatasetConfig
from empathy_lib.core.errors import UserError
from empathy_lib.core.schema import Answer, Gold, Item
from empathy_lib.dataset.fragments import load_library
from empathy_lib.dataset.generate import generate
from empathy_lib.dataset.glosses import GLOSS_FILE, bilingual, gloss_line, load_glosses
from empathy_lib.dataset.sources import source_digest


def labels():
    """Every label that a synthetic item can carry."""
    library = load_library()
    yield from chain(library.common.lexicon.emotions, library.common.lexicon.biases)
    yield from chain(library.common.lexicon.intents, library.common.answer.strategies)
    for topic in library.topics:
        yield topic.name
        for subtopic in topic.subtopics:
            yield subtopic.name
            for part in (*subtopic.situations, *subtopic.causes, *subtopic.beliefs):
                yield part.gist


def item(**gold):
    given = dict(
        emotion="疲惫", situation="两个项目并行、调休也被叫回", cause="", belief="能干的人不应该喊累"
    )
    given |= dict(bias="should_statements", intent="advice") | gold
    return Item(
        id="a",
        question="求助",
        topic="职场压力",
        subtopic="加班与工作量",
        answers=[Answer(text="回复")],
        gold=Gold(**given),
    )


def test_every_label_has_a_gloss_and_every_gloss_a_label():
    glosses, due = load_glosses(), set(labels())
    assert sorted(due - set(glosses)) == [], f"labels without a gloss; add them to {GLOSS_FILE}"
    assert sorted(set(glosses) - due) == [], f"no labels of the synthesis; remove them from {GLOSS_FILE}"
    assert {topic.name_en for topic in load_library().topics} <= set(glosses.values())


def test_glosses_are_short_and_english():
    for label, gloss in load_glosses().items():
        assert re.fullmatch(r"[A-Za-z0-9 ,;:.'’/?-]{2,80}", gloss), (label, gloss)


def test_no_label_stands_twice_in_the_file():
    lines = GLOSS_FILE.read_text(encoding="utf-8").splitlines()
    names = [line.split(": ")[0] for line in lines if ": " in line and not line.startswith("#")]
    assert sorted(names) == sorted(set(names)) and len(names) == len(load_glosses())


def test_the_line_says_what_the_post_is_about():
    assert gloss_line(item()) == (
        "Workplace stress / overtime and workload · exhausted · two projects at once, called back even from "
        "time off · “capable people must not say they are tired” · wants advice"
    )


def test_labels_that_are_not_ours_stand_as_they_are_and_none_give_no_line():
    own = item(emotion="开心", situation="", belief="", cause="放假了").model_copy(
        update={"topic": "日常", "subtopic": ""}
    )
    assert gloss_line(own) == "日常 · 开心 · “放假了” · wants advice"
    assert gloss_line(own.model_copy(update={"gold": None})) == ""


def test_a_gloss_that_is_no_text_is_named(tmp_path):
    (tmp_path / "g.yaml").write_text("焦虑: anxious\n疲惫:\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"g\.yaml: field '疲惫'.*English"):
        load_glosses(tmp_path / "g.yaml")


def test_glosses_change_neither_the_data_nor_what_a_dataset_is_built_from():
    """Both digests were taken without the glosses. A change to data/synthesis/ changes them as well:
    then say so in the commit, and put the new ones here."""
    config = DatasetConfig(questions=60)
    text = "\n".join(each.model_dump_json() for each in generate(config, 7))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "bb8848e3ee977304"
    assert source_digest(config)[:16] == "d898dd542d8121e1"


def test_a_label_is_shown_with_its_english_and_an_unknown_one_alone():
    assert bilingual("友谊") == "友谊 · Friendship"
    assert bilingual("友谊", between="\n") == "友谊\nFriendship"
    assert bilingual("用户自己的主题") == "用户自己的主题"
