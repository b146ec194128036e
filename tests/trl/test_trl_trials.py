"""Trials through TRL on tiny models: the same loss as ours, the same records, resume, and a study's report."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from ddp_worker import launch
from small import ECHO, tiny
from tiny_trl import require_trl

from atod_sweep.config.train import Train
from atod_sweep.errors import UserError
from atod_sweep.training.algorithms import ALGORITHMS
from atod_sweep.training.loop import runners
from atod_sweep.training.loop.build import gather
from atod_sweep.training.pretraining import cache as models

pytestmark = pytest.mark.slow
Rows = list[dict[str, Any]]
TURNS = {"kind": "t_dur"}
PENALTY = {"kind": "k3", "coef": {"kind": "linear", "start": 0.3, "end": 0.0}}
OBJECTIVES = {
    "divergence": {"kind": "interpolated", "distill_weight": 0.6, "turns": TURNS, "entropy_coef": 0.02},
    "sampled": {"kind": "interpolated", "distill": {"kind": "sampled_reverse_kl"}, "distill_weight": 0.4},
    "hybrid": {"kind": "hybrid", "distill_weight": 0.7, "turns": TURNS, "kl_penalty": PENALTY},
    "reward": {"kind": "hybrid", "distill_weight": 0.0, "reward_weight": 1.0, "kl_penalty": PENALTY},
}


@pytest.fixture(scope="module", autouse=True)
def _made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    require_trl()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATOD_SWEEP_CACHE", str(tmp_path_factory.mktemp("models")))
        models.ensure(tiny())
        yield


def through_trl(**settings: Any) -> Train:
    return tiny(trainer__kind="trl", **settings)


def run(config: Train, folder: Path, resume: bool = False) -> Rows:
    """All rows of a training."""
    rows: Rows = []
    runners.train(config, folder, rows.extend, resume)
    return rows


def untimed(rows: Rows) -> Rows:
    return [{name: value for name, value in row.items() if "seconds" not in name} for row in rows]


def per_turn() -> dict[str, Any]:
    """A student to whom every turn is a sequence of its own."""
    return {
        "student": {"kind": "pretrained", "path": str(models.ensure(tiny()).student.path), "conversation": "per_turn"}
    }


@pytest.mark.parametrize("grows", [True, False], ids=["growing", "per turn"])
@pytest.mark.parametrize(("name", "at_once"), [("divergence", 8), ("sampled", 8), ("hybrid", 2), ("reward", 4)])
def test_the_first_loss_is_ours(
    name: str, at_once: int, grows: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the episodes that TRL's engine has played, also in several passes, and with several sequences an episode."""
    from atod_sweep.trl import rollouts

    kept = []
    really = rollouts.as_trl
    monkeypatch.setattr(rollouts, "as_trl", lambda episodes: kept.append(episodes) or really(episodes))
    settings = {"objective": OBJECTIVES[name], "steps": 1, "rollout__temperature": 1.3, "evaluation__tasks": 2}
    settings |= {"rollout__episodes_at_once": 3} | ({} if grows else per_turn())
    config = through_trl(**settings, trainer__args={"per_device_train_batch_size": at_once})
    row = next(row for row in run(config, tmp_path) if row["phase"] == "train")

    algorithm = ALGORITHMS[config.objective.kind]
    needs = algorithm.needs(config)
    stage = gather(config, tmp_path, False, needs, torch.device("cpu"), 0, 1).stage
    initial = gather(config, tmp_path, False, needs, torch.device("cpu"), 0, 1).stage.policy
    mix = algorithm(config, stage.teacher, initial)
    (episodes,) = kept
    assert (len(episodes.ids_ST) == 8) == grows
    index_N = episodes.sequence_N * episodes.ids_ST.shape[1] + episodes.column_N - 1
    target_N = episodes.ids_ST[episodes.sequence_N, episodes.column_N]
    with torch.no_grad():
        logp_NV = (stage.policy(episodes.ids_ST, index_N).logits_NV / 1.3).log_softmax(-1)
    told = replace(episodes, logp_N=logp_NV.gather(1, target_N[:, None])[:, 0])
    batch, metrics = mix.prepare(stage.policy, told, 0, 1.3, 10**6)
    terms = mix.terms(stage.policy(batch.ids_ST, batch.index_N), batch)
    loss = sum(terms.values()) / batch.tokens
    assert row["loss"] == pytest.approx(loss.item(), abs=2e-6)
    gradient = torch.autograd.grad(loss, list(stage.policy.parameters()))
    norm = torch.stack([g.norm() for g in gradient]).norm().item()
    assert norm > 0.05  # the loss of a reward alone is 0 before the first step, its gradient is not
    assert row["grad_norm"] == pytest.approx(norm, rel=1e-4)
    same = [key for key in metrics if key.startswith(("weight/", "kl/"))]
    assert {"weight/distill", "weight/reward", "weight/applied_teacher"} <= {*same}
    assert {key: row[key] for key in same} == pytest.approx({key: metrics[key] for key in same}, abs=1e-5)
    seeds = [outcome.seed for outcome in episodes.outcomes]
    assert seeds == stage.draw_tasks()  # those that our own loop would play


