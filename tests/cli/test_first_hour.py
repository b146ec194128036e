"""The first hour of a new user on a fresh machine: from a wheel to a run, its report, an export, and Python."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMALL = ["steps=2", "evaluation.every=2", "evaluation.tasks=16", "rollout.tasks=2", "rollout.group_size=2"]
SMALL += ["teacher.recipe.steps=3", "student.recipe.steps=10", "student.recipe.success=[0.0,1.0]"]
PYTHON = """
import atod_sweep as atod
assert "site-packages" in atod.__file__, atod.__file__
run = atod.load("runs/quickstart")
assert len(run.trials) == 10 and set(run.arms["arm"]) >= {"cosine", "linear", "exponential"}
assert len(run.verdicts) == 3
print(run.summary())
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """A folder, and a way to run commands in it with the wheel installed and nothing of the repository at hand."""
    top = tmp_path_factory.mktemp("machine")
    wheel = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(top), str(ROOT)]
    if subprocess.run(wheel, capture_output=True).returncode:
        subprocess.run([part for part in wheel if part != "--no-build-isolation"], check=True)
    (built,) = top.glob("*.whl")
    venv.create(top / "venv", with_pip=False)
    binaries = top / "venv" / "bin"
    site = next((top / "venv" / "lib").glob("python*/site-packages"))
    here = {sysconfig.get_path("purelib"), *(path for path in sys.path if path.endswith("site-packages"))}
    here -= {str(site)}
    (site / "dependencies.pth").write_text("\n".join(sorted(here)) + "\n")  # they are not downloaded again
    pip = [sys.executable, "-m", "pip", "--python", str(binaries / "python"), "install", "-q", "--no-deps"]
    subprocess.run([*pip, "--no-index", "--force-reinstall", str(built)], check=True)
    (top / "work").mkdir()
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    env |= {"HOME": str(top), "ATOD_SWEEP_CACHE": str(top / "cache"), "PATH": f"{binaries}:{env['PATH']}"}

    def run(*words: str) -> str:
        done = subprocess.run(words, cwd=top / "work", env=env, capture_output=True, text=True)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    run.folder = top / "work"  # type: ignore[attr-defined]
    return run


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_from_the_wheel_to_python(machine):
    assert machine("atod-sweep", "--version").startswith("atod-sweep ")
    assert "quickstart" in machine("atod-sweep", "list")
    shown = machine("atod-sweep", "run", "quickstart", *SMALL)
    first = shown.splitlines()
    assert first[0] == "reading …"
    for words in (
        "quickstart · 3 arms",
        "building the models and starting Ray",
        "10/10 complete",
        "report",
        "schedule",
    ):
        assert words in shown
    run = machine.folder / "runs" / "quickstart"
    for name in ("report.html", "report.md", "best_schedule.yaml", "tables/trials.csv", "ledger.jsonl"):
        assert (run / name).stat().st_size > 0
    assert "10 complete" in machine("atod-sweep", "status", "runs/quickstart")
    assert "10/10 complete" in machine("atod-sweep", "ls")
    assert "report.html" in machine("atod-sweep", "report", "runs/quickstart")
    assert "trl" in machine("atod-sweep", "export", "runs/quickstart", "--to", "trl", "--out", "mine")
    machine("atod-sweep", "verify", "mine")
    assert "cosine > linear" in machine("python", "-c", PYTHON)
    machine("atod-sweep", "init", "first")
    assert (machine.folder / "first" / "study.yaml").is_file()
