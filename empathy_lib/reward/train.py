"""The reward model: a question/answer encoder trained contrastively, and its threshold.

Knows: training over sentence-transformers, the cosine of a (question, answer) pair, how the threshold is
chosen. Does not know: how triplets are drawn (``triplets``) or how the policy uses the reward (``grpo``).
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Router, Transformer
from sklearn.metrics import roc_auc_score, roc_curve
from transformers import PrinterCallback

from empathy_lib.core.config import RewardConfig
from empathy_lib.core.copying import has_letters
from empathy_lib.core.files import read_json, write_json
from empathy_lib.core.run import Run
from empathy_lib.models import processes
from empathy_lib.models.base import attention_name, device, working_dtype
from empathy_lib.models.lengths import reading_length
from empathy_lib.models.memory import release_after, releases_memory
from empathy_lib.models.training import (
    CompileParts,
    JsonlLog,
    SaveByTime,
    adamw,
    finish,
    last_checkpoint,
    planned_steps,
    read_log,
    trainer_arguments,
    warmup_steps,
)
from empathy_lib.reward.batches import ByLengthLoss, TripletTrainer

# One encoder reads both sides; each text is marked with its side, and answers pass a linear layer of their
# own (see load_encoder). A sentence encoder brings marks of its own.
PROMPTS = {"query": "求助帖：", "document": "回复："}
SIDES = {"anchor": "query", "positive": "document", "negative": "document"}


def load_encoder(folder: Path | str, max_length: int | Literal["auto"]) -> SentenceTransformer:
    """A mean-pooled, unit-length encoder of posts and answers, from a decoder's or a trained encoder's
    folder.

    Posts and answers share what reads them; answers then pass one linear layer, which starts as the identity.
    Without it a copied post lies where the post lies, so no amount of copies among the negatives teaches the
    encoder to push them away.

    Of a sentence encoder (``models.e5``) the word embeddings are frozen: training would meet a few in a
    hundred of its 250,037 rows.

    Args:
        max_length: tokens that an untrained encoder is to read; a trained one knows its own.
    """
    where, dtype, prefixes = str(device()), working_dtype(), None
    model_kwargs = {"dtype": dtype, "attn_implementation": attention_name()}
    if (Path(folder) / "config.json").is_file():
        prefixes = read_json(Path(folder) / "config.json").get("prefixes")
    if (Path(folder) / "modules.json").is_file():
        return SentenceTransformer(str(folder), device=where, model_kwargs=model_kwargs)
    transformer = Transformer(
        str(folder),
        max_seq_length=max_length,
        model_kwargs=model_kwargs,
        processor_kwargs={"padding_side": "right"},
    )
    size = transformer.get_embedding_dimension()
    nothing, identity = torch.zeros(size, dtype=dtype), torch.nn.Identity()
    own = Dense(
        size,
        size,
        activation_function=identity,
        init_weight=nothing.repeat(size, 1),
        init_bias=nothing,
        use_residual=True,
    )
    sides = Router.for_query_document(query_modules=[Normalize()], document_modules=[own, Normalize()])
    if prefixes:
        transformer.model.get_input_embeddings().requires_grad_(False)
    modules = [transformer, Pooling(size, pooling_mode="mean"), sides]
    return SentenceTransformer(modules=modules, device=where, prompts=prefixes or PROMPTS)


def prompts_of(encoder: SentenceTransformer) -> dict[str, str]:
    """What stands before a text of each side; encoders saved without prompts have ours."""
    return {side: encoder.prompts.get(side) or prompt for side, prompt in PROMPTS.items()}


@releases_memory
def train_reward(
    base: Path,
    triplets: list[dict],
    validation: list[dict],
    folder: Path,
    config: RewardConfig,
    seed: int,
    tracking: Sequence[str] = (),
) -> list[dict]:
    """Train the encoder with InfoNCE: the positive against its own negative and all other answers of the
    batch.

    Args:
        base: folder of a prepared base.
        triplets: of :func:`empathy_lib.reward.triplets.build_triplets`; ``validation`` likewise.
        folder: gets ``encoder/``, ``log.jsonl`` and ``lengths.json`` (how much of a text is read); while
            training also ``checkpoints/``, from which a killed run resumes.
        tracking: further trackers, as the profile's ``tracking``.

    Returns:
        The log records.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log.jsonl"
    if (folder / "encoder" / "done").is_file():
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        return read_log(log)
    encoder = load_encoder(base, config.max_length_cap)
    posts, replies = [t["anchor"] for t in triplets], [t["positive"] for t in triplets]
    room = reading_length(config.max_length, config.max_length_cap, posts, replies, encoder.tokenizer)
    if processes.is_first():
        print(room)
        write_json(folder / "lengths.json", {"texts": room.record()})
    encoder.max_seq_length = room.tokens
    # examples for a model card, lest the library draws some: its progress bar is a red box in a notebook
    encoder.model_card_data.widget = [{"text": ""}]
    own = processes.share(config.batch_size, "reward.batch_size")
    resumed = last_checkpoint(folder / "checkpoints")
    planned = planned_steps(len(triplets), config.batch_size, 1, config.epochs, config.max_steps)
    arguments = SentenceTransformerTrainingArguments(
        **trainer_arguments(folder / "checkpoints", seed, tracking, checkpointed=False),
        num_train_epochs=config.epochs,
        max_steps=config.max_steps,
        learning_rate=config.learning_rate,
        warmup_steps=warmup_steps(planned, config.warmup_ratio, config.warmup_steps),
        per_device_train_batch_size=own,
        per_device_eval_batch_size=own,
        logging_steps=5,
        logging_first_step=True,
        prompts={column: prompts_of(encoder)[side] for column, side in SIDES.items()},
        router_mapping=SIDES,
        eval_strategy="steps",
        eval_on_start=not resumed,  # step 0: the base's own loss
        eval_steps=config.checkpoint_steps,
        save_steps=config.checkpoint_steps,
    )
    decoder, _, sides = encoder
    rates = [
        {"params": list(decoder.parameters())},
        {"params": list(sides.parameters()), "lr": config.head_learning_rate},
    ]
    trainer = TripletTrainer(
        model=encoder,
        args=arguments,
        train_dataset=Dataset.from_list([{k: t[k] for k in SIDES} for t in triplets]),
        eval_dataset=Dataset.from_list([{k: t[k] for k in SIDES} for t in validation]),
        loss=ByLengthLoss(encoder, scale=1 / config.temperature, tokens_per_pass=config.tokens_per_pass),
        optimizers=(adamw(rates, lr=config.learning_rate), None),
        callbacks=[JsonlLog(log), SaveByTime(), CompileParts()],
    )
    trainer.know([*triplets, *validation], config.near_batches)
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=resumed)
    save = lambda target: encoder.to(torch.bfloat16).save(str(target), create_model_card=False)  # noqa: E731
    finish(save, base, folder, "encoder")
    return read_log(log)


