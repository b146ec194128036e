"""verl's own Hydra config takes the overrides, and its own losses apply the exported weights.

Needs `verl==0.9.1` (its wheel without dependencies) with hydra-core, tensordict, TransferQueue and codetiming.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from shim_modules import modules_of

pytestmark = pytest.mark.slow
ExportTo = Callable[..., tuple[Path, list[dict[str, Any]]]]
TURNS = {"kind": "thresholds", "early_turns": 1, "late_turns": 1}
# Two responses of 5 and 3 tokens: turns of 2 and 2 tokens with one of the environment between; one turn of 3.
MASKS = [torch.tensor([1, 1, 0, 1, 1]), torch.tensor([1, 1, 1])]
TURN = [[0, 0, None, 1, 1], [0, 0, 0]]


@pytest.fixture
def losses() -> Iterator[Any]:
    """verl's distillation losses, put back as they were after the shim has patched them."""
    for name in ("verl", "hydra", "tensordict", "transfer_queue", "codetiming"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import verl
        from verl.trainer.distillation import losses
        from verl.trainer.ppo.v1.trainer_base import PPOTrainer
    if verl.__version__ != "0.9.1":
        pytest.skip(f"written for verl 0.9.1, found {verl.__version__}")
    kept = losses.ppo_loss, PPOTrainer._update_actor
    yield losses
    losses.ppo_loss, PPOTrainer._update_actor = kept
    for registry in (losses.DISTILLATION_LOSS_REGISTRY, losses.DISTILLATION_SETTINGS_REGISTRY):
        for name in ("scheduled_k1", "scheduled_forward_kl_topk"):
            registry.pop(name, None)


def compose(out: Path, *more: str) -> Any:
    """verl's own config with the exported overrides and what a user fills in."""
    import verl.trainer
    from hydra import compose, initialize_config_dir

    lines = (out / "verl_overrides.txt").read_text(encoding="utf-8").splitlines()
    yours = [
        "+ray_kwargs.ray_init.runtime_env.env_vars.VERL_USE_EXTERNAL_MODULES=scheduled_verl",
        "actor_rollout_ref.model.path=student",
        "distillation.teacher_models.teacher_model.model_path=teacher",
        "distillation.nnodes=1",
        "distillation.n_gpus_per_node=2",
        "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=2",
        "actor_rollout_ref.rollout.name=vllm",
    ]
    with initialize_config_dir(str(Path(verl.trainer.__file__).parent / "config"), version_base=None):
        return compose("ppo_trainer", overrides=[*lines, *yours, *more])


def micro_batch(step: int) -> tuple[Any, dict[str, torch.Tensor], dict[str, list[torch.Tensor]]]:
    """What verl gives its loss: jagged responses, log-probs of the whole sequence, and non-tensor data."""
    from tensordict import NonTensorData, TensorDict

    generator = torch.Generator().manual_seed(step)

    def jagged(parts: list[torch.Tensor]) -> torch.Tensor:
        return torch.nested.as_nested_tensor(parts, layout=torch.jagged)

    prompts = [torch.ones(3, dtype=torch.long), torch.ones(2, dtype=torch.long)]
    sizes = [len(mask) for mask in MASKS]
    student, teacher, advantage = ([-torch.rand(n, generator=generator) for n in sizes] for _ in range(3))

    def on_sequence(parts: list[torch.Tensor]) -> torch.Tensor:
        """Response values at the positions that predict them: one before each response token."""
        rows = [torch.cat([torch.zeros(len(p) - 1), x, torch.zeros(1)]) for p, x in zip(prompts, parts, strict=True)]
        return jagged(rows)

    data = TensorDict(
        {
            "prompts": jagged(prompts),
            "responses": jagged([torch.ones(n, dtype=torch.long) for n in sizes]),
            "response_mask": jagged(MASKS),
            "old_log_probs": jagged(student),
            "advantages": jagged(advantage),
            "ref_log_prob": jagged([x - 0.5 for x in student]),
            "teacher_logprobs": on_sequence(teacher).unsqueeze(-1),
        },
        batch_size=[2],
    )
    tokens = sum(int(mask.sum()) for mask in MASKS)
    extra = {"schedule_step": step, "dp_size": 1, "batch_num_tokens": tokens, "global_batch_size": 2}
    for key, value in extra.items():
        data[key] = NonTensorData(value)
    output = {"log_probs": on_sequence([x.clone() for x in student])}
    return data, output, {"student": student, "teacher": teacher, "advantage": advantage}


def run_loss(losses: Any, out: Path, cfg: Any, step: int) -> tuple[float, dict[str, Any], dict[str, Any]]:
    """verl's distillation_ppo_loss on one micro-batch."""
    from verl.utils.config import omega_conf_to_dataclass

    actor = omega_conf_to_dataclass(cfg.actor_rollout_ref.actor)
    distillation = omega_conf_to_dataclass(cfg.distillation)
    data, output, parts = micro_batch(step)
    loss, metrics = losses.distillation_ppo_loss(actor, distillation, output, data)
    return float(loss), metrics, parts


def by_hand(row: dict[str, Any], parts: dict[str, Any]) -> float:
    """On policy both surrogates are minus the advantage: the mean over generated tokens of the weighted sum."""
    total, tokens = 0.0, 0
    for i, mask in enumerate(MASKS):
        for t in range(len(mask)):
            if mask[t]:
                k = TURN[i][t]
                pull = parts["teacher"][i][t] - parts["student"][i][t]
                total -= float(row["distill"][k] * pull + row["reward"][k] * parts["advantage"][i][t])
                total += row["beta_kl"] * 0.5 * 0.5**2  # k2 of log-probs that are 0.5 apart
                tokens += 1
    return total / tokens


def test_hydra_composes_and_its_losses_weigh(export_to: ExportTo, losses: Any) -> None:
    weight = {"kind": "linear", "start": 1.0, "end": 0.0, "anneal_fraction": 0.5}
    penalty = {"kind": "k2", "coef": {"kind": "linear", "start": 0.2, "end": 0.0, "anneal_fraction": 0.75}}
    out, rows = export_to("verl", {"kind": "hybrid", "distill_weight": weight, "turns": TURNS, "kl_penalty": penalty})
    with modules_of(out, "scheduled_verl"):
        cfg = compose(out)
        assert cfg.trainer.total_training_steps == 8
        assert cfg.trainer.use_v1 is True
        assert cfg.distillation.distillation_loss.loss_mode == "scheduled_k1"
        for step in range(8):  # the last steps have a teacher's weight and a coefficient of exactly 0
            loss, metrics, parts = run_loss(losses, out, cfg, step)
            assert loss == pytest.approx(by_hand(rows[step], parts), abs=1e-6)
            assert metrics["kl_coef"] == pytest.approx(rows[step]["beta_kl"], abs=1e-12)
            mean = (5 * rows[step]["distill"][0] + 2 * rows[step]["distill"][1]) / 7
            assert metrics["schedule/distill"] == pytest.approx(mean, abs=1e-6)


def test_turn_weights_follow_log_probs(export_to: ExportTo, losses: Any) -> None:
    from atod_sweep.objective.turn_weights import t_dur

    recorded = {"turn_weight": [0.5, 0.25, None]}
    objective = {"kind": "hybrid", "turns": {"kind": "t_dur"}}
    out, rows = export_to("verl", objective, record=lambda seed, step: recorded)
    with modules_of(out, "scheduled_verl", "schedule") as (_, schedule):
        cfg = compose(out)
        loss, _, parts = run_loss(losses, out, cfg, 2)
        kappa = schedule.weights(2, 0, 8, 3, turn_weight=1.0)["distill"]
    pad = torch.nn.utils.rnn.pad_sequence
    student, teacher, mask = (pad(x, batch_first=True) for x in (parts["student"], parts["teacher"], MASKS))
    turn = torch.tensor([[0, 0, 0, 1, 1], [0, 0, 0, 0, 0]])
    live = kappa * t_dur(student, teacher, turn, mask).gather(1, turn)
    reward = torch.tensor(rows[2]["reward"])[0]
    expected = -(live * (teacher - student) + reward * pad(parts["advantage"], batch_first=True))
    assert loss == pytest.approx(float((expected * mask).sum() / mask.sum()), abs=1e-6)


def test_forward_kl_of_the_top_tokens(export_to: ExportTo, losses: Any) -> None:
    """Lossy: verl's own terms over the teacher's likeliest tokens, here 0.25 each, times the teacher's weight."""
    from verl.utils.config import omega_conf_to_dataclass

    objective = {"kind": "interpolated", "distill": {"kind": "forward_kl"}, "turns": TURNS}
    out, rows = export_to("verl", objective, allow_lossy=True)
    with modules_of(out, "scheduled_verl"):
        cfg = compose(out)
        actor = omega_conf_to_dataclass(cfg.actor_rollout_ref.actor)
        data, output, parts = micro_batch(1)
        for name in ("distillation_losses", "student_mass", "teacher_mass"):
            output[name] = torch.nested.nested_tensor_from_jagged(
                torch.full_like(output["log_probs"].values(), 0.25), output["log_probs"].offsets()
            )
        loss, _ = losses.distillation_ppo_loss(actor, omega_conf_to_dataclass(cfg.distillation), output, data)
    row = rows[1]
    pairs = [(i, t) for i, mask in enumerate(MASKS) for t in range(len(mask)) if mask[t]]
    terms = [
        0.25 * row["distill"][TURN[i][t]] - row["reward"][TURN[i][t]] * float(parts["advantage"][i][t])
        for i, t in pairs
    ]
    assert float(loss) == pytest.approx(sum(terms) / len(terms), abs=1e-6)


def test_loaded_as_an_external_module(export_to: ExportTo, losses: Any) -> None:
    """`import verl` in a fresh process loads the shim, as in every one of its workers."""
    out, _ = export_to("verl", {"kind": "hybrid"})
    code = (
        "import verl; from verl.trainer.distillation import losses;"
        "from verl.trainer.ppo.v1.trainer_base import PPOTrainer;"
        "print(sorted(n for n in losses.DISTILLATION_LOSS_REGISTRY if n.startswith('scheduled')),"
        "PPOTrainer._update_actor.__module__, losses.ppo_loss.__module__)"
    )
    paths = os.pathsep.join([str(out), os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "VERL_USE_EXTERNAL_MODULES": "scheduled_verl", "PYTHONPATH": paths}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    expected = "['scheduled_forward_kl_topk', 'scheduled_k1'] scheduled_verl scheduled_verl"
    assert done.stdout.splitlines()[-1:] == [expected], done.stderr


def test_driver_sends_the_step(export_to: ExportTo, losses: Any) -> None:
    """verl counts its global steps from 1, the schedule from 0."""
    from verl.trainer.ppo.v1 import trainer_base

    sent = []
    trainer_base.PPOTrainer._update_actor = lambda self, batch, metrics: sent.append(dict(batch.extra_info))
    out, _ = export_to("verl", {"kind": "hybrid"})
    with modules_of(out, "scheduled_verl"):
        for step in (1, 5):
            trainer_base.PPOTrainer._update_actor(
                SimpleNamespace(global_steps=step), SimpleNamespace(extra_info={}), {}
            )
    assert sent == [{"schedule_step": 0}, {"schedule_step": 4}]
