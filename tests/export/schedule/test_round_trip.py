"""Bundle -> train -> the weights that the original trial applied, step by step, from both trials' records."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from trained_run import ARMS, write_trained

from atod_sweep import cli
from atod_sweep.export.schedule import bundle
from atod_sweep.records.metrics import read_metrics

WEIGHTS = ("weight/distill", "weight/reward", "weight/kl", "temperature", "turn_weight")


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [row for row in read_metrics(path) if row["phase"] == "train"]


def weights(row: dict[str, Any]) -> dict[str, Any]:
    return {key: row[key] for key in WEIGHTS}


def untimed(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if "seconds" not in key}


@pytest.mark.parametrize("arm", ARMS)
def test_same_weights_at_every_step(
    arm: str, base: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the rest of the config as it was, the whole training is the same, not only its weights."""
    run = write_trained(tmp_path / "run", base, arm, [0])
    exported = bundle.write(run, tmp_path / "bundle")
    (tmp_path / "mine.yaml").write_text(
        yaml.safe_dump(
            {
                **yaml.safe_load((run / "trials" / f"{arm}-s0" / "config.yaml").read_text(encoding="utf-8")),
                "objective": {"kind": "hybrid"},  # another schedule, length and horizon: the bundle's take their place
                "rollout": {"tasks": 2, "group_size": 4},
                "steps": 9,
            }
        ),
        encoding="utf-8",
    )
    words = ["train", str(tmp_path / "mine.yaml"), "--schedule", str(exported), "--out", str(tmp_path / "again")]
    monkeypatch.setattr(sys, "argv", ["atod-sweep", *words])
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code
    ours, theirs = rows_of(run / "trials" / f"{arm}-s0" / "metrics.jsonl"), rows_of(tmp_path / "again/metrics.jsonl")
    assert len(ours) == base["steps"]
    assert [weights(row) for row in theirs] == [weights(row) for row in ours]
    assert len({row["weight/distill"] for row in ours}) == len(ours)  # a schedule that moves
    assert [untimed(row) for row in theirs] == [untimed(row) for row in ours]


def test_the_table_is_what_the_trial_applied(base: dict[str, Any], tmp_path: Path) -> None:
    run = write_trained(tmp_path / "run", base, "closed_form", [0])
    table = json.loads((bundle.write(run, tmp_path / "bundle") / "schedule.json").read_text(encoding="utf-8"))["rows"]
    for row, weights in zip(rows_of(run / "trials/closed_form-s0/metrics.jsonl"), table, strict=True):
        assert weights["beta_kl"] == pytest.approx(row["weight/kl"], abs=1e-12)
        assert weights["temperature"] == pytest.approx(row["temperature"], abs=1e-12)
        applied = [row["weight/distill"] * w for w in row["turn_weight"]]
        assert weights["distill"] == pytest.approx(applied, abs=1e-6)
