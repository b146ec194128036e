"""TRL's own GRPOTrainer under the exported schedule, on a tiny model on the CPU.

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

pytestmark = pytest.mark.slow
ExportTo = Callable[..., tuple[Path, list[dict[str, Any]]]]
STEPS = 6


def run(out: Path, folder: Path, stop: int, resume: bool = False) -> list[dict[str, Any]]:
    """Train up to step `stop` of STEPS; what TRL's own loss was given at every step, and the logs."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer, TrlParser

    words = ["--config", str(out / "trl_config.yaml"), "--output_dir", str(folder / "run"), "--use_cpu", "true"]
    words += ["--per_device_train_batch_size", "8", "--max_completion_length", "8", "--save_steps", "3"]
    words += ["--logging_steps", "1", "--report_to", "none", "--learning_rate", "0.01", "--num_generations", "4"]
    (args,) = TrlParser((GRPOConfig,)).parse_args_and_config(words)
    seen: list[dict[str, Any]] = []
    theirs = GRPOTrainer._compute_loss

    class Stop(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            control.should_training_stop = state.global_step >= stop

    with modules_of(out, "scheduled_trl") as (shim,), pytest.MonkeyPatch.context() as patch:

        class Trainer(shim.ScheduledGRPOTrainer):
            def _generate_and_score_completions(self, inputs: Any) -> Any:
                return with_tools(super()._generate_and_score_completions(inputs))

            def _compute_loss(self, model: Any, inputs: Any) -> Any:
                teacher = self._logp(self.teacher, inputs)
                student = self._logp(model, inputs)
                seen.append({"step": self.state.global_step, "plain": inputs, "gap": teacher - student})
                divergence = self._divergence(model, inputs).detach() if "temperature" in shim.SIGNAL else None
                loss = super()._compute_loss(model, inputs)
                seen[-1].update(loss=loss.item(), divergence=divergence)
                return loss

        def spy(self: Any, model: Any, inputs: Any) -> Any:
            loss = theirs(self, model, inputs)
            seen[-1].update(advantages=inputs["advantages"], beta=self.beta, own_loss=loss.item())
            return loss

        patch.setattr(GRPOTrainer, "_compute_loss", spy)
        student = tiny(folder / "student", 0)
        trainer = Trainer(
            teacher=AutoModelForCausalLM.from_pretrained(tiny(folder / "teacher", 1)),
            model=str(student),
            args=args,
            reward_funcs=[lambda completions, **_: [float(text.count("w3")) for text in completions]],
            train_dataset=Dataset.from_dict({"prompt": PROMPTS}),
            processing_class=AutoTokenizer.from_pretrained(student),
            callbacks=[Stop()],
        )
        trainer.train(resume_from_checkpoint=resume)
    logs = [row for row in trainer.state.log_history if "schedule/distill" in row]
    return [{**row, "log": logs[row["step"]]} for row in seen]


def check(found: list[dict[str, Any]], rows: list[dict[str, Any]]) -> None:
    """The advantages that TRL's loss saw are reward * A + distill * (log p_teacher - log p_student), row by row."""
    for row in found:
        inputs, weights = row["plain"], rows[row["step"]]
        mask = (inputs["completion_mask"] * inputs["tool_mask"]).bool()
        length = mask.size(1)
        turn = torch.arange(length) // 3
        last = len(weights["distill"]) - 1
        distill = torch.tensor([weights["distill"][min(k, last)] for k in turn.tolist()])
        reward = torch.tensor([weights["reward"][min(k, last)] for k in turn.tolist()])
        expected = reward * inputs["advantages"][:, None] + distill * row["gap"]
        assert torch.allclose(row["advantages"][mask], expected[mask], atol=1e-5)
        mean = (distill.expand_as(mask)[mask]).mean().item()
        assert row["log"]["schedule/distill"] == pytest.approx(mean, abs=1e-6)


TURNS = {"kind": "thresholds", "early_turns": 1, "late_turns": 1}


def test_weights_in_force_also_after_resume(export_to: ExportTo, tmp_path: Path) -> None:
    require_trl()
    weight = {"kind": "cosine", "start": 1.0, "end": 0.0, "anneal_fraction": 0.67}
    penalty = {"kind": "k3", "coef": {"kind": "linear", "start": 0.2, "end": 0.0, "anneal_fraction": 0.5}}
    objective = {"kind": "hybrid", "distill_weight": weight, "turns": TURNS, "kl_penalty": penalty}
    out, rows = export_to("trl", objective, steps=STEPS)
    first = run(out, tmp_path, stop=3)
    assert [row["step"] for row in first] == [0, 1, 2]
    second = run(out, tmp_path, stop=STEPS, resume=True)
    assert [row["step"] for row in second] == [3, 4, 5]
    assert any(row["plain"]["advantages"].any() for row in first)
    check(first + second, rows)
    expected = [max(row["beta_kl"], 1e-8) for row in rows]
    assert [row["beta"] for row in first + second] == pytest.approx(expected, abs=1e-12)
    assert rows[5]["distill"] == [0.0] * 3  # the teacher's last weight is exactly 0


def test_without_a_penalty_there_is_no_reference(export_to: ExportTo, tmp_path: Path) -> None:
    require_trl()
    out, rows = export_to("trl", {"kind": "hybrid", "distill_weight": 0.0}, steps=STEPS)
    found = run(out, tmp_path, stop=2)
    assert [row["beta"] for row in found] == [0.0, 0.0]
    check(found, rows)


@pytest.mark.parametrize("signal", ["forward_kl", "reverse_kl", "jsd"])
def test_full_distribution(export_to: ExportTo, tmp_path: Path, signal: str) -> None:
    """Against the trainer's own divergences: TRL's loss plus the weighted sum over generated tokens / their number."""
    from atod_sweep.objective.signals.forward_kl import forward_kl
    from atod_sweep.objective.signals.jsd import jsd
    from atod_sweep.objective.signals.reverse_kl import reverse_kl

    require_trl()
    out, rows = export_to("trl", {"kind": "interpolated", "distill": {"kind": signal}, "turns": TURNS}, steps=STEPS)
    with modules_of(out, "scheduled_trl") as (shim,):
        logits = torch.randn(2, 2, 7, 16, generator=torch.Generator().manual_seed(0))
        networks = [
            type("Net", (), {"__call__": lambda self, x=x, **_: type("Out", (), {"logits": x})})() for x in logits
        ]
        trainer = object.__new__(shim.ScheduledGRPOTrainer)
        trainer.teacher = networks[1]
        keys = ("prompt_ids", "completion_ids", "prompt_mask", "completion_mask")
        inputs = {key: torch.ones(2, 3 if "prompt" in key else 4, dtype=torch.long) for key in keys}
        found = trainer._divergence(networks[0], inputs)
    student, teacher = (x[:, 2:6].log_softmax(-1).flatten(0, 1) for x in logits)
    ours = {
        "forward_kl": lambda: forward_kl(student, teacher),
        "reverse_kl": lambda: reverse_kl(student, teacher),
        "jsd": lambda: jsd(student, teacher, 0.5),
    }[signal]()
    assert torch.allclose(found.flatten(), ours, atol=1e-5)
    step = run(out, tmp_path, stop=2)[1]
    inputs, mask = step["plain"], step["plain"]["completion_mask"] * step["plain"]["tool_mask"]
    turn = (torch.arange(mask.size(1)) // 3).clamp(max=2)
    distill, reward = (torch.tensor(rows[1][name])[turn] * mask for name in ("distill", "reward"))
    assert torch.allclose(step["advantages"], reward * inputs["advantages"][:, None], atol=1e-6)
    term = (distill * step["divergence"]).sum() / inputs["num_items_in_batch"]
    assert term > 1e-4  # a hundred times the tolerance
    assert step["loss"] == pytest.approx(step["own_loss"] + term.item(), abs=1e-6)
