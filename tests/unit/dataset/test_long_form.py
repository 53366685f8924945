"""The long variant of the synthetic Empathy-QA: PsyQA's lengths, no sentence worn out, and all that holds of
the short one."""

import re
import shutil
from collections import Counter
from itertools import chain, product
from statistics import mean

import pytest
import yaml

from empathy_lib.core.config import DatasetConfig
from empathy_lib.core.copying import copy_rate
from empathy_lib.core.errors import UserError
from empathy_lib.core.text import sentences
from empathy_lib.dataset.build import build_dataset
from empathy_lib.dataset.fragments import alternatives, load_library
from empathy_lib.dataset.generate import generate
from empathy_lib.dataset.lexicon import SYNTHESIS_DIR, load_lexicon
from empathy_lib.dataset.variety import sentence_shares

SEED = 7
CLEAN = {"advertisement_rate": 0, "short_answer_rate": 0, "duplicate_rate": 0}
QUESTIONS = 4000


def expand(template):
    return ["".join(pieces) for pieces in product(*alternatives(template))]


@pytest.fixture(scope="module")
def items():
    return generate(DatasetConfig(questions=QUESTIONS, answer_length="long", **CLEAN), SEED)


def test_the_scaffold_of_long_posts_names_no_emotion():
    common, question = load_library().common, load_library().long.question
    for text in chain.from_iterable(
        map(expand, [*question.days, *question.inner, *question.stories, *chain(*question.closings.values())])
    ):
        assert not common.lexicon.emotion_counts(text), text


def test_no_text_comes_twice_within_a_deck():
    answer = load_library().long.answer
    decks = [
        getattr(answer, name) for name in type(answer).model_fields if name not in ("orders", "closings")
    ]
    for deck in [*decks, *answer.closings.values()]:
        texts = list(chain.from_iterable(map(expand, deck)))
        assert len(texts) == len(set(texts)), [text for text, count in Counter(texts).items() if count > 1]


def test_lengths_are_psyqas(items):
    posts, answers = (
        [len(item.question) for item in items],
        [len(text.replace("\n", "")) for item in items for text in item.references],
    )
    assert 185 <= mean(posts) <= 215 and min(posts) >= 140 and max(posts) <= 260
    assert 570 <= mean(answers) <= 630 and min(answers) >= 400 and max(answers) <= 800


def test_hardly_a_sentence_stands_in_more_than_one_item_in_a_hundred(items):
    shares = sentence_shares(items)
    assert shares.iloc[0] <= 0.014, shares.index[0]  # 1 % at the full size, where chance is smaller


def test_no_answer_says_a_sentence_twice_and_none_copies_the_post(items):
    for item in items[:1000]:
        for text in item.references:
            assert len(sentences(text)) == len(set(sentences(text))), text
    rates = [copy_rate(text, item.question) for item in items[:1000] for text in item.references]
    assert mean(rates) < 0.001 and max(rates) < 0.1


def test_posts_and_chains_hold_the_gold_words(items):
    lexicon = load_lexicon()
    for item in items:
        assert item.gold.emotion in lexicon.emotion_counts(item.question)
        for answer in item.answers:
            assert item.gold.emotion in answer.text
            assert (
                item.gold.emotion in answer.coe.L1
                and item.gold.cause in answer.coe.L2
                and answer.strategy in answer.coe.L4
            )


def test_nothing_touches_on_self_harm_and_nobody_poses_as_a_therapist(items):
    text = "\n".join(part for item in items for part in (item.question, *item.references))
    assert not re.search(r"自杀|自残|割腕|轻生|不想活|想死|结束生命|跳楼", text)
    assert not re.search(r"(我是|作为)(一名|一个|你的)?(心理)?(咨询师|医生|治疗师)", text)


def test_the_same_seed_gives_the_same_items_and_the_length_is_part_of_the_request():
    config = DatasetConfig(questions=20, answer_length="long")
    assert generate(config, SEED) == generate(config, SEED)
    assert generate(config, SEED) != generate(DatasetConfig(questions=20), SEED)


def test_a_subtopic_with_few_sentences_of_its_own_still_gets_answers_that_repeat_none():
    library = load_library()
    few = (
        library.topics[0]
        .subtopics[0]
        .model_copy(update={"insights": library.topics[0].subtopics[0].insights[:1]})
    )
    few = few.model_copy(update={"advice": few.advice[:2]})
    library = library.model_copy(
        update={"topics": [library.topics[0].model_copy(update={"subtopics": [few]})]}
    )
    for item in generate(DatasetConfig(questions=20, answer_length="long", **CLEAN), SEED, library):
        assert all(len(sentences(text)) == len(set(sentences(text))) for text in item.references)


def test_a_long_dataset_is_built_whole(tmp_path):
    figures = build_dataset(DatasetConfig(questions=60, answer_length="long"), SEED, tmp_path)
    assert figures["questions"] == 60 and figures["lengths"]["answer"]["mean"] > 500


def test_a_strategy_missing_from_the_long_parts_is_named(tmp_path):
    folder = tmp_path / "synthesis"
    shutil.copytree(SYNTHESIS_DIR, folder)
    content = yaml.safe_load(SYNTHESIS_DIR.with_name("synthesis_long.yaml").read_text(encoding="utf-8"))
    content["answer"]["closings"].pop("行动建议")
    (tmp_path / "synthesis_long.yaml").write_text(
        yaml.safe_dump(content, allow_unicode=True), encoding="utf-8"
    )
    with pytest.raises(UserError, match=r"synthesis_long\.yaml: field 'answer\.closings': the keys must be"):
        load_library(folder)
