"""TRL: GRPO with a teacher, whose weight and the reward's follow schedule.py at every optimiser step.

    trainer = ScheduledGRPOTrainer(teacher=teacher, model=..., args=..., reward_funcs=..., train_dataset=...)

The step is `trainer.state.global_step`, which a resumed run restores. One optimiser step per batch of rollouts
(`num_iterations: 1`, `steps_per_generation` = `gradient_accumulation_steps`) is one step of the schedule.
"""

from __future__ import annotations

from typing import Any

import schedule  # type: ignore[import-not-found,unused-ignore]
import torch
from token_weights import is_taught, token_weights  # type: ignore[import-not-found,unused-ignore]
from trl import GRPOTrainer
from trl.trainer.grpo_trainer import add_fused_lm_head

SIGNAL: dict[str, Any] = {
    'temperature': 1.0,
    'top_k': None,
    'kind': 'forward_kl',
}
TINY = 1e-8  # a KL coefficient of exactly 0 would take the reference model out of TRL's code path


class ScheduledGRPOTrainer(GRPOTrainer):
    """GRPO on reward * A + distill * (log p_teacher - log p_student), or with a divergence from the teacher added."""

    def __init__(self, *args: Any, teacher: Any, horizon: int | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        add_fused_lm_head(teacher, temperature=self.temperature)
        self.teacher = self.accelerator.prepare_model(teacher, evaluation_mode=True)
        self.beta: float
        self.horizon = horizon or schedule.SPEC["horizon"]

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        step, total = self.state.global_step, self.state.max_steps
        mask = inputs["completion_mask"] * inputs.get("tool_mask", 1)
        student: Any = None
        teacher: Any = None
        taught = is_taught(step, total, self.horizon)
        if taught:
            student = inputs.get("old_per_token_logps")
            student = self._logp(model, inputs) if student is None else student
            teacher = self._logp(self.teacher, inputs)
        distill, reward = token_weights(step, mask, total, self.horizon, student, teacher)
        if self.beta:
            self.beta = max(schedule.weights(step, 0, total, self.horizon)["beta_kl"], TINY)
        advantages = reward * inputs["advantages"].view(len(mask), -1)
        if taught and SIGNAL["kind"] == "sampled_reverse_kl":
            advantages = advantages + distill * (teacher - student)
        for name, weight in (("distill", distill), ("reward", reward)):
            self._metrics["train"][f"schedule/{name}"].append((weight.sum() / mask.sum()).item())
        loss = super()._compute_loss(model, {**inputs, "advantages": advantages})
        if taught and SIGNAL["kind"] != "sampled_reverse_kl":
            items = inputs["num_items_in_batch"].clamp(min=1.0) / self.accelerator.num_processes
            share = self.current_gradient_accumulation_steps / self.args.steps_per_generation
            loss = loss + (distill * self._divergence(model, inputs)).sum() / (items * share)
        return loss

    def _sequences(self, inputs: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
        return ids, torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)

    @torch.no_grad()
    def _logp(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        ids, attention = self._sequences(inputs)
        return self._get_per_token_logps_and_entropies(model, ids, attention, inputs["completion_ids"].size(1))[0]

    def _divergence(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        ids, attention = self._sequences(inputs)
        keep = inputs["completion_ids"].size(1)

        def logp(network: Any) -> torch.Tensor:
            logits = network(input_ids=ids, attention_mask=attention).logits[:, -keep - 1 : -1]
            return (logits.float() / SIGNAL["temperature"]).log_softmax(-1)

        with torch.no_grad():
            teacher = logp(self.teacher)
        student = logp(model)

        def kl(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
            return (p.exp() * (p - q)).sum(-1)

        def jsd() -> torch.Tensor:
            beta = torch.tensor(SIGNAL["beta"])
            mixture = torch.logaddexp(teacher + beta.log(), student + (1 - beta).log())
            return beta * kl(teacher, mixture) + (1 - beta) * kl(student, mixture)

        kinds = {"forward_kl": lambda: kl(teacher, student), "reverse_kl": lambda: kl(student, teacher), "jsd": jsd}
        return kinds[SIGNAL["kind"]]()
