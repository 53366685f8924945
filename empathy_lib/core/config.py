"""Profiles: every choice of a run, validated, in one place.

Knows: the fields of each stage's configuration, where a profile's YAML lies, how ``--set`` changes a field.
Does not know: what a stage does with its configuration.

The paper gives no hyper-parameters; every default below is our choice.
"""

from __future__ import annotations

import difflib
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from empathy_lib.core.errors import UserError
from empathy_lib.core.schema import describe

PROFILE_DIR = Path(__file__).parent / "profiles"
PROFILES = ("smoke", "laptop", "gpu", "paper")
WHEEL = "gemma-3-270m"
SYNTHETIC = "synthetic"
HUB = "hf:"  # before the id of a dataset on the hub


class _Config(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_assignment=True, allow_inf_nan=False)


class BaseModelConfig(_Config):
    source: str = Field(WHEEL, description=f"'{WHEEL}' (the pinned wheel), a local folder, or a hub id")
    revision: str | None = Field(None, description="hub revision (a commit hash pins the weights)")
    trim_vocabulary: bool = Field(
        True, description="keep only the embedding rows the data needs; lossless through byte fallback"
    )
    trim_min_count: int = Field(
        3, ge=1, description="keep a token seen at least this often in the training texts"
    )
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="weights and arithmetic of SFT; auto, as elsewhere: bfloat16 where the hardware "
        "multiplies it, else float32",
    )
    max_length: int = Field(
        640,
        ge=32,
        description="longest prompt + completion in tokens; longer training items are dropped and counted",
    )


class TeacherConfig(_Config):
    model: str = Field("", description="name the endpoint knows the teacher by")
    temperature: float = Field(0.3, ge=0, le=2)
    max_tokens: int = Field(
        1024, ge=64, description="longest reply; four layers need about 300 tokens, thinking models more"
    )
    concurrency: int = Field(4, ge=1, description="requests in flight at once")
    requests_per_minute: float = Field(
        0, ge=0, description="0: no limit; repeats after a transport fault are not counted"
    )
    attempts: int = Field(3, ge=1, description="replies asked for one pair before it is set aside")
    timeout_seconds: float = Field(120, gt=0, description="of one request")
    transport_retries: int = Field(
        5, ge=0, description="repeats of a request after a 429, a 5xx, a timeout or a lost connection"
    )
    pause_seconds: float = Field(
        1.0, ge=0, description="before an empty reply is asked for again; doubles each time"
    )
    input_price: float = Field(0, ge=0, description="per million input tokens, in any currency; 0: unknown")
    output_price: float = Field(
        0, ge=0, description="per million output tokens, in the same currency; 0: unknown"
    )
    max_failed_share: float = Field(
        0.2, ge=0, le=1, description="a run in which a larger share of pairs fails is refused"
    )


LayoutName = Literal["auto", "schema", "psyqa", "row", "smile", "cpsycoun", "emollm", "messages", "efaqa"]
LAYOUT_NAMES = get_args(LayoutName)


class DatasetConfig(_Config):
    data: str = Field(
        SYNTHETIC,
        description="'synthetic', the path of a file or folder, or 'hf:' and a hub id, ':config' behind it "
        "chooses a configuration; layouts: docs/own-data.md",
    )
    format: LayoutName = Field("auto", description="layout of the data; auto: told from each record's shape")
    licence: str = Field(
        "", description="of your own data, an SPDX id or a URL; carried into the card and croissant.json"
    )
    dialogue_turns: Literal["auto", "first", "joined"] = Field(
        "auto",
        description="item of a dialogue: first post and first reply, or posts joined up to the first full "
        "reply; auto: by layout",
    )
    max_rejected_share: float = Field(
        0.1, ge=0, le=1, description="a source of which a larger share of answers cannot be read is refused"
    )
    annotator: Literal["gold", "rules", "teacher"] = Field(
        "gold",
        description="where the CoE comes from; real data has no gold and falls back to rules; teacher: a "
        "language model's endpoint",
    )
    teacher: TeacherConfig = TeacherConfig()
    questions: int = Field(
        1500, ge=1, description="synthetic questions before noise, or the most of a real source"
    )
    answers_per_question: tuple[int, int] = Field(
        (3, 5), description="fewest and most synthetic answers a question"
    )
    answer_length: Literal["short", "long"] = Field(
        "short",
        description="synthetic posts of about 170 characters and answers of about 140, or, as PsyQA's, of "
        "about 200 and 600",
    )
    advertisement_rate: float = Field(
        0.05, ge=0, le=1, description="share of extra answers that are advertisements"
    )
    short_answer_rate: float = Field(
        0.05, ge=0, le=1, description="share of extra answers below min_answer_chars"
    )
    duplicate_rate: float = Field(
        0.05, ge=0, le=1, description="share of extra questions that repeat another, exactly or nearly"
    )
    min_answer_chars: int = Field(
        100, ge=0, description="shorter answers are dropped (paper, second-hand: 100)"
    )
    rules_off: list[str] = Field(
        [], description="cleaning rules to leave out, by name, e.g. '[traditional characters]'"
    )
    deidentify: Literal["auto", "on", "off"] = Field(
        "auto",
        description="personal data becomes typed placeholders; auto: in real sources, since the synthetic "
        "one holds nobody's",
    )
    near_duplicate_jaccard: float = Field(
        0.7, gt=0, le=1, description="character 5-gram Jaccard from which two posts are one"
    )
    held_out_causes: int = Field(
        0,
        ge=0,
        le=4,
        description="causes of each synthetic topic that no training post has; posts with them have emotion "
        "sentences and closings of their own too; 0: none",
    )
    validation_share: float = Field(0.08, gt=0, lt=1)
    test_share: float = Field(0.12, gt=0, lt=1)


