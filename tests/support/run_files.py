"""Runs as files, without training: a ledger, the trials' configs, and what they would have recorded."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from atod_sweep.config.base import content_hash, dump_yaml, with_overrides
from atod_sweep.config.train import Train

Scores = Mapping[int, float | None]  # seed -> final success; None: the trial failed
TrainRow = Callable[[int, int], dict[str, Any]]  # (seed, step) -> what the trial recorded at a step


def write_run(
    folder: Path,
    arms: Mapping[str, tuple[Mapping[str, Any], Scores]],
    *,
    controls: Mapping[str, Scores] | None = None,
    factors: Mapping[str, Mapping[str, Mapping[str, Any]]] | None = None,
    record: TrainRow | None = None,
    **study: Any,
) -> Path:
    """A run of `arms`: name -> (overrides, scores); `factors`: factor -> level -> overrides, scored like the arm."""
    factors = factors or {}
    seeds = sorted(next(iter(arms.values()))[1])
    ledger: list[dict[str, Any]] = [
        {
            "event": "study",
            "id": f"id of {folder.name}",
            "time": 1795168800.0,
            "name": folder.name,
            "question": "Which decay is best?",
            "reference": next(iter(arms)),
            "metric": {"name": "eval/success", "last": 1},
            "hypotheses": [],
            "arms": list(arms),
            "controls": list(controls or {}),
            "factors": {factor: list(levels) for factor, levels in factors.items()},
            "seeds": seeds,
            "definition": {},
            "definition_hash": "0123456789abcdef",
            "argv": ["atod-sweep", "run"],
            "versions": {"torch": "2.13.0"},
            "numerics": 1,
            "git": "319a3db",
            "hardware": {"cpu": "some", "cores": 2, "memory_gb": 16.0, "gpu": None},
            "models": {"teacher": {"digest": "aaaa", "path": "/home/me/cache"}, "student": {"digest": "bbbb"}},
            **study,
        }
    ]
    conditions: list[tuple[dict[str, str], dict[str, Any]]] = [({}, {})]
    for factor, levels in factors.items():
        conditions = [({**c, factor: name}, {**o, **extra}) for c, o in conditions for name, extra in levels.items()]
    jobs = [(name, "arm", *arm) for name, arm in arms.items()]
    jobs += [(name, "control", {}, scores) for name, scores in (controls or {}).items()]
    for name, role, overrides, scores in jobs:
        for levels, extra in conditions:
            for seed, score in scores.items():
                config = with_overrides(Train, Train().model_dump(mode="json"), {**overrides, **extra, "seed": seed})
                trial = "~".join([name, *levels.values()]) + f"-s{seed}"
                target = folder / "trials" / trial
                target.mkdir(parents=True)
                (target / "config.yaml").write_text(dump_yaml(config), encoding="utf-8")
                rows = (
                    [{"phase": "train", "step": s, **record(seed, s)} for s in range(config["steps"])] if record else []
                )
                (target / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
                ledger.append(_trial(trial, name, role, levels, seed, score, config))
    (folder / "ledger.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ledger), encoding="utf-8")
    return folder


def _trial(
    trial: str, arm: str, role: str, levels: dict[str, str], seed: int, score: float | None, config: Any
) -> dict[str, Any]:
    row = {
        "event": "trial",
        "time": 1795168860.0,
        "trial": trial,
        "arm": arm,
        "role": role,
        "levels": levels,
        "seed": seed,
        "config_hash": content_hash(config),
        "attempt": 1,
        "cost": {},
        "seconds": 1.0,
        "worker": "local",
        "start_metrics": {"eval/success": 0.2},
    }
    if score is None:
        return {**row, "state": "FAILED", "error": {"status": "diverged", "type": "E", "message": "m", "traceback": ""}}
    return {**row, "state": "COMPLETE", "metrics": {"eval/success": score}, "error": None}
