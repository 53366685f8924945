import re
import shutil
from collections import Counter
from itertools import chain, islice, product
from statistics import mean

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from empathy_lib.core.config import DatasetConfig
from empathy_lib.core.copying import copy_rate
from empathy_lib.core.errors import UserError
from empathy_lib.core.run import generator
from empathy_lib.dataset.fragments import Deck, alternatives, load_library
from empathy_lib.dataset.generate import combinations, generate
from empathy_lib.dataset.lexicon import COMMON_FILE, SYNTHESIS_DIR, load_lexicon
from empathy_lib.dataset.synthesis import LAYER_CHARS

SEED = 7
LONG_FILE = SYNTHESIS_DIR.with_name("synthesis_long.yaml")
CLEAN = {"advertisement_rate": 0, "short_answer_rate": 0, "duplicate_rate": 0}
CRISIS = ("自杀", "自残", "割腕", "轻生", "不想活", "想死", "活着没意思", "结束生命", "跳楼")


def expand(template):
    return ["".join(pieces) for pieces in product(*alternatives(template))]


@pytest.fixture(scope="module")
def laptop():
    return generate(DatasetConfig(questions=1500), SEED)


@pytest.fixture(scope="module")
def good(laptop):
    return [(item, answer) for item in laptop for answer in item.answers if not answer.noise]


# --- the fragments ---


def test_the_topic_files_have_the_papers_number_of_topics_and_subtopics():
    topics = load_library().topics
    assert (len(topics), sum(len(topic.subtopics) for topic in topics)) == (29, 182)


def test_every_emotion_expression_names_its_emotion_and_no_other():
    lexicon = load_lexicon()
    for emotion, templates in load_library().common.question.emotions.items():
        assert len(templates) >= 8
        for text in chain.from_iterable(map(expand, templates)):
            assert set(lexicon.emotion_counts(text)) == {emotion}, text


def test_the_scaffold_of_posts_and_the_advice_of_chains_name_no_emotion():
    common = load_library().common
    parts = common.question
    decks = [
        parts.openings,
        parts.settings,
        parts.stories,
        parts.turns,
        parts.cause_leads,
        parts.belief_leads,
        parts.thanks,
    ]
    decks += [
        *parts.closings.values(),
        common.coe.L1,
        common.coe.L2,
        common.coe.L3,
        *common.coe.specifics.values(),
    ]
    for text in chain.from_iterable(map(expand, chain.from_iterable(decks))):
        assert not common.lexicon.emotion_counts(text), text


def test_each_intent_phrase_stands_in_no_other_intents_scaffold():
    common = load_library().common
    for intent, phrase in common.lexicon.intents.items():
        others = [texts for other, texts in common.coe.specifics.items() if other != intent] + [
            common.coe.L1,
            common.coe.L2,
            common.coe.L3,
        ]
        assert not any(
            phrase in text for text in chain.from_iterable(map(expand, chain.from_iterable(others)))
        )


def test_there_are_enough_variants_and_none_twice():
    common = load_library().common
    answer = common.answer
    assert len(common.question.openings) >= 25
    assert min(map(len, common.question.closings.values())) >= 12
    generic = [
        answer.acks,
        answer.plain_acks,
        answer.doubts,
        answer.plain_doubts,
        answer.supports,
        answer.thinking,
        answer.leads,
    ]
    generic += [
        answer.leads2,
        answer.paces,
        answer.cares,
        answer.talks,
        answer.confides,
        common.noise.advertisements,
        common.noise.shorts,
    ]
    for deck in generic:
        assert len(deck) >= 20
        texts = list(chain.from_iterable(map(expand, deck)))
        assert len(texts) == len(set(texts)), [text for text, count in Counter(texts).items() if count > 1]


def test_noise_has_the_length_its_rule_needs():
    noise = load_library().common.noise
    filled = lambda text: re.sub(r"\{\w+\}", "x", text)  # noqa: E731
    assert min(len(filled(text)) for text in chain.from_iterable(map(expand, noise.advertisements))) >= 105
    assert max(len(text) for text in chain.from_iterable(map(expand, noise.shorts))) < 100


