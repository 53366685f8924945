import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from empathy_lib.core import config
from empathy_lib.core.config import PROFILES, field_names, load_profile, parse_assignments
from empathy_lib.core.errors import UserError


@pytest.fixture
def own_profiles(tmp_path, monkeypatch):
    """Write ``smoke.yaml`` of one's own; returns its path."""
    monkeypatch.setattr(config, "PROFILE_DIR", tmp_path)
    return tmp_path / "smoke.yaml"


@pytest.mark.parametrize("name", PROFILES)
def test_the_shipped_profiles_are_valid(name):
    assert load_profile(name).name == name


def test_a_profile_overrides_the_defaults_it_names(own_profiles):
    own_profiles.write_text("grpo: {max_steps: 3}\n")
    loaded = load_profile("smoke")
    assert loaded.grpo.max_steps == 3
    assert loaded.grpo.num_generations == config.GRPOStageConfig().num_generations


def test_a_profile_of_comments_keeps_all_defaults(own_profiles):
    own_profiles.write_text("# nothing yet\n")
    assert load_profile("smoke") == config.Profile(name="smoke")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("grpo: {max_step: 3}\n", "field 'grpo.max_step'"),
        ("grpo: {max_steps: many}\n", "field 'grpo.max_steps'"),
        ("grpo: 3\n", "field 'grpo'"),
        ("seed: 1\ngrpo: {max_steps\n", "line 3: not valid YAML"),
    ],
)
def test_a_broken_profile_names_file_and_field(own_profiles, content, says):
    own_profiles.write_text(content)
    with pytest.raises(UserError) as error:
        load_profile("smoke")
    assert str(own_profiles) in str(error.value) and says in str(error.value) and "\n" not in str(error.value)


def test_unknown_profile():
    for name in ("huge", "../smoke", ""):
        with pytest.raises(
            UserError, match=r"unknown profile .*; use one of smoke, class, laptop, gpu, paper"
        ):
            load_profile(name)


def test_overrides_reach_every_depth():
    loaded = load_profile(
        "smoke",
        {
            "grpo.max_steps": 20,
            "sft.lora.r": 4,
            "seed": 7,
            "dataset.answers_per_question": [2, 3],
            "base_model.revision": None,
        },
    )
    assert (loaded.grpo.max_steps, loaded.sft.lora.r, loaded.seed) == (20, 4, 7)
    assert loaded.dataset.answers_per_question == (2, 3)


def test_overrides_stay_with_their_profile():
    before = load_profile("smoke").model_dump()
    load_profile("smoke", {"sft.lora.r": 99, "grpo.lora.r": 98, "metrics.bootstrap": 999})
    assert load_profile("smoke").model_dump() == before
    changed = load_profile("smoke", {"sft.lora.r": 99})
    assert changed.grpo.lora.r == before["grpo"]["lora"]["r"], (
        "the two stages' LoRA settings are not one object"
    )


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("grpo.max_step", "did you mean 'grpo.max_steps'?"),
        ("sft.lora.rr", "did you mean 'sft.lora.r'?"),
        ("grpo", "no such field"),  # a section, not a field
        ("grpo.max_steps.more", "no such field"),
        ("zzz", "the fields are listed by"),
        ("", "no such field"),
        ("sft..r", "no such field"),
        ("model_config", "no such field"),
        ("grpo.__class__", "no such field"),
    ],
)
def test_unknown_fields_are_named_with_a_near_one(key, near):
    with pytest.raises(UserError) as error:
        load_profile("smoke", {key: 1})
    assert f"--set {key}: no such field" in str(error.value) and near in str(error.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("grpo.max_steps", "many"),
        ("grpo.max_steps", 0),
        ("grpo.num_generations", 1),
        ("sft.learning_rate", float("nan")),
        ("sft.learning_rate", float("inf")),
        ("sft.tuning", "half"),
        ("dataset.answers_per_question", [1, 2, 3]),
        ("human_eval.ratings", None),
        ("seed", -1),  # no random generator takes it
        ("base_model.max_length", 7),
        ("generation.max_new_tokens", "long"),
        ("generation.max_new_tokens", 12.5),
        ("reward.max_length", True),
        ("reward.max_length", None),
    ],
)
def test_bad_values_are_named(key, value):
    with pytest.raises(UserError) as error:
        load_profile("smoke", {key: value})
    assert f"--set {key}={value}: field '{key.split('.')[-1]}'" in str(error.value) and "\n" not in str(
        error.value
    )


