"""Runs as files, without training: a ledger, the trials' configs, and what they would have recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ledger_files import failed_row, study_row, trial_row, write_ledger, write_metrics

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
    usual: dict[str, Any] = {
        "question": "Which decay is best?",
        "controls": list(controls or {}),
        "factors": {factor: list(levels) for factor, levels in factors.items()},
        "seeds": seeds,
        # as in the first versions, and whatever the exported config is
        "models": {"teacher": {"digest": "aaaa", "path": "/home/me/cache"}, "student": {"digest": "bbbb"}},
    }
    ledger = [study_row(folder.name, arms, **{**usual, **study})]
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
                write_metrics(target / "metrics.jsonl", rows)
                same = {"role": role, "levels": levels, "config_hash": content_hash(config)}
                done = trial_row(name, seed, "COMPLETE", metrics={"eval/success": score}, **same)
                ledger.append(failed_row(name, seed, **same) if score is None else done)
    write_ledger(folder, ledger)
    return folder
