"""scheduled_loss.py in a Hugging Face Trainer and under accelerate: the weights of every step, also after resume."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from shim_modules import modules_of

pytestmark = pytest.mark.slow
ExportTo = Callable[..., tuple[Path, list[dict[str, Any]]]]
STEPS = 6
MASK = torch.tensor([[1, 1, 0, 1], [1, 0, 0, 0]])  # turns of 2 and 1 tokens; one turn of 1
TOKENS = torch.tensor([[0, 1, 2, 3], [0, 1, 2, 3]])


class Model(torch.nn.Module):
    """One number per token: its gradient under the loss below is the weight of the token."""

    def __init__(self) -> None:
        super().__init__()
        self.guess = torch.nn.Parameter(torch.zeros(4))

    def forward(self, tokens: torch.Tensor, **_: Any) -> torch.Tensor:
        return self.guess[tokens]


OBJECTIVE = {
    "kind": "hybrid",
    "distill_weight": {"kind": "cosine", "start": 1.0, "end": 0.0, "anneal_fraction": 0.67},
    "turns": {"kind": "thresholds", "early_turns": 1, "late_turns": 1},
}


def expected(rows: list[dict[str, Any]]) -> list[list[float]]:
    """Gradients of (distill - 0.5 reward) * guess, summed over the 4 generated tokens / 4."""
    found = []
    for row in rows:
        by_turn = [d - 0.5 * r for d, r in zip(row["distill"], row["reward"], strict=True)]
        found.append([2 * by_turn[0] / 4, by_turn[0] / 4, 0.0, by_turn[1] / 4])
    return found


def test_in_a_hugging_face_trainer(export_to: ExportTo, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    out, rows = export_to("pytorch", OBJECTIVE, steps=STEPS)

    def run(folder: Path, stop: int, resume: bool) -> list[list[float]]:
        gradients: list[list[float]] = []

        class Watch(transformers.TrainerCallback):
            def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
                gradients.append(model.guess.grad.tolist())

            def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                control.should_training_stop = state.global_step >= stop

        with modules_of(out, "scheduled_loss") as (shim,):

            class Trainer(transformers.Trainer):
                def compute_loss(self, model: Any, inputs: Any, *_: Any, **__: Any) -> Any:
                    terms = model(inputs["tokens"])
                    step, total = self.state.global_step, self.state.max_steps
                    return shim.scheduled_loss(step, total, 3, inputs["mask"], terms, -0.5 * terms)

            args = transformers.TrainingArguments(
                output_dir=str(folder), max_steps=STEPS, save_steps=3, per_device_train_batch_size=2, use_cpu=True,
                report_to="none", remove_unused_columns=False, max_grad_norm=0.0, disable_tqdm=True,
            )  # fmt: skip
            data = [{"tokens": TOKENS[i % 2], "mask": MASK[i % 2]} for i in range(2 * STEPS)]
            trainer = Trainer(Model(), args, train_dataset=data, callbacks=[Watch()])
            trainer._get_train_sampler = lambda *_: torch.utils.data.SequentialSampler(data)
            trainer.train(resume_from_checkpoint=resume)
        return gradients

    first, second = run(tmp_path / "run", 3, False), run(tmp_path / "run", STEPS, True)
    assert (len(first), len(second)) == (3, 3)
    assert torch.allclose(torch.tensor(first + second), torch.tensor(expected(rows)), atol=1e-6)


def test_under_accelerate(export_to: ExportTo) -> None:
    accelerate = pytest.importorskip("accelerate", reason="accelerate is not installed")
    out, rows = export_to("pytorch", OBJECTIVE, steps=STEPS)
    accelerator = accelerate.Accelerator(cpu=True)
    model = accelerator.prepare(Model())
    optimiser = accelerator.prepare(torch.optim.SGD(model.parameters(), lr=0.1))
    found = []
    with modules_of(out, "scheduled_loss") as (shim,):
        for step in range(STEPS):
            terms = model(TOKENS)
            optimiser.zero_grad()
            accelerator.backward(shim.scheduled_loss(step, STEPS, 3, MASK, terms, -0.5 * terms))
            found.append(model.guess.grad.tolist())
            optimiser.step()
    assert torch.allclose(torch.tensor(found), torch.tensor(expected(rows)), atol=1e-6)
