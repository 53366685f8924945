"""TRL's SFTTrainer within a budget of tokens a pass, and with the loss of every validation pair.

Knows: TRL's trainer, how a loss is taken in parts. Does not know: pairs, settings, metrics.

What TRL and transformers offer moves the batch itself: ``padding_free`` needs a kernel that CPUs lack,
``auto_find_batch_size`` waits for an out-of-memory error, and ``batch_rebalance`` fixes the number of passes
and pads more than batches grouped by length. Here batch, order and steps are those of the stock trainer, so a
killed run resumes exactly; only the sum over the batch's tokens is taken in parts.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from transformers.trainer_pt_utils import LengthGroupedSampler
from trl import SFTTrainer

from empathy_lib.models.passes import deal, passes
from empathy_lib.models.training import ItemLog

VALIDATION_TOKENS = 4096  # padded tokens of one pass without a gradient, where no budget is set


class PassesTrainer(SFTTrainer):
    """SFT within a budget of tokens.

    Args:
        tokens_per_pass: padded tokens of one forward and backward pass; 0: a batch is one pass.
        losses: gets, at every look at the validation loss, ``nll`` (nats) and ``tokens`` of each pair.
    """

    def __init__(self, *given: Any, tokens_per_pass: int = 0, losses: ItemLog, **named: Any):
        super().__init__(*given, callbacks=[*named.pop("callbacks", ()), losses], **named)
        self.tokens_per_pass, self.losses = tokens_per_pass, losses

    def training_step(self, model, inputs, num_items_in_batch=None) -> torch.Tensor:
        """The stock step on each part; every loss is a sum over ``num_items_in_batch``, so gradients add
        up."""
        # several processes would wait for each other's passes
        alone = self.accelerator.num_processes == 1
        if not (alone and self.tokens_per_pass and num_items_in_batch is not None):
            return super().training_step(model, inputs, num_items_in_batch)
        total = torch.zeros((), device=self.args.device)
        for part in passes(inputs, self.tokens_per_pass):
            total += super().training_step(model, part, num_items_in_batch)
        return total

    def _get_train_sampler(self, train_dataset=None):
        """Groups by length within the batches of all processes, as one process would."""
        sampler = super()._get_train_sampler(train_dataset)
        if isinstance(sampler, LengthGroupedSampler) and not self.accelerator.split_batches:
            sampler.batch_size *= self.accelerator.num_processes
        return sampler

    def evaluate(self, eval_dataset=None, ignore_keys=None, metric_key_prefix="eval") -> dict[str, float]:
        """Loss in nats per completion token of all validation pairs together; pairs of like length share a
        pass. Each of several processes computes it, so that all decide alike."""
        if eval_dataset is not None:
            return super().evaluate(eval_dataset, ignore_keys, metric_key_prefix)
        started, rows = time.monotonic(), list(self.eval_dataset)
        self.model.eval()
        nll, tokens = np.zeros(len(rows)), np.zeros(len(rows), dtype=int)
        budget = max(self.tokens_per_pass, VALIDATION_TOKENS)
        for part in deal([len(row["input_ids"]) for row in rows], budget):
            nll[part], tokens[part] = self._losses([rows[place] for place in part])
        self.losses.write(self.state.global_step, {"nll": nll.tolist(), "tokens": tokens.tolist()})
        seconds = time.monotonic() - started
        found = {"eval_loss": float(nll.sum() / tokens.sum()), "eval_runtime": round(seconds, 2)}
        self.log(found)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, found)
        return found

    @torch.no_grad()
    def _losses(self, rows: list[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
        """Of each row, the summed loss of its completion, and how many tokens that has."""
        inputs = self._prepare_inputs(self.data_collator(rows))
        with self.compute_loss_context_manager():
            outputs = self.model(**inputs, use_cache=False, fused_lm_head=True)
        nll = -outputs.log_probs.cpu().double().sum(dim=1)  # there, as Apple's device has no float64
        return nll.numpy(), outputs.label_mask.sum(dim=1).cpu().numpy()
