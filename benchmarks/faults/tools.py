"""Commands with a fault in them, and what a run left."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from atod_sweep.records import ledger
from atod_sweep.records.metrics import read_metrics

ROOT = Path(__file__).parents[2]
SUPPORT = ROOT / "tests" / "support"
HOOK = Path(__file__).parent / "hook"
PATIENCE = 1200.0  # seconds for one command, on a machine that is busy with other things
BASE = {"steps": 40, "evaluation.every": 10, "optimiser.lr": 0.01}
STUDY: dict[str, Any] = {
    "name": "small",
    "question": "Which is better?",
    "base": BASE,
    "arms": {"slow": {}, "fast": {"optimiser.lr": 0.02}},
    "seeds": 2,
}
RUN = """
import signal, sys
from pathlib import Path
from fake_training import FAKE
from atod_sweep.api.ending import conclude
from atod_sweep.errors import UserError
from atod_sweep.sweep.record.progress import choose
from atod_sweep.sweep.resume import resume_run
from atod_sweep.sweep.studies.run_study import run_study
study, out, backend, width = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells have what runs behind them ignore it
    show = choose(verbosity=-1)
    options = {"backend": backend, "concurrency": width, "show": show, "trainer": FAKE}
    options["after"] = lambda folder: conclude(folder, show.note)
    try:
        outcome = run_study(study, out=out, resume=(out / "small" / "ledger.jsonl").exists(), **options)
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    sys.exit(130 if outcome.interrupted else 0 if outcome.ok else 1)
"""


@dataclass(frozen=True)
class Fault:
    """One fault, or a chain of `kills`. `cause` judges it: returns what was observed, or raises AssertionError."""

    kind: str
    name: str
    expected: str
    cause: Callable[[Path], str]
    kills: int = 0


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def last(self) -> str:
        """Its last line."""
        lines = (self.err or self.out).strip().splitlines()
        return lines[-1] if lines else ""

    def one_line(self) -> str:
        """What a refusal said: exactly one line and exit code 2, or AssertionError."""
        assert "Traceback" not in self.err, self.err[-500:]
        assert self.code == 2, f"exit {self.code}: {self.last}"
        assert len(self.err.strip().splitlines()) == 1, self.err
        return f"refused: {self.last[:160]}"


def environment(place: Path, **more: str) -> dict[str, str]:
    """The environment of a command: fakes and the hook are found, the cache is the place's own."""
    path = os.pathsep.join([str(HOOK), str(SUPPORT), str(ROOT)])
    own = {"PYTHONPATH": path, "ATOD_SWEEP_CACHE": str(place / "cache"), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return {**os.environ, **own, **more}


def command(place: Path, *words: str, timeout: float = PATIENCE, **env: str) -> Done:
    """`atod-sweep …` in the folder `place`."""
    return _run([sys.executable, "-m", "atod_sweep", *words], place, timeout, env)


def python(place: Path, code: str, *words: str, timeout: float = PATIENCE, **env: str) -> Done:
    """A Python program in the folder `place`."""
    script = place / "program.py"
    script.write_text(code)
    return _run([sys.executable, str(script), *words], place, timeout, env)


def _run(argv: list[str], place: Path, timeout: float, env: dict[str, str]) -> Done:
    done = subprocess.run(
        argv, cwd=place, env=environment(place, **env), capture_output=True, text=True, timeout=timeout, check=False
    )
    return Done(done.returncode, done.stdout, done.stderr)


def study(place: Path, **changes: Any) -> Path:
    """A study file of fake trials."""
    path = place / "small.yaml"
    path.write_text(yaml.safe_dump({**STUDY, **changes}, sort_keys=False))
    return path


def fake_run(place: Path, backend: str = "local", width: int = 2, timeout: float = PATIENCE, **env: str) -> Done:
    """Run (or go on with) the study file of the place, with fake trials."""
    words = [str(place / "small.yaml"), str(place / "runs"), backend, str(width)]
    return python(place, RUN, *words, timeout=timeout, **env)


def results(run_dir: Path) -> dict[str, Any]:
    """Every trial's state and numbers, and its rows, without times and process ids."""
    found: dict[str, Any] = {}
    for trial, row in ledger.fold(ledger.read(run_dir)).trials.items():
        metrics = run_dir / "trials" / trial / "metrics.jsonl"
        lines = read_metrics(metrics)
        rows = [{k: v for k, v in line.items() if k != "pid" and "seconds" not in k} for line in lines]
        found[trial] = (row["state"], row.get("metrics"), row.get("score"), rows)
    return found


def complete_once(run_dir: Path) -> int:
    """Trials that are complete; AssertionError if one completed twice."""
    rows = [row for row in ledger.read(run_dir) if row["event"] == "trial" and row["state"] == "COMPLETE"]
    names = [row["trial"] for row in rows]
    assert len(names) == len(set(names)), "a trial completed twice"
    return len(names)
