"""docs/howto/trl.md: its study runs through TRL to a report, with models of a few thousand parameters."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from doc_pages import ROOT, blocks
from tiny_study import RECIPE, TINY
from tiny_trl import require_trl

import atod_sweep
from atod_sweep.records.metrics import read_metrics

PAGE = ROOT / "docs/howto/trl.md"
SMALL = {
    "student": {"kind": "compact", **TINY, "recipe": {"steps": 10, "episodes": 4, "success": [0.0, 1.0]}},
    "teacher": {"kind": "compact", **TINY, "recipe": RECIPE},
    "env.kwargs": {},
    "rollout": {"tasks": 2, "group_size": 2},
    "runtime": {"device": "cpu"},
    "evaluation": {"tasks": 8, "every": 2},
    "steps": 3,
}


@pytest.mark.slow
def test_the_study_runs_to_its_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two arms on two seeds."""
    require_trl()
    monkeypatch.setenv("ATOD_SWEEP_CACHE", str(tmp_path / "models"))
    study = yaml.safe_load(blocks(PAGE, "yaml")[0])
    study["base"] = {key: value for key, value in study["base"].items() if key in ("trainer", "objective", "env")}
    study["base"]["trainer"]["args"] = {"per_device_train_batch_size": 2}
    study["base"] |= {"base": "presets/support_desk_compact"}
    path = tmp_path / "through_trl.yaml"
    path.write_text(yaml.safe_dump(study))
    run = atod_sweep.run(path, out=tmp_path / "runs", seeds=2, overrides=SMALL, backend="local", concurrency=1)
    report = (run.folder / "report.md").read_text()
    assert "cosine > linear" in report
    assert "trl: cosine, linear" in report
    for arm in ("cosine", "linear"):
        for seed in (0, 1):
            folder = run.folder / "trials" / f"{arm}-s{seed}"
            rows = read_metrics(folder / "metrics.jsonl")
            assert [row["step"] for row in rows if row["phase"] == "eval"] == [0, 2, 3]
            assert (folder / "trl" / "scheduled_trl.py").is_file()
            assert (folder / "student" / "model.safetensors").is_file()
