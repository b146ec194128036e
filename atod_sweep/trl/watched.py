"""The export's trainer, at the config's learning rate, with what its passes measured. Private methods of TRL's."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from atod_sweep.config.train import Train
from atod_sweep.training.loop.optimiser import rate
from atod_sweep.trl.rows import over_episodes, passes_of


def watched(scheduled: Any, config: Train, measured: dict[str, Any]) -> Any:
    """A subclass of the exported one that puts means over the tokens of a step into `measured`, empty at its start."""

    export: Any = sys.modules[scheduled.__module__]
    of_rows = export.token_weights

    class Watched(scheduled):
        """What is trained on is untouched."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.teacher: Any = None
            self.episode_of_row: list[int] = []  # as the rollout function told last
            self._buffered_inputs: Any = None
            self.said: dict[bool, Tensor] = {}  # log-probs of the pass, by whether they are the teacher's
            self.sums: dict[str, tuple[float, int]] = {}
            super().__init__(*args, **kwargs)

        def _prepare_inputs(self, generation_batch: Any) -> Any:
            passes = self.args.steps_per_generation
            if self._step % passes == 0 or self._buffered_inputs is None:
                self._buffered_inputs = passes_of(self._generate_and_score_completions(generation_batch), passes)
            return self._buffered_inputs[self._step % passes]

        def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
            found = super()._generate_and_score_completions(inputs)
            episode_B = torch.tensor(self.episode_of_row, device=found["advantages"].device)
            return {**found, "episode": episode_B, "advantages": found["advantages"][episode_B]}

        def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
            def factor(step: int) -> float:
                return rate(config.optimiser, step, config.steps) / config.optimiser.lr

            self.lr_scheduler = LambdaLR(optimizer or self.optimizer, factor)
            return self.lr_scheduler

        def _get_per_token_logps_and_entropies(self, model: Any, *args: Any, **kwargs: Any) -> Any:
            found = super()._get_per_token_logps_and_entropies(model, *args, **kwargs)
            self.said[model is self.teacher] = found[0].detach()
            return found

        def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Any:
            self.said.clear()
            export.token_weights = over_episodes(of_rows, inputs["episode"])  # which it looks up by this name
            loss = super()._compute_loss(model, inputs)
            mask, told = inputs["completion_mask"] * inputs["tool_mask"], self._metrics["train"]
            found = {"weight/applied_teacher": told["schedule/distill"], "rollout/token_entropy": told["entropy"]}
            means = {name: values[-1] for name, values in found.items()}
            others = {"kl/teacher": self.said.get(True), "kl/reference": inputs.get("ref_per_token_logps")}
            tokens = int(mask.sum())
            for name, theirs in others.items():
                if theirs is not None:
                    means[name] = float(((self.said[False] - theirs) * mask).sum()) / tokens
            for name, mean in means.items():
                total, count = self.sums[name] if name in measured else (0.0, 0)
                self.sums[name] = total + mean * tokens, count + tokens
                measured[name] = self.sums[name][0] / self.sums[name][1]
            return loss

    return Watched