class Killed(Exception):
    pass


def test_a_killed_trial_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    kept = {"name": "shorter", "env": {"id": ECHO, "horizon": 2}, "items": 4}
    settings = {"objective": OBJECTIVES["hybrid"], "steps": 3, "evaluation__retention": [kept]}
    config = through_trl(**settings, checkpoint_every=1, evaluation__every=2)
    whole = run(config, tmp_path / "whole")
    ours = run(config.model_copy(update={"trainer": Train().trainer}), tmp_path / "ours")
    assert whole[0]["retention/shorter/drop"] == 0.0
    assert untimed(whole[:1]) == untimed(ours[:1])  # the untrained student, on the same tasks
    assert [(row["phase"], row["step"]) for row in whole] == [(row["phase"], row["step"]) for row in ours]
    missing = {name for row in ours for name in row} - {name for row in whole for name in row}
    assert missing <= {"epochs", "turn_weight", "seconds/score", "lost_updates", "logp_gap"} | {
        name for name in missing if name.startswith(("grad_norm/", "loss/"))
    }

    told: Rows = []

    def stop(rows: Rows) -> None:
        told.extend(rows)
        if rows[-1]["step"] == 2:
            raise Killed

    with pytest.raises(Killed):
        runners.train(config, tmp_path / "cut", stop)
    checkpoint = tmp_path / "cut" / "checkpoint" / "checkpoint-2"
    assert checkpoint.is_dir()
    rest = run(config, tmp_path / "cut", resume=True)
    assert untimed(rest) == untimed(whole[1:])
    same = [(tmp_path / name / "student" / "model.safetensors").read_bytes() for name in ("whole", "cut")]
    assert same[0] == same[1]
    assert not (tmp_path / "cut" / "checkpoint").exists()


def test_a_torn_checkpoint_leaves_the_one_before(tmp_path: Path) -> None:
    config = through_trl(steps=3, checkpoint_every=1, evaluation__every=3)

    def stop(rows: Rows) -> None:
        if rows[-1]["step"] == 3:
            raise Killed

    with pytest.raises(Killed):
        runners.train(config, tmp_path, stop)
    newest = tmp_path / "checkpoint" / "checkpoint-2"
    (newest / "atod_sweep.json").write_text("{}")
    rest = run(config, tmp_path, resume=True)
    assert [(row["phase"], row["step"]) for row in rest] == [
        *(("train", step) for step in range(3)),
        ("eval", 3),
    ]


def test_adapters(tmp_path: Path) -> None:
    """A student with fresh adapters, a penalty against what it was: only the adapters are saved."""
    pytest.importorskip("peft")
    base = models.ensure(tiny()).student.path
    student = {"kind": "pretrained", "path": str(base), "lora": {"rank": 2, "target_modules": ["q_proj", "v_proj"]}}
    config = through_trl(student=student, objective=OBJECTIVES["hybrid"], steps=2)
    rows = run(config, tmp_path)
    assert rows[1]["kl/reference"] == pytest.approx(0.0, abs=1e-6)
    assert rows[2]["kl/reference"] != 0.0
    assert (tmp_path / "student" / "adapter_model.safetensors").is_file()
    assert not (tmp_path / "student" / "ref").exists()
    assert "ref" not in json.dumps(json.loads((tmp_path / "student" / "adapter_config.json").read_text()))


