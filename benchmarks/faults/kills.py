"""Kills at random file-system operations: of drivers and workers, on both backends, and of Ray's own processes."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from benchmarks.faults.tools import PATIENCE, RUN, Fault, complete_once, environment, fake_run, results, study

TRIALS = 8
WORKER_OPERATIONS = 24  # of a worker that ran half of the trials; it is killed in the end, so it cannot tell


def faults(local: int = 40, ray: int = 20) -> Iterator[Fault]:
    """So many kills on each backend, in chains: a run is killed and taken up again until it is done."""
    half = local // 2
    yield _chain("local", "driver", half)
    yield _chain("local", "worker", local - half)
    third = ray // 3
    yield _chain("ray", "driver", third)
    yield _chain("ray", "worker", third)
    yield _chain("ray", "head", ray - 2 * third)


def _chain(backend: str, who: str, kills: int) -> Fault:
    when = "moment" if who == "head" else "file-system operation"
    return Fault(
        "kills",
        f"{kills} × SIGKILL of the {who} at a random {when}, {backend}",
        "every run resumes to what an undisturbed one leaves, bit for bit; no trial counts twice",
        lambda place: _kill_and_resume(place, backend, who, kills),
        kills,
    )


def _kill_and_resume(place: Path, backend: str, who: str, kills: int) -> str:
    rng = random.Random(f"{backend} {who}")
    study(place, seeds=4, base={"steps": 40, "evaluation.every": 10, "env.kwargs": {"sleep": 0.02}})
    counted = place / "count"
    env = {"FAULT_UNDER": str(place / "runs"), "FAULT_WHO": "worker" if who == "worker" else "driver"}
    done = fake_run(place, backend, FAULT_COUNT=str(counted), **env)
    assert done.code == 0, done.last
    counts = [int(line) for line in counted.read_text().split()] if counted.is_file() else []
    operations = max(counts, default=0) or WORKER_OPERATIONS
    whole = results(place / "runs" / "small")
    assert complete_once(place / "runs" / "small") == TRIALS
    killed, rounds = 0, 0
    while killed < kills and rounds < 3 * kills:
        rounds += 1
        shutil.rmtree(place / "runs" / "small", ignore_errors=True)
        for _ in range(min(6, kills - killed)):
            if who == "head":
                hit = _kill_head(place, rng.uniform(2.0, 9.0))
            else:
                hit = _kill_at(place, backend, rng.randint(1, operations), env)
            killed += hit
            if not hit:
                break  # the run came to its end before
        last = fake_run(place, backend)
        assert last.code == 0, f"after {killed} kills: {last.last}"
        found = results(place / "runs" / "small")
        others = [trial for trial in whole if found.get(trial) != whole[trial]]
        assert not others, f"after {killed} kills: {others[0]} is {found.get(others[0])}, not {whole[others[0]]}"
        assert complete_once(place / "runs" / "small") == TRIALS
    assert killed >= kills, f"only {killed} kills in {rounds} runs"
    return f"{killed} kills in {rounds} runs of {TRIALS} trials; all results and rows bitwise equal, nothing twice"


def _kill_at(place: Path, backend: str, operation: int, env: dict[str, str]) -> bool:
    """Run until that operation of the driver, or of workers; whether somebody was killed there."""
    killed = place / "killed"
    killed.unlink(missing_ok=True)
    fake_run(place, backend, FAULT_AT=str(operation), FAULT_KILLED=str(killed), **env)
    return killed.is_file()


def _kill_head(place: Path, after: float) -> bool:
    """Run on Ray and kill its head's processes some seconds after they appear; whether they still lived then."""
    script = place / "program.py"
    script.write_text(RUN)
    words = [sys.executable, str(script), str(place / "small.yaml"), str(place / "runs"), "ray", "2"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    driver = subprocess.Popen(words, cwd=place, env=environment(place), **quiet)
    begun, killed = time.monotonic(), False
    while driver.poll() is None and time.monotonic() - begun < PATIENCE:
        children = psutil.Process(driver.pid).children(recursive=True) if driver.poll() is None else []
        head = [p for p in children if p.name() in ("gcs_server", "raylet")]
        if head:
            time.sleep(after)
            for process in head:
                if process.is_running():
                    process.kill()
                    killed = True
            break
        time.sleep(0.2)
    try:
        driver.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        driver.kill()
        driver.wait()
        raise AssertionError("the driver hung after its Ray head was killed") from None
    return killed