def test_lengths_are_numbers_or_follow_the_data():
    loaded = load_profile("laptop")
    assert loaded.base_model.max_length == loaded.generation.max_new_tokens == "auto"
    assert loaded.reward.max_length == "auto"
    loaded = load_profile("laptop", {"generation.max_new_tokens": 304, "base_model.max_length": "auto"})
    assert (loaded.generation.max_new_tokens, loaded.base_model.max_length) == (304, "auto")
    with pytest.raises(UserError, match="give a number of tokens from 8 on, or auto"):
        load_profile("laptop", {"reward.max_length": "all"})


def test_field_names_are_what_set_takes():
    names = field_names()
    assert {
        "seed",
        "grpo.max_steps",
        "sft.lora.r",
        "base_model.revision",
        "dataset.answers_per_question",
    } <= set(names)
    assert "grpo" not in names and len(names) == len(set(names))
    loaded = load_profile("smoke")
    for name in names:
        value = loaded
        for part in name.split("."):
            value = getattr(value, part)
        assert load_profile("smoke", {name: value}) == loaded


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a.b=20", 20),
        ("a.b=5e-6", 5e-6),
        ("a.b= 1E3 ", 1000.0),
        ("a.b=-2.5e+2", -250.0),
        ("a.b=0.5", 0.5),
        ("a.b=true", True),
        ("a.b=null", None),
        ("a.b=[2, 3]", [2, 3]),
        ("a.b=text", "text"),
        ("a.b=x=y", "x=y"),
        ("a.b='5e-6'", "5e-6"),
        ("a.b=nan", "nan"),  # a word like any other, as a folder may be called
        ("a.b=infinity", "infinity"),
        (" a.b =1", 1),
    ],
)
def test_assignments_are_read_as_yaml(text, value):
    found = parse_assignments([text])
    assert found == {"a.b": value} and type(found["a.b"]) is type(value)


@pytest.mark.parametrize("text", ["a.b", "", "=3", "a.b=[1", "a.b=a: b: c"])
def test_broken_assignments_are_named(text):
    with pytest.raises(UserError, match="--set "):
        parse_assignments([text])


@given(st.text(max_size=30))
def test_no_assignment_crashes(text):
    try:
        assert len(parse_assignments([text])) == 1
    except UserError as error:
        assert "--set" in str(error)


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans())
def test_numbers_survive_an_assignment(value):
    assert parse_assignments([f"x={yaml.safe_dump(value).splitlines()[0]}"])["x"] == value


def test_later_assignments_win():
    assert parse_assignments(["a=1", "a=2"]) == {"a": 2}


def test_a_tracker_that_is_not_installed_is_refused_before_the_run(monkeypatch):
    monkeypatch.setattr(config, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install wandb"):
        load_profile("smoke", {"tracking": ["wandb"]})
    with pytest.raises(UserError, match="--set tracking"):
        load_profile("smoke", {"tracking": ["mlflow"]})
    monkeypatch.setattr(config, "find_spec", lambda name: object())
    assert load_profile("smoke", {"tracking": ["wandb", "tensorboard"]}).tracking == ["wandb", "tensorboard"]


def test_what_is_trained_with_every_seed_must_be_a_comparison_that_is_asked_for():
    with pytest.raises(UserError, match=r"smooth not in grpo\.comparisons"):
        load_profile("smoke", {"grpo.comparisons": ["chain"], "grpo.every_seed": ["chain", "smooth"]})
    load_profile("smoke", {"grpo.comparisons": ["smooth"], "grpo.every_seed": ["chain", "smooth"]})
    load_profile("smoke", {"grpo.comparisons": [], "grpo.every_seed": []})


def test_how_many_trainings_there_are_is_no_part_of_what_one_hangs_on():
    one = load_profile("smoke", {"grpo.comparisons": [], "grpo.seeds": 1}).grpo.of_one_training()
    asked = {"grpo.comparisons": ["smooth"], "grpo.every_seed": ["smooth"], "grpo.seeds": 3}
    assert load_profile("smoke", asked).grpo.of_one_training() == one
    assert load_profile("smoke", {"grpo.beta": 0.2}).grpo.of_one_training() != one