@dataclass
class RewardModel:
    """A trained encoder with the threshold chosen on validation."""

    encoder: SentenceTransformer
    threshold: float
    # posts are scored against many answers
    known: dict[tuple[str, str], np.ndarray] = field(default_factory=dict, repr=False)

    def identity(self) -> list[str | float]:
        """What a request that pays by this model is told: its weights, as a hash, and its threshold."""
        total = hashlib.sha256()
        for name, tensor in sorted(self.encoder.state_dict().items()):
            total.update(name.encode())
            total.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return [total.hexdigest(), self.threshold]

    def score(self, questions: list[str], answers: list[str]) -> np.ndarray:
        """Cosine of each question and answer, shape ``(n,)``, in [-1, 1]; an answer without a
        letter scores -1."""
        if not questions:
            return np.zeros(0)
        posts = self.encode(questions, "query")
        replies = self.encode([a or "。" for a in answers], "document")
        cosines = np.einsum("nd,nd->n", posts, replies)
        return np.where([has_letters(a) for a in answers], np.clip(cosines, -1, 1), -1.0)

    def encode(self, texts: list[str], side: str) -> np.ndarray:
        """Unit vectors of texts read as posts (``query``) or answers (``document``), shape ``(n, hidden
        size)``; each text once."""
        new = [text for text in dict.fromkeys(texts) if (side, text) not in self.known]
        if new:
            how = {
                "prompt": prompts_of(self.encoder)[side],
                "task": side,
                # on a CPU 8 are quicker than 32, in a third of their memory
                "batch_size": 8 if self.encoder.device.type == "cpu" else 32,
                "convert_to_tensor": True,
                "show_progress_bar": False,
            }
            unit = (
                torch.nn.functional.normalize(self.encoder.encode(new, **how).float(), dim=-1).cpu().numpy()
            )
            self.known.update(zip(((side, text) for text in new), unit, strict=True))
            release_after(len(new))
        return np.stack([self.known[side, text] for text in texts])