class LoraSettings(_Config):
    r: int = Field(16, ge=1)
    alpha: int = Field(32, ge=1)
    dropout: float = Field(0.05, ge=0, lt=1)


class GenerationConfig(_Config):
    max_new_tokens: int = Field(320, ge=8)
    temperature: float = Field(
        0.8, ge=0, description="0 is greedy decoding (not for GRPO, which must explore)"
    )
    top_p: float = Field(0.95, gt=0, le=1)
    batch_size: int = Field(32, ge=1)


class SFTStageConfig(_Config):
    tuning: Literal["full", "lora"] = Field("full", description="full fine-tuning, or LoRA adapters (peft)")
    max_items: int = Field(1200, ge=1, description="training (question, answer) pairs")
    max_validation_items: int = Field(64, ge=1, description="validation pairs for the validation loss")
    max_questions_eval: int = Field(
        64, ge=1, description="held-out questions for well-formedness under greedy decoding"
    )
    epochs: float = Field(1.0, gt=0)
    max_steps: int = Field(-1, description="-1: as many as epochs ask for")
    learning_rate: float = Field(5e-5, gt=0)
    batch_size: int = Field(8, ge=1)
    gradient_accumulation: int = Field(1, ge=1)
    warmup_ratio: float = Field(0.05, ge=0, le=1)
    checkpoint_steps: int = Field(
        50, ge=1, description="steps between checkpoints, and between looks at the validation loss"
    )
    patience: int = Field(
        3,
        ge=1,
        description="looks at the validation loss without a better one after which training stops; the "
        "policy with the best one is kept",
    )
    lora: LoraSettings = LoraSettings()


class RewardConfig(_Config):
    max_triplets: int = Field(1600, ge=1)
    epochs: float = Field(1.0, gt=0)
    max_steps: int = Field(-1)
    learning_rate: float = Field(2e-5, gt=0)
    head_learning_rate: float = Field(
        1e-3, gt=0, description="of the answers' own linear layer, which starts as the identity"
    )
    batch_size: int = Field(16, ge=1)
    temperature: float = Field(0.05, gt=0, description="InfoNCE temperature")
    max_length: int = Field(192, ge=16, description="tokens of a question or answer that the encoder reads")
    same_topic_share: float = Field(
        0.25, ge=0, le=1, description="triplets whose negative answers another post of the same topic"
    )
    same_subtopic_share: float = Field(
        0.25,
        ge=0,
        le=1,
        description="triplets whose negative answers another post of the same sub-topic, with another cause, "
        "intent or belief",
    )
    copy_share: float = Field(
        0.3, ge=0, le=1, description="triplets whose negative copies the post (whole, partial, rephrased)"
    )
    hack_share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="triplets whose negative is a hack that copies nothing: over-long, keywords, "
        "contradicting",
    )
    checkpoint_steps: int = Field(50, ge=1)
    threshold_rule: Literal["quantile", "youden"] = Field(
        "quantile", description="how the threshold is chosen on validation"
    )
    threshold_quantile: float = Field(
        0.5, ge=0, le=1, description="quantile of the reference answers' cosines"
    )
    comparisons: list[Literal["no_hacks"]] = Field(
        [],
        description="further trainings that notebook 03 sets beside its own: without hacks among the "
        "negatives",
    )


