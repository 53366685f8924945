"""Settings of the data: where posts come from, how they are cleaned, split and annotated.

Knows: the fields of ``dataset`` and of ``dataset.teacher``. Does not know: any other section,
or how a profile is read.

The paper gives no hyper-parameters; every default below is our choice.
"""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

SYNTHETIC = "synthetic"
HUB = "hf:"  # before the id of a dataset on the hub


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_assignment=True, allow_inf_nan=False)


class TeacherConfig(Section):
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


class DatasetConfig(Section):
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
    crisis: Literal["set_aside", "keep"] = Field(
        "set_aside",
        description="posts of a real source that speak of danger to life: into crisis.jsonl, out of reach of "
        "training, teacher, judge and study, or kept, with a tag",
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