def score_pairs(reward: RewardModel, pairs: list[dict]) -> pd.DataFrame:
    """Score evaluation pairs: columns ``id``, ``kind``, ``positive`` and ``negative`` (cosines)."""
    questions = [p["anchor"] for p in pairs]
    unique = list(dict.fromkeys((p["anchor"], p["positive"]) for p in pairs))
    positive = dict(zip(unique, reward.score([q for q, _ in unique], [a for _, a in unique]), strict=True))
    return pd.DataFrame(
        {
            "id": [p["id"] for p in pairs],
            "kind": [p["kind"] for p in pairs],
            "positive": [positive[(p["anchor"], p["positive"])] for p in pairs],
            "negative": reward.score(questions, [p["negative"] for p in pairs]),
        }
    )


def choose_threshold(scores: pd.DataFrame, rule: str, quantile: float) -> float:
    """Choose the cosine from which an answer counts as good, on validation scores of :func:`score_pairs`.

    ``quantile``: the given quantile of the positives' cosines, so that the bar stands where human answers
    are. ``youden``: the cosine that maximises true-positive rate minus false-positive rate. The paper's rule
    is not known.
    """
    if rule == "quantile":
        return float(scores["positive"].quantile(quantile))
    labels, cosines = labelled(scores)
    false_rate, true_rate, cuts = roc_curve(labels, cosines)
    return float(cuts[np.argmax(true_rate - false_rate)])


def labelled(scores: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """``(labels, cosines)`` of positives (1) and negatives (0), as scikit-learn's curves take them."""
    labels = np.repeat([1, 0], len(scores))
    return labels, np.concatenate([scores["positive"], scores["negative"]])


def accuracy_by_question(scores: pd.DataFrame, kind: str) -> pd.Series:
    """Pairwise accuracy of each question, for intervals over questions: two references of one post are not
    independent."""
    part = scores[scores["kind"] == kind].dropna()  # a judge that is not available has no scores
    return (part["positive"] > part["negative"]).groupby(part["id"]).mean()


def ranking_summary(scores: pd.DataFrame) -> pd.DataFrame:
    """Per kind of negative: share of pairs in which the positive scores higher, and the ROC's area."""
    rows = {}
    for kind, part in scores.groupby("kind", sort=False):
        rows[kind] = {
            "pairwise_accuracy": (part["positive"] > part["negative"]).mean(),
            "auc": roc_auc_score(*labelled(part)),
            "n": len(part),
        }
    rows["all"] = {
        "pairwise_accuracy": (scores["positive"] > scores["negative"]).mean(),
        "auc": roc_auc_score(*labelled(scores)),
        "n": len(scores),
    }
    return pd.DataFrame(rows).T


def save_threshold(folder: Path, threshold: float, rule: str) -> None:
    """Keep the threshold beside the encoder."""
    write_json(folder / "threshold.json", {"threshold": threshold, "rule": rule})


def load_reward(run: Run, stage: str = "03_reward") -> RewardModel:
    """The reward model that notebook 03 left in ``run``, or its independent judge (``03_judge``)."""
    folder = run.stage(stage)
    encoder = load_encoder(folder / "encoder", run.profile.reward.max_length)
    return RewardModel(encoder, read_json(folder / "threshold.json")["threshold"])