class GRPOStageConfig(_Config):
    tuning: Literal["full", "lora"] = Field("full", description="full fine-tuning, or LoRA adapters (peft)")
    max_steps: int = Field(40, ge=1)
    prompts_per_step: int = Field(4, ge=1)
    num_generations: int = Field(8, ge=2, description="group size: completions per prompt")
    micro_batch: int = Field(
        16,
        ge=1,
        description="completions per forward and backward pass; divides prompts_per_step × num_generations",
    )
    learning_rate: float = Field(5e-6, gt=0)
    adam_epsilon: float = Field(
        1e-8,
        gt=0,
        description="of Adam; far above the gradients, as 1e-3, it leaves SGD with momentum, rate "
        "learning_rate / it",
    )
    beta: float = Field(0.02, ge=0, description="weight of the KL to the SFT policy")
    reward: Literal["threshold", "smooth"] = Field(
        "threshold", description="r_answer: 1 at or above the threshold, or the cosine itself"
    )
    copy_guard: float = Field(
        0.1, ge=0, le=1, description="r_answer is 0 from this copy rate on; 1 switches the guard off"
    )
    mask_copied_spans: bool = Field(True, description="score the answer with its copied spans taken out")
    chain_reward: bool = Field(
        False,
        # left out of a stage's request while off, so that runs from before it stay what they are
        exclude_if=lambda on: not on,
        description="beyond the paper: pay r_chain too, the share of the chain's labels that are right; on "
        "real posts, whether the chain keeps to the post",
    )
    checkpoint_steps: int = Field(10, ge=1)
    seeds: int = Field(
        1,
        ge=1,
        description="training runs from the one SFT policy, each with a seed of its own; notebook 04 "
        "averages them",
    )
    aggregation: Literal["sum", "decoupled"] = Field(
        "sum",
        description="advantage of the rewards' sum, or the sum of an advantage for each (GDPO, arXiv "
        "2601.05242)",
    )
    comparisons: list[
        Literal["no_sft", "no_coe", "best_of_n", "more_sft", "smooth", "decoupled", "chain"]
    ] = Field(
        [],
        description="what notebook 04 sets beside its own: GRPO from the base, GRPO without the chain, the "
        "best of num_generations samples of SFT by the reward, further SFT at equal compute, the cosine as "
        "reward, decoupled, r_chain paid too (with every seed)",
    )
    lora: LoraSettings = LoraSettings()


class MetricsConfig(_Config):
    max_questions: int = Field(100, ge=1, description="held-out questions each system answers")
    samples: int = Field(
        4, ge=1, description="completions a question that notebook 04 averages when it compares GRPO with SFT"
    )
    few_shot_examples: int = Field(2, ge=1)
    segment: Literal["word", "char"] = Field("word", description="jieba words, or characters")
    bootstrap: int = Field(1000, ge=10, description="resamples for the 95 % intervals")


class HumanEvalConfig(_Config):
    ratings: str = Field("", description="CSV of rater,item,dimension,system,rank; empty: simulated raters")
    raters: int = Field(20, ge=2)
    items: int = Field(100, ge=2)
    items_per_rater: int = Field(0, ge=0, description="posts that each rater judges; 0: all")
    systems_per_item: int = Field(0, ge=0, description="systems on a sheet, balanced over sheets; 0: all")
    attention_checks: int = Field(
        2, ge=0, description="check sheets for each rater; their posts are held back from the items"
    )
    show_chain: bool = Field(
        False, description="let raters see the chain of empathy; it tells which systems write one"
    )
    bootstrap: int = Field(1000, ge=10, description="resamples of raters and items")
    simulations: int = Field(
        200, ge=2, description="simulated studies for coverage, power and the paper's interval"
    )


class Profile(_Config):
    """All choices of a run."""

    name: str
    seed: int = Field(20250918, ge=0)
    tracking: list[Literal["tensorboard", "trackio", "wandb"]] = Field(
        [], description="where trainers report beside log.jsonl, which always is"
    )
    base_model: BaseModelConfig = BaseModelConfig()
    dataset: DatasetConfig = DatasetConfig()
    generation: GenerationConfig = GenerationConfig()
    sft: SFTStageConfig = SFTStageConfig()
    reward: RewardConfig = RewardConfig()
    grpo: GRPOStageConfig = GRPOStageConfig()
    metrics: MetricsConfig = MetricsConfig()
    human_eval: HumanEvalConfig = HumanEvalConfig()


