"""A machine that can train but has no Ray, Optuna or MLflow, nor what reports are made with: a study still runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_study import write

from atod_sweep.records.metrics import read_metrics

ABSENT = ("ray", "optuna", "mlflow", "scipy", "matplotlib", "pandas", "sklearn", "pyarrow")

# Python runs this file at its start, also in worker processes. What is hidden looks as if it was never installed.
HIDE = f"""
from importlib.machinery import PathFinder
real = PathFinder.find_spec
def find_spec(name, path=None, target=None):
    return None if name.partition(".")[0] in {ABSENT!r} else real(name, path, target)
PathFinder.find_spec = staticmethod(find_spec)
"""
FAKE_RUN = """
import sys
from pathlib import Path
from atod_sweep.api.ending import conclude
from fake_training import FAKE
from atod_sweep.sweep.record.progress import choose
from atod_sweep.sweep.studies.run_study import run_study
show = choose(json_output=True)
options = {"backend": "local", "concurrency": int(sys.argv[2]), "trainer": FAKE}
options |= {"show": show, "after": lambda folder: conclude(folder, show.note)}
outcome = run_study(Path(sys.argv[1]), overrides={"steps": 20}, out=Path("out"), **options)
assert outcome.ok
"""


@pytest.fixture
def bare(tmp_path):
    """Run Python on such a machine, in a scratch folder; returns (exit code, stdout, stderr)."""
    (tmp_path / "hide").mkdir()
    (tmp_path / "hide" / "sitecustomize.py").write_text(HIDE)
    folders = [str(tmp_path / "hide"), os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(folders), "ATOD_SWEEP_CACHE": str(tmp_path / "cache")}

    def run(*words: str) -> tuple[int, str, str]:
        done = subprocess.run([sys.executable, *words], capture_output=True, text=True, env=env, cwd=tmp_path)
        return done.returncode, done.stdout, done.stderr

    return run


def no_report(run_dir) -> str:
    return f"no report: scipy is not installed here; where it is: atod-sweep report {run_dir}"


@pytest.mark.parametrize("width", [pytest.param("1", marks=pytest.mark.slow), "2"])
def test_the_driver_needs_none_of_it(bare, tmp_path, width):
    code, said, err = bare("-c", FAKE_RUN, write(tmp_path / "tiny.yaml"), width)
    assert code == 0, err
    run_dir = Path("out/tiny")
    assert err == ""
    events = [json.loads(line) for line in said.splitlines()]
    assert [event["text"] for event in events if event["event"] == "note"] == [
        f"MLflow is not installed here; where it is, record this run with: atod-sweep sync {run_dir}",
        no_report(run_dir),
    ]
    last = [event for event in events if event["event"] == "trial"][-1]
    assert (last["done"], last["failed"]) == (7, 0)
    assert read_metrics(tmp_path / run_dir / "trials" / "cosine-s1" / "metrics.jsonl")[-1]["step"] == 20


@pytest.mark.slow
def test_a_study_is_the_same_one_at_a_time_and_side_by_side(bare, tmp_path):
    study = write(tmp_path / "tiny.yaml")
    found: dict[str, list[object]] = {}
    for width in ("1", "2"):
        options = ("--out", width, "--backend", "local", "--concurrency", width)
        code, said, err = bare("-m", "atod_sweep", "run", study, "evaluation.tasks=6", *options)
        assert code == 0, err
        assert "7/7 complete" in said
        assert err == ""
        assert no_report(Path(width, "tiny")) in said.splitlines()
        for path in sorted(tmp_path.glob(f"{width}/tiny/trials/*/metrics.jsonl")):
            rows = [{k: v for k, v in row.items() if "seconds" not in k} for row in read_metrics(path)]
            found.setdefault(path.parent.name, []).append(rows)
        for path in sorted(tmp_path.glob(f"{width}/tiny/trials/*/student/model.safetensors")):
            found.setdefault(f"{path.parts[-3]} weights", []).append(path.read_bytes())
    assert len(found) == 12
    for name, (alone, beside) in found.items():
        assert alone == beside, name


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--backend", "ray"], "--backend 'ray': Ray is not installed"),
        (["--backend", "local", "--tracking-uri", "http://mine"], "--tracking-uri 'http://mine': MLflow is not"),
    ],
)
def test_what_is_asked_for_and_absent_is_one_line(bare, tmp_path, words, said):
    code, _, err = bare("-m", "atod_sweep", "run", write(tmp_path / "tiny.yaml"), *words)
    assert code == 2
    assert len(err.splitlines()) == 1
    assert said in err