@given(st.lists(st.sampled_from(["a[b|c]", "d", "[e|]f", "g[h|i][j|k]", "l"]), min_size=1, max_size=5))
def test_a_deck_deals_every_card_equally_often(templates):
    deck = Deck([f"{place}:{text}" for place, text in enumerate(templates)], np.random.default_rng(0))
    dealt = Counter(deck.draw().split(":")[0] for _ in range(3 * len(templates)))
    assert set(dealt.values()) == {3}


def test_a_choosy_draw_gives_the_cheapest_and_keeps_what_it_passed_over():
    deck = Deck(["aaa", "bb", "c", "dddd"], np.random.default_rng(0))
    assert deck.draw(len) == "c"
    assert {deck.draw() for _ in range(3)} == {"aaa", "bb", "dddd"}


@pytest.mark.parametrize(
    ("file", "change", "match"),
    [
        (
            "topics/01_work_stress.yaml",
            lambda t: t["subtopics"][2]["causes"][0].pop("gist"),
            r"01_work_stress.*subtopics\.2\.causes\.0\.gist",
        ),
        (
            "topics/01_work_stress.yaml",
            lambda t: t["subtopics"][0].update(emotions=["焦虑", "开心"]),
            r"subtopics\.0\.emotions': '开心'",
        ),
        (
            "topics/01_work_stress.yaml",
            lambda t: t["subtopics"][0]["beliefs"][0].update(bias="x"),
            r"subtopics\.0\.beliefs': bias 'x'",
        ),
        (
            "topics/01_work_stress.yaml",
            lambda t: t["subtopics"][0]["advice"].append("没有句号"),
            r"advice\.4.*end mark",
        ),
        (
            "common.yaml",
            lambda t: t["question"]["openings"].append("没[关上"),
            r"common\.yaml.*question\.openings\.\d+.*unclosed",
        ),
        (
            "common.yaml",
            lambda t: t["answer"]["acks"].append("{nobody}"),
            r"common\.yaml.*answer\.acks\.\d+.*unknown",
        ),
        (
            "common.yaml",
            lambda t: t["question"]["emotions"].pop("焦虑"),
            r"question\.emotions: the keys must be",
        ),
        (
            "common.yaml",
            lambda t: t["lexicon"]["emotions"]["焦虑"].append("委屈"),
            r"lexicon\.emotions.*'委屈' of '焦虑'",
        ),
    ],
)
def test_a_fault_in_a_file_is_named(tmp_path, file, change, match):
    folder = tmp_path / "synthesis"
    shutil.copytree(SYNTHESIS_DIR, folder)
    shutil.copy(LONG_FILE, tmp_path)
    content = yaml.safe_load((folder / file).read_text(encoding="utf-8"))
    change(content)
    (folder / file).write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    with pytest.raises(UserError, match=match) as caught:
        load_library(folder)
    assert "\n" not in str(caught.value)


def test_broken_yaml_and_missing_files_are_named(tmp_path):
    tmp_path = tmp_path / "synthesis"
    tmp_path.mkdir()
    with pytest.raises(UserError, match=r"common\.yaml: no such file"):
        load_library(tmp_path)
    shutil.copy(COMMON_FILE, tmp_path)
    with pytest.raises(UserError, match=r"synthesis_long\.yaml: no such file"):
        load_library(tmp_path)
    shutil.copy(LONG_FILE, tmp_path.parent)
    with pytest.raises(UserError, match=r"topics: no \*\.yaml there"):
        load_library(tmp_path)
    (tmp_path / "common.yaml").write_text("a: [1\nb: 2", encoding="utf-8")
    with pytest.raises(UserError, match=r"common\.yaml, line 2: not valid YAML"):
        load_library(tmp_path)


# --- the draw of labels ---


def test_combinations_come_without_replacement_and_spread_first():
    subtopic = load_library().topics[0].subtopics[0]
    total = len(subtopic.situations) * len(subtopic.causes) * len(subtopic.beliefs) * 3
    drawn = list(islice(combinations(subtopic, generator(SEED, "test")), 2 * total))
    names = [(s.gist, c.gist, b.gist, intent) for s, c, b, intent in drawn]
    assert len(set(names[:total])) == len(set(names[total:])) == total
    assert len({(s, c) for s, c, _, _ in names[:9]}) == 9, "the first nine share no (situation, cause)"
    assert len({name[:3] for name in names[:18]}) == 18, "no story comes twice before all stories came once"