def local_path(source: str) -> Path | None:
    """The path that ``source`` means, there or not; None where it is a name of something elsewhere, such as a
    hub id."""
    path = Path(source).expanduser()
    return path if path.exists() or source.startswith((".", "/", "~")) else None


def load_profile(name: str, overrides: dict[str, Any] | None = None) -> Profile:
    """Read a profile's YAML and change single fields.

    Args:
        name: one of ``smoke``, ``laptop``, ``gpu``, ``paper``.
        overrides: dotted field to value, e.g. ``{"grpo.max_steps": 20}``.

    Raises:
        UserError: unknown profile or field, or a value the field does not take.
    """
    path = PROFILE_DIR / f"{name}.yaml"
    if name not in PROFILES:
        raise UserError(f"unknown profile '{name}'; use one of {', '.join(PROFILES)}")
    try:
        # a file of comments only changes nothing
        fields = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        profile = Profile.model_validate({"name": name, **fields})
    except yaml.YAMLError as error:
        line = (
            error.problem_mark.line + 1
            if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark
            else 1
        )
        raise UserError(f"{path}, line {line}: not valid YAML; mend it or restore the file") from error
    except ValidationError as error:
        raise UserError(
            f"{path}: {describe(error)}; see empathy_lib/core/config.py for the fields"
        ) from error
    for key, value in (overrides or {}).items():
        _set(profile, key, value)
    _check_together(profile)
    return profile


def _check_together(profile: Profile) -> None:
    """Fields that are fine alone and wrong together, and packages that only some values need."""
    if missing := [name for name in profile.tracking if find_spec(name) is None]:
        raise UserError(
            f"tracking={profile.tracking}: package '{missing[0]}' is not installed; pip install "
            f"{missing[0]}, or leave it out"
        )
    fewest, most = profile.dataset.answers_per_question
    if fewest > most:
        raise UserError(
            f"dataset.answers_per_question=[{fewest}, {most}]: the first number must not exceed the second"
        )
    grpo, batch = profile.grpo, profile.grpo.prompts_per_step * profile.grpo.num_generations
    if batch % min(grpo.micro_batch, batch):
        raise UserError(
            f"grpo.micro_batch={grpo.micro_batch} must divide grpo.prompts_per_step × grpo.num_generations = "
            f"{batch}; "
            f"set grpo.micro_batch to a divisor of {batch}"
        )


def _set(profile: Profile, key: str, value: Any) -> None:
    *parents, field = key.split(".")
    target: BaseModel = profile
    for name in parents:
        target = getattr(target, name, None) if name in type(target).model_fields else None
        if not isinstance(target, BaseModel):
            break
    if (
        not isinstance(target, BaseModel)
        or field not in type(target).model_fields
        or isinstance(getattr(target, field), BaseModel)
    ):
        near = difflib.get_close_matches(key, field_names(), n=1)
        hint = (
            f"did you mean '{near[0]}'?"
            if near
            else "the fields are listed by: python -m empathy_lib profile smoke"
        )
        raise UserError(f"--set {key}: no such field; {hint}")
    try:
        setattr(target, field, value)
    except ValidationError as error:
        raise UserError(f"--set {key}={value}: {describe(error)}") from error


def field_names(model: type[BaseModel] = Profile, prefix: str = "") -> list[str]:
    """All dotted field names that ``--set`` takes."""
    names: list[str] = []
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            names += field_names(field.annotation, f"{prefix}{name}.")
        else:
            names.append(prefix + name)
    return names


def parse_assignments(assignments: list[str]) -> dict[str, Any]:
    """Turn ``["grpo.max_steps=20"]`` into ``{"grpo.max_steps": 20}``; values are read as YAML.

    Raises:
        UserError: an entry has no ``=`` or its value is no YAML.
    """
    overrides: dict[str, Any] = {}
    for text in assignments:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise UserError(f"--set {text}: write field=value, e.g. --set grpo.max_steps=20")
        try:
            overrides[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UserError(f"--set {text}: the value is not valid YAML; quote it") from error
        if re.fullmatch(r"\s*[-+]?\d+(\.\d*)?[eE][-+]?\d+\s*", value):  # YAML 1.1 reads 5e-6 as text
            overrides[key.strip()] = float(value)
    return overrides
