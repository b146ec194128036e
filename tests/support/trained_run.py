"""A run whose trials were really trained: the tiny models of the trainer's tests, a few steps each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ledger_files import write_metrics
from run_files import write_run

from atod_sweep.config.base import dump_yaml, validate, with_overrides
from atod_sweep.config.train import Train
from atod_sweep.training.loop.trainer import train

ARMS: dict[str, dict[str, Any]] = {
    "closed_form": {
        "objective.turns": {"kind": "thresholds", "early_turns": 1, "late_turns": 1},
        "objective.kl_penalty": {"kind": "k2", "coef": {"kind": "linear", "start": 0.1, "end": 0.0}},
        "rollout.temperature": {"kind": "linear", "start": 1.0, "end": 0.8},
    },
    "measured": {
        "objective.distill_weight": {"kind": "adaptive", "threshold": 10.0, "smoothing": 0.5},
        "objective.turns": {"kind": "product"},
        "objective.kl_penalty": {"kind": "k3", "coef": {"kind": "target_kl"}},
    },
}


def write_trained(folder: Path, base: dict[str, Any], arm: str, seeds: list[int]) -> Path:
    """A run of one of ARMS on `base` (dotted overrides of the defaults), as a study would have left it."""
    overrides = {**base, **ARMS.get(arm, {})}
    scores: dict[int, float | None] = {}
    for seed in seeds:
        config = with_overrides(Train, Train().model_dump(mode="json"), {**overrides, "seed": seed})
        trial = folder.parent / f"{folder.name}-trained" / str(seed)
        rows: list[dict[str, Any]] = []
        result = train(validate(Train, config, arm), trial, rows.extend)
        (trial / "config.yaml").write_text(dump_yaml(config), encoding="utf-8")
        write_metrics(trial / "metrics.jsonl", rows)
        scores[seed] = result.final["eval/success"]
    write_run(folder, {arm: (overrides, scores)})
    for seed in seeds:
        for name in ("metrics.jsonl", "student"):
            target = folder / "trials" / f"{arm}-s{seed}" / name
            target.unlink(missing_ok=True)
            (folder.parent / f"{folder.name}-trained" / str(seed) / name).rename(target)
    return folder
