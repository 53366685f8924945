"""TRL's GRPOTrainer, with each group's prompt read once instead of once for every completion.

Knows: where TRL computes log-probabilities and how it deals rollouts to micro-batches. Does not know:
rewards, models.

The completions of a group share their prompt, at our lengths a third to a half of all tokens. Its keys and
values are computed once and lent to all of them; gradients flow back through them, so loss and gradient are
those of the stock trainer (up to rounding). Completions of like length share a pass, and what is padding in
all of them is not computed.
"""

from __future__ import annotations

from typing import Any

import torch
from trl import GRPOTrainer
from trl.trainer.utils import split_tensor_dict

from empathy_lib.models.decoding import positions, read_prompts
from empathy_lib.models.memory import releases_memory
from empathy_lib.models.processes import average_gradients


class SharedPromptGRPOTrainer(GRPOTrainer):
    """GRPO for text models. Where activations are checkpointed, which allows no cache, it is the stock
    trainer."""

    def _prepare_inputs(self, generation_batch: dict[str, Any]) -> dict[str, Any]:
        """As TRL's, with completions of the same prompt side by side again, which TRL shuffles over the
        micro-batches of a step."""
        before = self._buffered_inputs
        inputs = super()._prepare_inputs(generation_batch)
        if (
            self._buffered_inputs is None
            or self._buffered_inputs is before
            or self.args.steps_per_generation == 1
        ):
            return inputs
        self._buffered_inputs = _regrouped(self._buffered_inputs)
        return self._buffered_inputs[self._step % self.args.steps_per_generation]

    @releases_memory
    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """TRL's; what rollouts and passes free is of other sizes, so neither can use what the other left."""
        return super()._generate_and_score_completions(inputs)

    def training_step(self, model, inputs, num_items_in_batch=None) -> torch.Tensor:
        """TRL's; of several processes the gradients are averaged once a step, as a prompt that is read apart
        passes DistributedDataParallel by."""
        loss = super().training_step(model, inputs, num_items_in_batch)
        if self.accelerator.num_processes > 1 and self.accelerator.sync_gradients:
            average_gradients(self.accelerator.unwrap_model(model).parameters())
        return loss

    def _get_per_token_logps_and_entropies(
        self,
        model,
        input_ids,
        attention_mask,
        logits_to_keep,
        batch_size=None,
        compute_entropy=False,
        compute_aux_loss=False,
        **extra,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """Log-probabilities and entropies of the last ``logits_to_keep`` tokens, shape ``(rows,
        logits_to_keep)``."""
        if (
            self.model.is_gradient_checkpointing
            or compute_aux_loss
            or any(value is not None for value in extra.values())
        ):
            return super()._get_per_token_logps_and_entropies(
                model,
                input_ids,
                attention_mask,
                logits_to_keep,
                batch_size,
                compute_entropy,
                compute_aux_loss,
                **extra,
            )
        model = self.accelerator.unwrap_model(model)
        size = batch_size or len(input_ids)
        parts = zip(input_ids.split(size), attention_mask.split(size), strict=True)
        made = [self._score(model, ids, mask, logits_to_keep) for ids, mask in parts]
        logps, entropies = zip(*made, strict=True)
        return torch.cat(logps), torch.cat(entropies) if compute_entropy else None, None

    def _score(self, model, input_ids, attention_mask, logits_to_keep):
        """Log-probabilities and entropies of one part of the rows; entropies are None for the reference
        model."""
        # before the first and after the last all rows are padding
        used = attention_mask.any(dim=0).nonzero()[[0, -1], 0]
        first, last = int(used[0]), max(int(used[1]), input_ids.shape[1] - logits_to_keep)
        prompt, unread = input_ids.shape[1] - logits_to_keep - first, input_ids.shape[1] - 1 - last
        input_ids, attention_mask = input_ids[:, first : last + 1], attention_mask[:, first : last + 1]
        cache = read_prompts(model, input_ids[:, :prompt], attention_mask[:, :prompt])
        ids = input_ids[:, prompt - 1 :]  # the prompt's last token predicts the completion's first
        with self.accelerator.autocast():
            outputs = model(
                input_ids=ids,
                attention_mask=attention_mask,
                position_ids=positions(attention_mask)[:, prompt - 1 :],
                past_key_values=cache,
                labels=ids.masked_fill(attention_mask[:, prompt - 1 :] == 0, -100),
                fused_lm_head=True,
            )
        pad = torch.nn.functional.pad
        return pad(outputs.log_probs, (0, unread)), None if outputs.entropy is None else pad(
            outputs.entropy, (0, unread)
        )


def _regrouped(batches: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The micro-batches of a step, dealt again so that rows of one prompt follow each other, the shorter
    completions first."""
    joined = {
        key: torch.cat([batch[key] for batch in batches])
        if isinstance(value, torch.Tensor) and value.ndim
        else value
        for key, value in batches[0].items()
    }
    prompts = torch.cat([joined["prompt_mask"], joined["prompt_ids"]], dim=1)
    group, length = torch.unique(prompts, dim=0, return_inverse=True)[1], joined["completion_mask"].sum(dim=1)
    order = (group * (length.max() + 1) + length).argsort(stable=True)
    ordered = {
        key: value[order] if isinstance(value, torch.Tensor) and value.ndim else value
        for key, value in joined.items()
    }
    return split_tensor_dict(ordered, len(batches))
