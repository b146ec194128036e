"""TRL's own DistillationTrainer under the exported schedule, on a tiny model on the CPU.

Needs `trl==1.16.0` and `datasets`; without them the tests are skipped.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from shim_modules import modules_of
from tiny_trl import PROMPTS, require_trl, tiny, with_tools

from atod_sweep.objective.signals.forward_kl import forward_kl
from atod_sweep.objective.signals.jsd import jsd
from atod_sweep.objective.signals.reverse_kl import reverse_kl

pytestmark = pytest.mark.slow
ExportTo = Callable[..., tuple[Path, list[dict[str, Any]]]]
Divergence = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
STEPS = 6
TURNS = {"kind": "thresholds", "early_turns": 1, "late_turns": 1}
OPD = {"kind": "hybrid", "distill_weight": 1.0, "reward_weight": 0.0}


def run(
    out: Path, folder: Path, rows: list[dict[str, Any]], divergence: Divergence, stop: int, resume: bool = False
) -> list[dict[str, Any]]:
    """Train up to step `stop` of STEPS; of every step, loss and gradient beside those of the table, and the logs.

    Those of the table come from both models' whole logits and `divergence`, with nothing of TRL's but its batch.
    """
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import DistillationConfig, DistillationTrainer, TrlParser

    words = ["--config", str(out / "trl_distillation_config.yaml"), "--output_dir", str(folder / "run")]
    words += ["--per_device_train_batch_size", "4", "--gradient_accumulation_steps", "2", "--max_completion_length"]
    words += ["8", "--save_steps", "3", "--logging_steps", "1", "--report_to", "none", "--learning_rate", "0.01"]
    words += ["--use_cpu", "true", "--bf16", "false"]
    (args,) = TrlParser((DistillationConfig,)).parse_args_and_config(words)
    seen: list[dict[str, Any]] = []
    calls: list[int] = []

    class Stop(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            control.should_training_stop = state.global_step >= stop

    with modules_of(out, "scheduled_trl_distillation") as (shim,):

        class Trainer(shim.ScheduledDistillationTrainer):
            def _generate_and_score_completions(self, inputs: Any) -> Any:
                return with_tools(super()._generate_and_score_completions(inputs))

            def _compute_loss(self, model: Any, inputs: Any, items: Any) -> Any:
                calls.clear()
                found = super()._compute_loss(model, inputs, items)
                row = {"step": self.state.global_step, "teacher_calls": len(calls), "loss": found[0].item()}
                parameters = list(model.parameters())
                row["grad"] = torch.autograd.grad(found[0], parameters, retain_graph=True)
                own = DistillationTrainer._compute_loss(self, model, inputs, items)
                row.update(own=own[0].item(), entropy=found[1].item(), own_entropy=own[1].item())
                row.update(count=int(found[2]), own_count=int(own[2]))
                weights, mask = self.weights_of_table(inputs)
                expected = (weights * self.divergence(model, inputs))[mask].sum() / items
                row.update(expected=expected.item(), expected_grad=torch.autograd.grad(expected, parameters))
                row.update(mean=weights[mask].mean().item(), temperature=self.generation_config.temperature)
                seen.append(row)
                return found

            def weights_of_table(self, inputs: Any) -> tuple[torch.Tensor, torch.Tensor]:
                mask = (inputs["completion_mask"] * inputs["tool_mask"]).bool()
                by_turn = rows[self.state.global_step]["distill"]
                turn = (torch.arange(mask.size(1)) // 3).clamp(max=len(by_turn) - 1)
                return torch.tensor(by_turn)[turn].expand_as(mask), mask

            def divergence(self, model: Any, inputs: Any) -> torch.Tensor:
                ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
                attention = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
                keep = inputs["completion_ids"].size(1)
                student, teacher = (
                    (network(input_ids=ids, attention_mask=attention).logits[:, -keep - 1 : -1] / self.temperature)
                    .log_softmax(-1)
                    .flatten(0, 1)
                    for network in (model, self.teacher_model)
                )
                return divergence(student, teacher.detach()).view(-1, keep)

        teacher = AutoModelForCausalLM.from_pretrained(tiny(folder / "teacher", 1))
        teacher.lm_head.weight.data *= 20  # a teacher that is sure, for divergences near 1 nat
        teacher.model.register_forward_hook(lambda *_: calls.append(1))
        student = tiny(folder / "student", 0)
        trainer = Trainer(
            model=str(student),
            teacher_model=teacher,
            args=args,
            train_dataset=Dataset.from_dict({"prompt": PROMPTS}),
            processing_class=AutoTokenizer.from_pretrained(student),
            callbacks=[Stop()],
        )
        assert trainer.horizon == len(rows[0]["distill"])
        trainer.train(resume_from_checkpoint=resume)
    logs = [row for row in trainer.state.log_history if "schedule/distill" in row]
    return [{**row, "log": logs[row["step"]]} for row in seen]


def check(found: list[dict[str, Any]], rows: list[dict[str, Any]]) -> None:
    """Loss and gradient are the table's, on every batch; TRL's own measurements are of all tokens."""
    for row in found:
        assert row["loss"] == pytest.approx(row["expected"], rel=1e-5, abs=1e-6)
        for ours, expected in zip(row["grad"], row["expected_grad"], strict=True):
            assert torch.allclose(ours, expected, rtol=1e-4, atol=1e-6)
        assert row["entropy"] == pytest.approx(row["own_entropy"], abs=1e-4)
        assert row["count"] == row["own_count"]
        assert row["temperature"] == rows[row["step"]]["temperature"]
        of_step = [other["mean"] for other in found if other["step"] == row["step"]]
        assert row["log"]["schedule/distill"] == pytest.approx(sum(of_step) / len(of_step), abs=1e-6)


def test_weights_in_force_also_after_resume(export_to: ExportTo, tmp_path: Path) -> None:
    require_trl()
    weight = {"kind": "cosine", "start": 1.0, "end": 0.0, "anneal_fraction": 0.67}
    heat = {"rollout.temperature": {"kind": "linear", "start": 1.25, "end": 0.75, "anneal_fraction": 0.5}}
    out, rows = export_to(
        "trl-distillation", {**OPD, "distill_weight": weight, "turns": TURNS}, steps=STEPS, horizon=3, **heat
    )
    first = run(out, tmp_path, rows, reverse_kl, stop=3)
    assert [row["step"] for row in first] == [0, 0, 1, 1, 2, 2]
    second = run(out, tmp_path, rows, reverse_kl, stop=STEPS, resume=True)
    assert [row["step"] for row in second] == [3, 3, 4, 4, 5, 5]
    check(first + second, rows)
    assert len(set(rows[1]["distill"])) == 3  # a weight for each turn, none of them 0 or 1
    assert all(row["expected"] > 0.01 for row in first)
    assert rows[5]["distill"] == [0.0] * 3  # the teacher's last weight is exactly 0
    assert [row["teacher_calls"] for row in first + second] == [1] * 10 + [0] * 2
    assert all(row["loss"] == 0.0 and not any(part.any() for part in row["grad"]) for row in second[-2:])


def test_a_weight_of_one_is_trls_own_loss(export_to: ExportTo, tmp_path: Path) -> None:
    require_trl()
    out, rows = export_to("trl-distillation", OPD, steps=STEPS)
    found = run(out, tmp_path, rows, reverse_kl, stop=2)
    check(found, rows)
    assert [row["loss"] for row in found] == [row["own"] for row in found]


@pytest.mark.parametrize(
    ("signal", "divergence"),
    [
        ({"kind": "forward_kl", "temperature": 2.0}, forward_kl),
        ({"kind": "reverse_kl"}, reverse_kl),
        ({"kind": "jsd", "beta": 0.3}, lambda student, teacher: jsd(student, teacher, 0.3)),
    ],
    ids=["forward_kl", "reverse_kl", "jsd"],
)
def test_signals(export_to: ExportTo, tmp_path: Path, signal: dict[str, Any], divergence: Divergence) -> None:
    """The teacher's part of a schedule with a reward, for whoever allowed the loss."""
    require_trl()
    objective = {"kind": "interpolated", "distill": signal, "turns": TURNS}
    out, rows = export_to("trl-distillation", objective, steps=STEPS, allow_lossy=True)
    check(run(out, tmp_path, rows, divergence, stop=2), rows)


def test_the_sampled_signal_is_the_divergence_on_average() -> None:
    """Over all tokens, the policy gradient on log p_teacher - log p_student is the gradient of minus the reverse KL."""
    student = torch.randn(5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    teacher = torch.randn(5, generator=torch.Generator().manual_seed(1)).log_softmax(0)
    logp = student.log_softmax(0)
    signal = (logp.exp() * (teacher - logp)).detach()
    (sampled,) = torch.autograd.grad((signal * logp).sum(), student, retain_graph=True)
    (whole,) = torch.autograd.grad(-reverse_kl(logp[None], teacher[None]).sum(), student)
    assert torch.allclose(sampled, whole, atol=1e-6)
    assert sampled.abs().max() > 0.05