def test_a_smoke_run_covers_topics_evenly():
    items = generate(DatasetConfig(questions=60, **CLEAN), SEED)
    topics = Counter(item.topic for item in items)
    assert len(topics) == 29 and set(topics.values()) <= {2, 3}
    assert len({(item.topic, item.subtopic) for item in items}) == 60


def test_labels_are_spread(laptop):
    golds = [item.gold for item in laptop]
    assert max(Counter(gold.intent for gold in golds).values()) < 0.4 * len(golds)
    assert set(load_lexicon().emotions) == {gold.emotion for gold in golds}
    assert set(load_lexicon().biases) == {gold.bias for gold in golds}


# --- posts, answers, chains ---


def test_the_same_seed_gives_the_same_items_and_noise_changes_no_clean_item():
    config = DatasetConfig(questions=40)
    items = generate(config, SEED)
    assert items == generate(config, SEED)
    assert {item.question for item in items}.isdisjoint(item.question for item in generate(config, SEED + 1))

    def strip(items):
        return sorted((i.question, [a.text for a in i.answers if not a.noise]) for i in items if not i.noise)

    assert strip(items) == strip(generate(DatasetConfig(questions=40, **CLEAN), SEED))


def test_ids_are_unique_and_run_in_order(laptop):
    assert [item.id for item in laptop] == [f"syn-{number:06d}" for number in range(1, len(laptop) + 1)]


def test_posts_hold_their_story_and_have_the_right_length(laptop):
    clean = [item for item in laptop if not item.noise]
    assert len({item.question for item in clean}) == len(clean) == 1500
    lengths = [len(item.question) for item in clean]
    assert min(lengths) >= 120 and max(lengths) <= 220 and 150 <= mean(lengths) <= 190
    lexicon = load_lexicon()
    assert all(item.gold.emotion in lexicon.emotion_counts(item.question) for item in clean)
    stories = {
        (s.name, f.gist): f.text
        for t in load_library().topics
        for s in t.subtopics
        for f in [*s.situations, *s.causes, *s.beliefs]
    }
    for item in clean:
        for gist in (item.gold.situation, item.gold.cause, item.gold.belief):
            assert stories[(item.subtopic, gist)] in item.question


def test_answers_have_the_right_length_and_differ_in_strategy(laptop, good):
    assert all(105 <= len(answer.text) <= 220 for _, answer in good)
    for item in laptop:
        strategies = [answer.strategy for answer in item.answers if not answer.noise]
        assert 3 <= len(strategies) <= 5 and len(set(strategies)) == len(strategies)
    assert len({answer.text for _, answer in good}) == len(good)
    assert len({answer.strategy for _, answer in good}) >= 4
    assert all(item.gold.emotion in answer.text for item, answer in good)


def test_the_first_strategy_follows_the_intent(laptop):
    firsts = {intent: Counter() for intent in load_lexicon().intents}
    for item in laptop:
        firsts[item.gold.intent][next(a.strategy for a in item.answers if not a.noise)] += 1
    assert firsts["advice"].most_common(1)[0][0] == "行动建议"
    assert firsts["understood"].most_common(1)[0][0] == "倾听共情"


def test_answers_do_not_copy_the_post(good):
    rates = [copy_rate(answer.text, item.question) for item, answer in good]
    assert mean(rates) < 0.001 and max(rates) < 0.1


def test_an_answer_says_its_own_posts_cause_back(good):
    said = [item.gold.cause in answer.text for item, answer in good]
    assert mean(said) > 0.95  # the others' gists repeat the post's own words
    others = {item.id: item.gold.cause for item, _ in good}
    first = next(iter(others.values()))
    assert not any(first in answer.text for item, answer in good if item.gold.cause != first)