def test_two_processes_share_a_step(tmp_path: Path) -> None:
    """Every task once, whoever plays it; rows and costs are those of both; one process reports."""
    settings = {"trainer__kind": "trl", "trainer__args": {"per_device_train_batch_size": 4}, "rollout__tasks": 4}
    settings |= {"objective": OBJECTIVES["hybrid"], "steps": 2}
    launch("rows", tmp_path, settings | per_turn())
    told = [json.loads((tmp_path / f"told-{rank}.json").read_text()) for rank in (0, 1)]
    assert told[1]["told"] == []
    assert told[0]["final"] == told[1]["final"]
    assert [(row["phase"], row["step"]) for row in told[0]["told"]] == [
        *(("eval", 0), ("train", 0), ("train", 1)),
        ("eval", 2),
    ]
    assert told[0]["cost"]["episodes"] == 2 * 4 * 4  # steps x tasks x rollouts
    assert told[0]["cost"]["updates"] == 2
    assert (tmp_path / "run" / "student" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"per_device_train_batch_sise": 4}, "has no 'per_device_train_batch_sise'; did you mean 'per_device_train_b"),
        ({"per_device_train_batch_size": 3}, "3 episodes on 1 processes do not divide the 8 episodes"),
        ({"optim": "no_such"}, "TRL does not take"),
    ],
)
def test_arguments_that_trl_does_not_take(args: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        run(through_trl(trainer__args=args), tmp_path)
    assert said in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_activations_that_are_computed_again_change_nothing(tmp_path: Path) -> None:
    settings = {"objective": OBJECTIVES["hybrid"], "steps": 2}
    kept, again = (
        untimed(run(through_trl(**settings, runtime__gradient_checkpointing=on), tmp_path / str(on)))
        for on in (False, True)
    )
    for one, other in zip(kept, again, strict=True):
        numbers = {name: value for name, value in one.items() if isinstance(value, int | float)}
        assert {name: other[name] for name in numbers} == pytest.approx(numbers, abs=1e-4)


def test_adapters_without_a_teacher_go_on_too(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    lora = {"rank": 2, "target_modules": ["q_proj", "v_proj"]}
    student = {"kind": "pretrained", "path": str(models.ensure(tiny()).student.path), "lora": lora}
    settings = {"student": student, "objective": OBJECTIVES["reward"], "teacher__kind": "none", "steps": 3}
    config = through_trl(**settings, checkpoint_every=1, evaluation__every=2)
    whole = run(config, tmp_path / "whole")

    def stop(rows: Rows) -> None:
        if rows[-1]["step"] == 2:
            raise Killed

    with pytest.raises(Killed):
        runners.train(config, tmp_path / "cut", stop)
    rest = run(config, tmp_path / "cut", resume=True)
    assert untimed(rest) == untimed(whole[1:])
    same = [(tmp_path / name / "student" / "adapter_model.safetensors").read_bytes() for name in ("whole", "cut")]
    assert same[0] == same[1]


def test_an_adapter_that_trl_would_not_train(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    lora = {"rank": 2, "target_modules": ["lm_head"]}
    student = {"kind": "pretrained", "path": str(models.ensure(tiny()).student.path), "lora": lora}
    with pytest.raises(UserError, match="TRL does not take this: Applying a PEFT adapter to `lm_head`"):
        run(through_trl(student=student), tmp_path)


def test_a_later_trial_of_ours_has_a_precision_of_its_own(tmp_path: Path) -> None:
    before = untimed(run(tiny(), tmp_path / "before"))
    run(through_trl(runtime__precision="bf16", steps=1), tmp_path / "bf16")
    assert Accelerator(cpu=True).mixed_precision == "no"
    assert untimed(run(tiny(), tmp_path / "after")) == before
