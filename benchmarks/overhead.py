"""What a study costs beside its training: time per trial and the driver's memory; writes overhead.md.

    python -m benchmarks.overhead                       # both backends, 12 trials of 20 s and 500 empty ones: 7 minutes
    python -m benchmarks.overhead ray --trials 12 --seconds 20   # one case, as JSON
    python -m benchmarks.overhead tune --trials 500 --seconds 0  # Ray Tune without anything of ours
    python -m benchmarks.overhead --run runs/schedule   # … and the overhead of real runs, from their ledgers

The trials here sleep, so that what is measured is the machinery and not how trials share a processor. What they leave
out, loading models and saving the student, a real run's ledger tells.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from atod_sweep.cores import cpu_cores

OUT = Path(__file__).parent / "overhead.md"
CONCURRENCY = 2
EVALUATIONS = 4
CASES = (("ray", 12, 20.0), ("ray", 500, 0.0), ("local", 12, 20.0), ("local", 500, 0.0), ("tune", 500, 0.0))


# ---- the trainer that workers import --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """What the real trainer returns."""

    final: dict[str, float]
    cost: dict[str, float]


@dataclass(frozen=True)
class Ref:
    """A model that nobody has to build."""

    path: str
    digest: str = ""
    success: float | None = None
    built: bool = False
    seconds: float = 0.0


@dataclass(frozen=True)
class Models:
    """Teacher and base student."""

    teacher: Ref | None
    student: Ref


def ensure(config: Any, note: Any = None) -> Models:
    """No models."""
    return Models(None, Ref("/none"))


def evaluate(config: Any, path: str, role: str) -> dict[str, float]:
    """Not called: the study has no teacher trial."""
    return {"eval/success": 0.0}


def train(config: Any, directory: Path, report: Any, resume: bool = False) -> Result:
    """Sleep for `env.kwargs.seconds` in all, with a report after every part."""
    for i in range(EVALUATIONS + 1):
        time.sleep(config.env.kwargs["seconds"] / EVALUATIONS if i else 0.0)
        report([{"phase": "eval", "step": i, "eval/success": 0.5, "cost/env_steps": 64.0 * i}])
    return Result({"eval/success": 0.5}, {"env_steps": 64.0 * EVALUATIONS})


# ---- one case -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measured:
    """Seconds of the driver's clock. `start`: until the first trial; `total`: from then to the end of the run.

    `outside`: share of `total`, over all places for trials, in which no training went on. `memory`: trials that had
    ended -> the driver's resident memory in MB.
    """

    backend: str
    trials: int
    seconds: float
    start: float
    total: float
    outside: float
    per_trial: float
    cpu: float
    memory: dict[int, float]


def marks(trials: int) -> list[int]:
    """Numbers of ended trials at which memory is read."""
    return sorted({max(1, trials * k // 5) for k in range(1, 6)})


def measure(backend: str, trials: int, seconds: float) -> Measured:
    """Run one study of `trials` sleeping trials."""
    from atod_sweep.records import layout, ledger
    from atod_sweep.sweep.studies.run_study import run_study
    from atod_sweep.sweep.trials.jobs import Trainer
    from atod_sweep.sweep.trials.limits import resident_gb

    study = {
        "name": "overhead",
        "question": "What does a trial cost beside its training?",
        "base": {"steps": EVALUATIONS, "evaluation.every": 1, "env.kwargs": {"seconds": seconds}},
        "arms": {"a": {}, "b": {"optimiser.lr": 0.02}},
        "seeds": trials // 2,
    }
    memory: dict[int, float] = {}
    done = threading.Event()

    def watch(path: Path) -> None:
        while not done.wait(0.2):
            ended = path.read_bytes().count(b'"state": "COMPLETE"') if path.is_file() else 0
            for mark in marks(trials):
                if ended >= mark and mark not in memory:
                    memory[mark] = round(1000 * resident_gb(), 1)

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "overhead.yaml"
        path.write_text(yaml.safe_dump(study))
        watcher = threading.Thread(target=watch, args=(Path(folder) / "runs" / "overhead" / layout.LEDGER,))
        watcher.start()
        began = time.time()
        trainer = Trainer(*(f"benchmarks.overhead:{name}" for name in ("train", "evaluate", "ensure")))
        with contextlib.redirect_stdout(io.StringIO()):
            outcome = run_study(
                path, out=Path(folder) / "runs", trainer=trainer, backend=backend, concurrency=CONCURRENCY
            )
        ended = time.time()
        done.set()
        watcher.join()
        rows = [row for row in ledger.read(outcome.run_dir) if row["event"] == "trial"]
    assert outcome.complete == trials, outcome
    first = rows[0]["time"]
    total = ended - first
    used = resource.getrusage(resource.RUSAGE_SELF)
    return Measured(
        backend=backend,
        trials=trials,
        seconds=seconds,
        start=first - began,
        total=total,
        outside=1 - trials * seconds / (CONCURRENCY * total),
        per_trial=total / trials - seconds / CONCURRENCY,
        cpu=(used.ru_utime + used.ru_stime) / trials,
        memory=memory,
    )


def measure_tune(trials: int) -> Measured:
    """As many empty trials on Ray Tune alone, each reporting one number as often: what Ray itself costs and keeps."""
    from atod_sweep.sweep.backends.ray_cluster import TUNE_ENVIRONMENT

    os.environ.update(TUNE_ENVIRONMENT)
    began = time.time()
    import ray
    from ray import tune

    from atod_sweep.sweep.trials.limits import resident_gb

    times: list[float] = []
    memory: dict[int, float] = {}
    over, looks = 0, marks(trials)

    class Watch(tune.Callback):
        def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            times.append(time.time())

        def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            nonlocal over
            over += 1
            if over in looks:
                memory[over] = round(1000 * resident_gb(), 1)

    def empty(config: dict[str, Any]) -> None:
        for i in range(EVALUATIONS + 1):
            tune.report({"value": float(i)})

    ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level="CRITICAL")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        tune.Tuner(
            tune.with_resources(empty, {"cpu": 1}),
            tune_config=tune.TuneConfig(num_samples=trials, max_concurrent_trials=CONCURRENCY, reuse_actors=True),
            run_config=tune.RunConfig(name="tune", storage_path=folder, verbose=0, callbacks=[Watch()]),
        ).fit()
        ended = time.time()
    ray.shutdown()
    used = resource.getrusage(resource.RUSAGE_SELF)
    total = ended - times[0]
    cpu = (used.ru_utime + used.ru_stime) / trials
    return Measured("Ray Tune alone", trials, 0.0, times[0] - began, total, 1.0, total / trials, cpu, memory)


# ---- real runs -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ledger:
    """A run's trials as its ledger has them; seconds are means per trial.

    `training`: by the trainer's own clock. `inside`: the rest of the attempt: imports, models, saving. `between`: from
    the driver's first word on an attempt to its last, without the attempt. `outside`: share of the time from the first
    trial to the last, over all places for trials, in which no training went on.
    """

    run: str
    trials: int
    at_a_time: int
    training: float
    inside: float
    between: float
    outside: float


def recorded(run_dir: Path) -> Ledger:
    """The overhead of a run that one driver made without an interruption."""
    from atod_sweep.records import ledger

    rows = [row for row in ledger.read(run_dir) if row["event"] == "trial" and row["role"] != "teacher"]
    began = {(row["trial"], row["attempt"]): row["time"] for row in rows if row["state"] == "RUNNING"}
    ended = [row for row in rows if row["state"] == "COMPLETE"]
    changes = sorted([(at, 1) for at in began.values()] + [(r["time"], -1) for r in rows if r["state"] != "RUNNING"])
    width = max(itertools.accumulate(change for _, change in changes))
    training = [row["cost"]["seconds"] for row in ended]
    spans = [row["time"] - began[row["trial"], row["attempt"]] for row in ended]
    last = ended[-1]["time"]
    under_way = sum(last - at for key, at in began.items() if key not in {(r["trial"], r["attempt"]) for r in ended})
    return Ledger(
        run=run_dir.resolve().name,
        trials=len(ended),
        at_a_time=width,
        training=statistics.fmean(training),
        inside=statistics.fmean(row["seconds"] - t for row, t in zip(ended, training, strict=True)),
        between=statistics.fmean(span - row["seconds"] for span, row in zip(spans, ended, strict=True)),
        outside=1 - (sum(training) + under_way) / (width * (last - min(began.values()))),
    )


# ---- all of them ----------------------------------------------------------------------------------------------------


def text(found: list[Measured], runs: list[Ledger], load: str) -> str:
    """Markdown of the tables."""
    long = [case for case in found if case.seconds]
    dry = [case for case in found if not case.seconds]
    lines = [
        "# What a study costs beside its training",
        "",
        f"`python -m benchmarks.overhead` on {cpu_cores()} cores, {CONCURRENCY} trials at a time. Trials sleep, so",
        "they leave the processor to the driver; MLflow is sqlite beside the run. *Start* is all before the first",
        "trial (Ray, MLflow) and counts in nothing else; *total* is from there to the command's end, MLflow included.",
        f"Load average of the machine while this was measured: {load}.",
        "",
        "| backend | trials | start | total | time outside training |",
        "|---|---|---|---|---|",
    ]
    for case in long:
        lines.append(
            f"| {case.backend} | {case.trials} of {case.seconds:g} s | {case.start:.1f} s | {case.total:.1f} s "
            f"| {case.outside:.1%} |"
        )
    lines += [
        "",
        "Trials that do nothing: what one costs, and the driver's resident memory after so many trials.",
        "*Ray Tune alone*: as many empty trials without anything of ours, with configs of nothing and results of",
        "one number: what Ray itself keeps. Tune holds on to its trial objects until its end. Ours are emptied when a",
        "trial is over, so that neither its config nor what it reported stays.",
        *(
            f"{case.backend}: the driver grew by {_growth(case):.1f} MB from the first figure to the last."
            for case in dry
        ),
        "",
        "| backend | trials | start | per trial | driver's CPU per trial | memory, MB (trials) |",
        "|---|---|---|---|---|---|",
    ]
    for case in dry:
        memory = ", ".join(f"{mb:.0f} ({n})" for n, mb in case.memory.items())
        lines.append(
            f"| {case.backend} | {case.trials} | {case.start:.1f} s | {case.per_trial:.3f} s | {case.cpu:.3f} s "
            f"| {memory} |"
        )
    if runs:
        lines += [
            "",
            "Real runs, from their ledgers; seconds are means per trial. *Training*: by the trainer's own clock;",
            "*inside*: the rest of the attempt (imports, models, saving), *between*: what the driver takes around it.",
            "*Outside training* counts all of it, and places that stood empty.",
            "",
            "| run | trials | at a time | training | inside | between | time outside training |",
            "|---|---|---|---|---|---|---|",
        ]
    for run in runs:
        lines.append(
            f"| {run.run} | {run.trials} | {run.at_a_time} | {run.training:.1f} s | {run.inside:.2f} s "
            f"| {run.between:.3f} s | {run.outside:.1%} |"
        )
    return "\n".join(lines) + "\n"


def _growth(case: Measured) -> float:
    return case.memory[max(case.memory)] - case.memory[min(case.memory)]


def main() -> None:
    """One case as JSON, or all of them into overhead.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backend", nargs="?", choices=["ray", "local", "tune"])
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--run", type=Path, action="append", default=[], help="folder of a real run")
    args = parser.parse_args()
    if args.backend:
        case = measure_tune(args.trials) if args.backend == "tune" else measure(args.backend, args.trials, args.seconds)
        print(json.dumps(asdict(case)))
        return
    found = []
    for backend, trials, seconds in CASES:
        command = [sys.executable, "-m", "benchmarks.overhead", backend, f"--trials={trials}", f"--seconds={seconds}"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        case = json.loads(done.stdout.splitlines()[-1])
        case["memory"] = {int(n): mb for n, mb in case["memory"].items()}
        found.append(Measured(**case))
        print(found[-1], flush=True)
    runs = [recorded(run) for run in args.run]
    OUT.write_text(text(found, runs, f"{os.getloadavg()[2]:.1f}"), encoding="utf-8")


if __name__ == "__main__":
    main()