def test_no_sentence_is_stamped_on_many_answers(laptop, good):
    sentences = lambda text: {s for s in re.split(r"(?<=[。！？])", text) if s}  # noqa: E731
    answers = Counter(s for _, answer in good for s in sentences(answer.text))
    assert answers.most_common(1)[0][1] / len(good) <= 0.02
    posts = Counter(s for item in laptop for s in sentences(item.question))
    assert posts.most_common(1)[0][1] / len(laptop) <= 0.03


def test_no_answer_says_a_sentence_twice(good):
    for _, answer in good:
        sentences = [s for s in re.split(r"(?<=[。！？])", answer.text) if s]
        assert len(sentences) == len(set(sentences)), answer.text


def test_chains_hold_the_gold_words(good):
    lexicon = load_lexicon()
    for item, answer in good:
        gold, coe = item.gold, answer.coe
        assert gold.emotion in coe.L1 and gold.situation in coe.L1
        assert gold.cause in coe.L2 and gold.belief in coe.L2 and lexicon.biases[gold.bias] in coe.L2
        assert [intent for intent, phrase in lexicon.intents.items() if phrase in coe.L3] == [gold.intent]
        assert answer.strategy in coe.L4
        assert all(
            LAYER_CHARS[0] <= len(layer) <= LAYER_CHARS[1] for layer in (coe.L1, coe.L2, coe.L3, coe.L4)
        )
    assert {item.coe_origin for item, _ in good} == {"gold"}


def test_nothing_touches_on_self_harm_and_nobody_poses_as_a_therapist(laptop):
    text = "\n".join(item.question + "\n".join(item.references) for item in laptop)
    assert [word for word in CRISIS if word in text] == []
    good = "\n".join(answer.text for item in laptop for answer in item.answers if not answer.noise)
    assert not re.search(
        r"我是(一名|一个|你的)?(心理)?(咨询师|医生|治疗师)|作为(一名)?(心理)?(咨询师|医生|治疗师)", good
    )


def test_more_answers_than_strategies_still_work():
    items = generate(DatasetConfig(questions=5, answers_per_question=(7, 7), **CLEAN), SEED)
    assert all(len({answer.text for answer in item.answers}) == 7 for item in items)


# --- noise ---


def test_noise_is_planted_at_its_rates(laptop):
    config = DatasetConfig(questions=1500)
    duplicates = [item for item in laptop if item.noise == "duplicate"]
    originals = [item for item in laptop if not item.noise]
    kinds = Counter(answer.noise for item in originals for answer in item.answers)
    assert len(duplicates) == round(config.duplicate_rate * 1500)
    assert kinds["advertisement"] == round(config.advertisement_rate * kinds[""])
    assert kinds["short"] == round(config.short_answer_rate * kinds[""])
    for item in originals:
        for answer in item.answers:
            assert (answer.coe is None) == bool(answer.noise)
            assert (len(answer.text) < config.min_answer_chars) == (answer.noise == "short")


def test_duplicates_are_near_their_original(laptop):
    grams = lambda text: {text[i : i + 5] for i in range(len(text) - 4)}  # noqa: E731
    originals = {}
    for item in laptop:
        if not item.noise:
            originals.setdefault((item.subtopic, item.gold.model_dump_json()), []).append(item)
    exact = 0
    duplicates = [item for item in laptop if item.noise == "duplicate"]
    for item in duplicates:
        candidates = originals[(item.subtopic, item.gold.model_dump_json())]
        near = max(
            len(grams(item.question) & grams(o.question)) / len(grams(item.question) | grams(o.question))
            for o in candidates
        )
        assert near >= 0.7
        exact += any(item.question == other.question for other in candidates)
    assert 0 < exact < len(duplicates)


def test_advertisements_give_made_up_contacts_only(laptop):
    contacts = set(chain.from_iterable(load_library().common.noise.contacts.values()))
    for text in (
        answer.text for item in laptop for answer in item.answers if answer.noise == "advertisement"
    ):
        found = re.findall(r"[A-Za-z0-9_./-]{6,}", text)
        assert all(piece in contacts or re.fullmatch(r"TEST\d\d", piece) for piece in found), text
        assert found
