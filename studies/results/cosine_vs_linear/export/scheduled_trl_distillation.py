"""TRL: on-policy distillation in which every turn's divergence from the teacher weighs what schedule.py says.

    trainer = ScheduledDistillationTrainer(teacher_model=teacher, model=..., args=..., train_dataset=...)

The step is `trainer.state.global_step`, which a resumed run restores. There is no reward here.
"""

from __future__ import annotations

from typing import Any

import schedule  # type: ignore[import-not-found,unused-ignore]
import torch
from token_weights import turns_of  # type: ignore[import-not-found,unused-ignore]
from trl import DistillationTrainer

SIGNAL: dict[str, Any] = {
    'temperature': 1.0,
    'top_k': None,
    'kind': 'forward_kl',
}


class ScheduledDistillationTrainer(DistillationTrainer):
    """Minimises the sum of distill * divergence over the generated tokens, divided by their number."""

    def __init__(self, *args: Any, horizon: int | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.temperature: float = SIGNAL.get("temperature", 1.0)  # the divergence's; the sampler has its own by now
        self.horizon = horizon or schedule.SPEC["horizon"]
        self._hidden: dict[bool, torch.Tensor] | None = None
        self._taught = True

    def _weights(self) -> list[dict[str, float]]:
        step, total = self.state.global_step, self.state.max_steps
        return [schedule.weights(step, turn, total, self.horizon) for turn in range(self.horizon)]

    def _generate_single_turn(self, *args: Any, **kwargs: Any) -> Any:
        sampler = self.vllm_generation if self.use_vllm else self.generation_config
        sampler.temperature = self._weights()[0]["temperature"]
        return super()._generate_single_turn(*args, **kwargs)

    def _compute_loss(self, unwrapped_student: Any, inputs: dict[str, Any], num_items_in_batch: Any) -> Any:
        """TRL's loss of the tokens of each weight, times that weight; the models read the batch once."""
        if not self.model.training:
            return super()._compute_loss(unwrapped_student, inputs, num_items_in_batch)
        by_turn = [row["distill"] for row in self._weights()]
        mask_BT = inputs["completion_mask"] * inputs.get("tool_mask", 1)
        turn_BT = turns_of(mask_BT).clamp(max=self.horizon - 1)
        distill_BT = torch.tensor(by_turn, device=mask_BT.device)[turn_BT] * mask_BT
        self._metrics["train"]["schedule/distill"].append((distill_BT.sum() / mask_BT.sum().clamp(min=1)).item())
        self._hidden, self._taught = {}, any(by_turn)
        loss, entropy, count = 0.0, 0.0, 0
        for weight in sorted(set(by_turn)):  # the same ones on every process, as collective operations need
            chosen_K = torch.tensor([value == weight for value in by_turn], device=mask_BT.device)
            only = {**inputs, "tool_mask": mask_BT * chosen_K[turn_BT]}
            term, *measured = super()._compute_loss(unwrapped_student, only, num_items_in_batch)
            loss, entropy, count = loss + weight * term, entropy + measured[0], count + measured[1]
        self._hidden = None
        return loss, entropy, count

    def _get_last_hidden_state(self, model: Any, ids: Any, attention: Any, keep: int, **kwargs: Any) -> torch.Tensor:
        if self._hidden is None:
            return super()._get_last_hidden_state(model, ids, attention, keep, **kwargs)
        is_student = torch.is_grad_enabled()
        if is_student not in self._hidden:
            if is_student or self._taught:
                found = super()._get_last_hidden_state(model, ids, attention, keep, **kwargs)
            else:  # its divergence weighs 0
                width = model.config.get_text_config().hidden_size
                found = torch.zeros(len(ids), keep, width, device=model.device, dtype=model.dtype)
            self._hidden[is_student] = found
        return self._hidden[is_student]
