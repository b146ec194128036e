"""A seeded generator of synthetic runs: the files of `runs/<study>/` without any training."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ledger_files import (
    MODELS,
    configuration_row,
    failed_row,
    models_row,
    read_ledger,
    study_row,
    told_row,
    trial_row,
    write_ledger,
    write_metrics,
)

from atod_sweep.config.base import content_hash, dump_yaml, with_overrides
from atod_sweep.config.train import Train

SHAPES = {
    "cosine": lambda p: 0.1 + 0.9 * (1 + math.cos(math.pi * p)) / 2,
    "linear": lambda p: 1 - 0.9 * p,
    "exponential": lambda p: 0.1**p,
    "constant": lambda p: 0.55,
}
VERSIONS = {"atod-sweep": "0.1.0", "torch": "2.11.0", "ray": "2.60.0", "numpy": "2.4.6"}
HARDWARE = {"cpu": "Synthetic CPU", "cores": 2, "memory_gb": 16.0, "gpu": None}


def write_run(
    folder: Path,
    arms: Mapping[str, float],
    *,
    controls: Mapping[str, float] | None = None,
    factors: Mapping[str, Mapping[str, float]] | None = None,
    seeds: int = 3,
    hypotheses: Sequence[dict[str, Any]] = (),
    late_hypotheses: Sequence[dict[str, Any]] = (),
    failed: Sequence[tuple[str, int]] = (),
    question: str = "Does a cosine decay of the teacher's weight beat linear and exponential decay?",
    reference: str | None = None,
    teacher: float | None = 0.6,
    steps: int = 60,
    noise: float = 0.02,
    turns: int = 6,
    t_dur: bool = False,
    seed: int = 0,
    **study_fields: Any,
) -> Path:
    """Write a run whose arms reach the given final success plus the level's shift, and return its folder.

    `controls` and `arms`: name -> success; `factors`: factor -> level -> shift of success; `failed`: (arm, seed) cells.
    """
    rng = np.random.default_rng(seed)
    controls = dict(controls or {})
    factors = {f: dict(levels) for f, levels in (factors or {}).items()}
    folder.mkdir(parents=True)
    claims = [_claim(h) for h in hypotheses]
    study = study_row(
        folder.name,
        arms,
        question=question,
        reference=reference or next(iter(arms)),
        hypotheses=claims,
        controls=[*controls, *(["teacher"] if teacher is not None else [])],
        factors={f: list(levels) for f, levels in factors.items()},
        seeds=list(range(seeds)),
        versions=VERSIONS,
        hardware=HARDWARE,
        **study_fields,
    )
    ledger = [study, models_row(teacher=None if teacher is None else {**MODELS["teacher"], "success": teacher})]
    shared = rng.normal(0, noise, seeds)  # what a seed's tasks do to every arm
    for levels in _conditions(factors):
        shift = sum(factors[f][level] for f, level in levels.items())
        if teacher is not None:
            ledger += _teacher(levels, teacher + shift)
        for name, final in {**arms, **controls}.items():
            for s in range(seeds):
                rate = 1.5 if name == next(iter(arms)) else 1.0
                target = final + shift + shared[s] + rng.normal(0, noise / 2)
                role = "control" if name in controls else "arm"
                ledger += _trial(
                    folder, name, role, levels, s, target, rate, steps, turns, t_dur, (name, s) in failed, rng
                )
    if late_hypotheses:
        ledger.append({**study, "time": 1795255200.0, "hypotheses": claims + [_claim(h) for h in late_hypotheses]})
    write_ledger(folder, ledger)
    (folder / "study.yaml").write_text(
        dump_yaml({"name": folder.name, "question": question, "base": "presets/support_desk_compact"}), encoding="utf-8"
    )
    return folder


def _claim(hypothesis: dict[str, Any]) -> dict[str, Any]:
    full = {"relation": ">", "metric": "eval/success", "at": {}, "margin": 0.0, **hypothesis}
    return {**full, "sentence": f"{full['arm']} {full['relation']} {full['other']}"}


def _conditions(factors: Mapping[str, Mapping[str, float]]) -> list[dict[str, str]]:
    conditions: list[dict[str, str]] = [{}]
    for factor, levels in factors.items():
        conditions = [{**c, factor: level} for c in conditions for level in levels]
    return conditions


def _teacher(levels: Mapping[str, str], success: float) -> list[dict[str, Any]]:
    metrics = {"eval/success": success, "eval/f1": success}
    return [trial_row("teacher", 0, "COMPLETE", role="teacher", levels=dict(levels), metrics=metrics)]


def _trial(
    folder: Path,
    name: str,
    role: str,
    levels: Mapping[str, str],
    seed: int,
    final: float,
    rate: float,
    steps: int,
    turns: int,
    t_dur: bool,
    fails: bool,
    rng: np.random.Generator,
) -> list[dict[str, Any]]:
    kind = name if name in SHAPES else "linear"
    overrides: dict[str, Any] = {"objective.distill_weight.kind": kind, "seed": seed, "steps": steps}
    if t_dur:
        overrides["objective.turns.kind"] = "t_dur"
    config = with_overrides(Train, Train().model_dump(mode="json"), overrides)
    same = {"role": role, "levels": dict(levels), "config_hash": content_hash(config)}
    begun = trial_row(name, seed, **same)
    target = folder / "trials" / begun["trial"]
    target.mkdir(parents=True)
    (target / "config.yaml").write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML, and quick
    rows: list[dict[str, Any]] = []
    cost: dict[str, float] = {}
    last = steps // 2 if fails else steps
    for step in range(last + 1):
        grown = (1 - math.exp(-4 * rate * step / steps)) / (1 - math.exp(-4 * rate))
        success = float(np.clip(0.16 + (final - 0.16) * grown + rng.normal(0, 0.01), 0, 1))
        if step % 10 == 0:
            rows.append({**_eval_row(step, success, turns), **cost})
        if step < last:
            cost = _cost(step, turns)
            rows.append({**_train_row(step, step / steps, success, kind, turns, t_dur, rng), **cost})
    write_metrics(target / "metrics.jsonl", rows)
    evals = [r for r in rows if r["phase"] == "eval"]
    same |= {"start_metrics": _metrics(evals[0]), "seconds": 50.0 + seed}
    same["cost"] = {k.removeprefix("cost/"): v for k, v in cost.items()}
    if fails:
        return [begun, failed_row(name, seed, **same)]
    return [begun, trial_row(name, seed, "COMPLETE", metrics=_metrics(evals[-1]), **same)]


def _metrics(row: Mapping[str, Any]) -> dict[str, float]:
    return {k: v for k, v in row.items() if k.startswith("eval/") and isinstance(v, float)}


def _eval_row(step: int, success: float, turns: int) -> dict[str, Any]:
    """Episodes end at a turn: successes late, failures spread out and piling up at the horizon."""
    ended = np.zeros(turns)
    ended[turns // 2 :] += success * 256 / (turns - turns // 2)
    won = ended.copy()
    ended[-1] += (1 - success) * 256 * 0.7
    ended[turns // 2] += (1 - success) * 256 * 0.3
    return {
        "phase": "eval",
        "step": step,
        "eval/success": success,
        "eval/f1": min(1.0, success + 0.2),
        "eval/turns": turns - success,
        "eval/reward": success,
        "eval/ended_by_turn": [round(x) for x in ended],
        "eval/success_by_turn": [round(x) for x in won],
    }


def _train_row(
    step: int, p: float, success: float, kind: str, turns: int, t_dur: bool, rng: np.random.Generator
) -> dict[str, Any]:
    weight = SHAPES[kind](p)
    profile = [0.9 - 0.8 * k / (turns - 1) for k in range(turns)]
    if t_dur:
        profile = [float(np.clip(0.6 + 0.3 * math.sin(k + 3 * p) + rng.normal(0, 0.02), 0, 1)) for k in range(turns)]
    return {
        "phase": "train",
        "step": step,
        "loss": 1.0 - p,
        "weight/distill": weight,
        "weight/reward": 1 - weight,
        "weight/applied_teacher": weight * sum(profile) / turns,
        "turn_weight": [*profile[:-1], None if step % 7 == 3 else profile[-1]],  # no episode reached the last turn
        "kl/teacher": 0.8 * math.exp(-2 * p) + rng.normal(0, 0.01),
        "entropy": 1.0 - 0.5 * p,
        "rollout/success": success,
        "grad_norm/distill": weight * (1.2 - p),
        "grad_norm/reward": (1 - weight) * 0.8,
        "seconds/rollout": 0.1,
        "seconds/update": 0.05,
    }


def _cost(step: int, turns: int) -> dict[str, float]:
    """Everything spent up to and with this step."""
    return {
        "cost/env_steps": (step + 1) * 64 * turns,
        "cost/tokens": (step + 1) * 64 * 60,
        "cost/generated_tokens": (step + 1) * 64 * 20,
        "cost/teacher_tokens": (step + 1) * 64 * 60,
        "cost/episodes": (step + 1) * 64,
        "cost/updates": step + 1,
        "cost/seconds": 0.5 * (step + 1),
    }


def write_search(folder: Path, configurations: int, *, seeds: int = 5, second: bool = False) -> Path:
    """Write a search over the learning rate (best at 1e-3) and the decay, and return its folder.

    Every ninth configuration was stopped early, the eighth failed; c000 and c001 are confirmed beside the reference.
    """
    write_run(folder, {"reference": 0.5, "c000": 0.6, "c001": 0.62}, seeds=seeds, teacher=None, steps=20)
    (folder / "study.yaml").rename(folder / "search.yaml")
    study, models, *trials = read_ledger(folder)
    rng = np.random.default_rng(0)
    search = {
        "metric": {"name": "eval/success", "last": 1, "mode": "max"},
        "second": {"name": "cost/env_steps", "last": 1, "mode": "min"} if second else None,
        "parameters": {
            "optimiser.lr": {"float": [1e-4, 1e-2], "log": True},
            "objective.distill_weight": {"kind": {"choice": ["cosine", "linear"]}, "end": {"float": [0.0, 0.3]}},
        },
        "budget": {"seeds": 2},
    }
    rows: list[dict[str, Any]] = [{**study, "arms": [], "seeds": [], "search": search}, models]
    for i in range(configurations):
        arm, power = f"c{i:03d}", float(rng.uniform(-4, -2))
        values = {
            "optimiser.lr": 10**power,
            "objective.distill_weight.kind": ["cosine", "linear"][i % 2],
            "objective.distill_weight.end": float(rng.uniform(0, 0.3)),
        }
        state = "FAIL" if i == 7 else "PRUNED" if i % 9 == 8 else "COMPLETE"
        scores = [0.7 - 0.1 * abs(power + 3) + float(rng.normal(0, 0.02)), 1e5 + 1e4 * (i % 5)][: 1 + second]
        rows.append(configuration_row(arm, values, number=i))
        for seed in range(2):
            rows.append(
                failed_row(arm, seed, phase="search")
                if state == "FAIL"
                else trial_row(arm, seed, state, phase="search")
            )
        rows.append(told_row(arm, state, None if state == "FAIL" else scores))
    rows.append({**rows[0], "arms": study["arms"], "seeds": study["seeds"]})
    for row in trials:
        result = {"score": row["metrics"]["eval/success"], "second": 1.2e5} if row["state"] == "COMPLETE" else {}
        rows.append({**row, "phase": "confirm"} | result)
    write_ledger(folder, rows)
    return folder


@pytest.fixture
def make_search(tmp_path: Path) -> Callable[..., Path]:
    """`make_search(name, configurations, ...)`: a synthetic search under a temporary folder."""
    return lambda name, configurations, **options: write_search(tmp_path / name, configurations, **options)


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """`make_run(name, arms, ...)`: a synthetic run under a temporary folder."""
    return lambda name, arms, **options: write_run(tmp_path / name, arms, **options)
