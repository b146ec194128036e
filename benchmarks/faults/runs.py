"""Faults of whole runs: misbehaving trials, disks, MLflow, Ray, caches, and a run of two thousand trials."""

from __future__ import annotations

import contextlib
import json
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import yaml

from atod_sweep.records import ledger
from benchmarks.faults.tools import (
    PATIENCE,
    RUN,
    Done,
    Fault,
    command,
    complete_once,
    environment,
    fake_run,
    python,
    results,
    study,
)

SLOW = {"steps": 40, "evaluation.every": 10, "env.kwargs": {"sleep": 0.4}}
TINY = {
    "base": "presets/support_desk_compact",
    "teacher": {"hidden": 16, "layers": 1, "heads": 2, "recipe": {"steps": 3, "episodes": 4}},
    "student": {"hidden": 16, "layers": 1, "heads": 2, "recipe": {"steps": 10, "episodes": 4, "success": [0.0, 1.0]}},
    "rollout": {"tasks": 2, "group_size": 2},
    "evaluation": {"every": 2, "tasks": 8},
    "steps": 6,
}


def faults() -> Iterator[Fault]:
    """All of them, the longest first."""
    yield Fault(
        "load", "2,000 trials", "time and memory per trial flat, report ≤ 20 s, resume ≤ 5 s of a processor", _many
    )
    yield from _trials()
    yield from _disk()
    yield from _mlflow()
    yield from _ray()
    yield from _models()


# ---- trials that misbehave ----------------------------------------------------------------------------------------


def _trials() -> Iterator[Fault]:
    for fault in ("exit", "interrupt", "generator", "panic", "bug", "diverge", "nan"):
        for backend in ("local", "ray"):
            yield Fault(
                "trials",
                f"a trial that ends in {fault}, {backend}",
                "that trial fails by its name, all others complete, exit code 1",
                lambda place, fault=fault, backend=backend: _one_bad_arm(place, fault, backend),
            )
    for fault in ("flaky", "die"):
        yield Fault(
            "trials",
            f"a trial that fails once ({fault})",
            "a second attempt, from its checkpoint, completes",
            lambda place, fault=fault: _passes(place, fault),
        )
    yield Fault(
        "trials",
        "a step that never returns, resources.seconds",
        "timeout; the others complete",
        lambda p: _limit(p, "hang"),
    )
    yield Fault(
        "trials", "a C call that never returns", "timeout; the others complete", lambda place: _limit(place, "freeze")
    )
    yield Fault(
        "trials",
        "a trial that takes 800 MB, memory_gb",
        "out_of_memory; the others complete",
        lambda p: _limit(p, "hog"),
    )
    yield Fault(
        "trials",
        "SIGSTOP of a worker",
        "ended once past its time, the other trial completes, resume finishes",
        _stopped_worker,
    )
    for name in ("SIGINT", "SIGTERM"):
        yield Fault(
            "trials",
            f"{name} to the driver",
            "exit 130; resume finishes, equal",
            lambda p, name=name: _told_to_stop(p, name),
        )
    yield Fault("trials", "two drivers on one run", "the second is refused; the first completes", _two_drivers)


def _arms(fault: str) -> dict[str, object]:
    return {"fine": {}, "bad": {"env.kwargs.fault": fault}}


def _one_bad_arm(place: Path, fault: str, backend: str) -> str:
    study(place, arms=_arms(fault), seeds=1)
    done = fake_run(place, backend)
    assert done.code == 1, f"exit {done.code}: {done.last}"
    found = ledger.fold(ledger.read(place / "runs" / "small")).trials
    assert found["fine-s0"]["state"] == "COMPLETE"
    assert found["bad-s0"]["state"] == "FAILED"
    return f"failed as {found['bad-s0']['error']['status']}, the other complete, exit 1"


def _passes(place: Path, fault: str) -> str:
    study(place, arms=_arms(fault), seeds=1)
    done = fake_run(place)
    row = ledger.fold(ledger.read(place / "runs" / "small")).trials["bad-s0"]
    assert (done.code, row["state"], row["attempt"]) == (0, "COMPLETE", 2), done.last
    return "complete at the second attempt"


def _limit(place: Path, fault: str) -> str:
    limits = {"memory_gb": 0.75} if fault == "hog" else {"seconds": 3.0}
    study(place, arms=_arms(fault), seeds=1, resources=limits)
    fake_run(place)
    found = ledger.fold(ledger.read(place / "runs" / "small")).trials
    assert found["fine-s0"]["state"] == "COMPLETE", found["fine-s0"]
    assert found["bad-s0"]["state"] == "FAILED"
    return f"failed as {found['bad-s0']['error']['status']}, the other complete"


def _stopped_worker(place: Path) -> str:
    slow = {"steps": 40, "evaluation.every": 10, "env.kwargs": {"sleep": 0.3}}
    study(place, base=slow, seeds=1, resources={"seconds": 8.0})
    driver = _driver(place, "local")
    _wait(lambda: any(row["event"] == "trial" for row in _rows(place)))
    worker = next(p for p in psutil.Process(driver.pid).children() if "spawn_main" in " ".join(p.cmdline()))
    worker.suspend()
    try:
        driver.wait(PATIENCE)
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            worker.kill()
    states = {trial: row["state"] for trial, row in ledger.fold(_rows(place)).trials.items()}
    said = [row["error"]["status"] for row in _rows(place) if row.get("state") == "FAILED"]
    assert fake_run(place).code == 0
    assert complete_once(place / "runs" / "small") == 2
    return f"{' and '.join(sorted(states.values()))} ({', '.join(said)}); resumed, 2 trials complete"


def _told_to_stop(place: Path, name: str) -> str:
    study(place, base=SLOW)
    assert fake_run(place).code == 0
    whole = results(place / "runs" / "small")
    (place / "runs").rename(place / "whole")
    driver = _driver(place, "local")
    _wait(lambda: any(row["event"] == "trial" for row in _rows(place)))
    driver.send_signal(signal.Signals[name])
    code = driver.wait(PATIENCE)
    states = {row["state"] for row in ledger.fold(_rows(place)).trials.values()}
    assert code == 130, f"exit {code}"
    assert fake_run(place).code == 0
    assert results(place / "runs" / "small") == whole
    return f"exit {code} with trials {' and '.join(sorted(states))}; resumed, equal"


def _two_drivers(place: Path) -> str:
    study(place, base=SLOW)
    first = _driver(place, "local")
    _wait(lambda: any(row["event"] == "trial" for row in _rows(place)))
    second = fake_run(place).one_line()
    assert first.wait(PATIENCE) == 0
    assert complete_once(place / "runs" / "small") == 4
    return f"{second}; the first completes 4 trials"


# ---- disks ---------------------------------------------------------------------------------------------------------


def _disk() -> Iterator[Fault]:
    for share in (0.02, 0.2, 0.4, 0.6, 0.8, 0.95):
        yield Fault(
            "disk",
            f"the disk is full after {share:.0%} of a run's file operations",
            "no traceback; the run resumes to what an undisturbed one leaves",
            lambda place, share=share: _full(place, share),
        )


def _full(place: Path, share: float) -> str:
    study(place)
    under, counted = {"FAULT_UNDER": str(place / "runs")}, place / "count"
    assert fake_run(place, width=1, FAULT_COUNT=str(counted), **under).code == 0
    whole = results(place / "runs" / "small")
    operations = max(int(line) for line in counted.read_text().split())
    (place / "runs" / "small").rename(place / "whole")
    done = fake_run(place, width=1, FAULT_AT=str(max(1, int(share * operations))), FAULT_HOW="full", **under)
    assert "Traceback" not in done.err, done.err[-400:]
    if done.code == 0:  # only MLflow, a mirror, had still something to write
        assert "MLflow" in done.out, "a full disk went unnoticed"
    again = fake_run(place, width=1)
    assert again.code == 0, again.last
    assert results(place / "runs" / "small") == whole
    return f"exit {done.code}: {done.last[:110]}; resumed, equal"


# ---- MLflow --------------------------------------------------------------------------------------------------------


def _mlflow() -> Iterator[Fault]:
    cases = {
        "half-made (killed while its tables were made)": _half_made,
        "damaged": lambda path: path.write_bytes(b"no database" * 300),
        "empty": lambda path: path.write_bytes(b""),
        "a folder in its place": lambda path: path.mkdir(),
        "its experiment deleted": _deleted_experiment,
    }
    for name, spoil in cases.items():
        yield Fault(
            "mlflow",
            f"mlflow.db {name}",
            "one line with the remedy, the study runs, sync catches up or says why not",
            lambda place, spoil=spoil: _spoiled(place, spoil),
        )
    yield Fault("mlflow", "mlflow.db locked in mid-run", "the run completes; sync catches up", _locked)
    yield Fault("mlflow", "a server that is not there", "one line, exit 2 or the run goes on", _no_server)
    yield Fault("mlflow", "two studies start in a fresh folder at once", "both complete", _two_at_once)


def _half_made(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("create table registered_models (name text)")


def _deleted_experiment(path: Path) -> None:
    code = (
        "from mlflow import MlflowClient as C; import sys; c = C(f'sqlite:///{sys.argv[1]}');"
        "c.delete_experiment(c.create_experiment('atod-sweep'))"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True, capture_output=True)


def _spoiled(place: Path, spoil: object) -> str:
    (place / "runs").mkdir()
    study(place)
    spoil(place / "runs" / "mlflow.db")  # type: ignore[operator]
    done = fake_run(place)
    assert "Traceback" not in done.err, done.err[-400:]
    assert done.code == 0, f"exit {done.code}: {done.last}"
    assert complete_once(place / "runs" / "small") == 4
    synced = command(place, "sync", "runs/small")
    assert "Traceback" not in synced.err, synced.err[-400:]
    said = next((line for line in done.out.splitlines() if "MLflow" in line), "nothing said")
    return f"4 trials complete; said: {said[:120]}; sync exit {synced.code}"


def _locked(place: Path) -> str:
    study(place, base=SLOW)
    driver = _driver(place, "local")
    _wait(lambda: any(row["event"] == "trial" for row in _rows(place)))
    with sqlite3.connect(place / "runs" / "mlflow.db") as database:
        database.execute("begin exclusive")
        assert driver.wait(PATIENCE) == 0
        database.rollback()
    assert complete_once(place / "runs" / "small") == 4
    synced = command(place, "sync", "runs/small")
    assert synced.code == 0, synced.last
    return f"4 trials complete; {synced.last}"


def _no_server(place: Path) -> str:
    study(place, base=TINY, arms={"a": {}}, seeds=1)
    done = command(place, "run", "small.yaml", "--backend", "local", "--tracking-uri", "http://u:secret@127.0.0.1:9")
    assert "Traceback" not in done.err, done.err[-400:]
    lines = done.err.splitlines() + done.out.splitlines()
    said = next((line for line in lines if "127.0.0.1:9" in line and "does not answer" in line), None)
    assert said is not None, f"no line says that the server does not answer: {lines}"
    assert complete_once(place / "runs" / "small") == 1 if done.code == 0 else done.code == 2
    written = [path for path in (place / "runs").rglob("*") if path.is_file() and b"secret" in path.read_bytes()]
    assert "secret" not in done.err + done.out, "the password was printed"
    assert not written, f"the password is in {written}"
    return f"exit {done.code}; said: {said[:120]}"


def _two_at_once(place: Path) -> str:
    study(place)
    other = place / "other.yaml"
    other.write_text((place / "small.yaml").read_text().replace("name: small", "name: other"))
    script = place / "program.py"
    script.write_text(RUN)
    words = [sys.executable, str(script)]
    drivers = [
        subprocess.Popen([*words, str(file), str(place / "runs"), "local", "1"], cwd=place, env=environment(place))
        for file in (place / "small.yaml", other)
    ]
    assert [driver.wait(PATIENCE) for driver in drivers] == [0, 0]
    return "both complete, exit 0"


# ---- Ray -----------------------------------------------------------------------------------------------------------


def _ray() -> Iterator[Fault]:
    yield Fault("ray", "a worker killed in mid-trial", "a second attempt; all complete", _killed_worker)
    yield Fault("ray", "a stranger without a token", "refused by our own cluster", _stranger)


def _killed_worker(place: Path) -> str:
    study(place, base={"steps": 40, "evaluation.every": 10, "env.kwargs": {"sleep": 0.5}})
    driver = _driver(place, "ray")
    _wait(lambda: any(row["event"] == "trial" for row in _rows(place)))
    time.sleep(0.7)
    workers = [
        p for p in psutil.Process(driver.pid).children(recursive=True) if "ImplicitFunc" in " ".join(p.cmdline())
    ]
    workers[0].send_signal(signal.SIGKILL)
    assert driver.wait(PATIENCE) == 0
    deaths = [row["error"]["status"] for row in _rows(place) if row.get("state") == "FAILED"]
    assert complete_once(place / "runs" / "small") == 4
    return f"recorded as {', '.join(deaths)}; 4 trials complete"


def _stranger(place: Path) -> str:
    study(place, base={"steps": 40, "evaluation.every": 10, "env.kwargs": {"sleep": 1.5}})
    driver = _driver(place, "ray")
    _wait(lambda: any(row["event"] == "trial" for row in _rows(place)))
    gcs = next(p for p in psutil.Process(driver.pid).children(recursive=True) if p.name() == "gcs_server")
    ports = {c.laddr.port for c in gcs.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
    hosts = {c.laddr.ip for c in gcs.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
    code = (
        "import ray, sys\ntry:\n    ray.init(address=sys.argv[1], log_to_driver=False, configure_logging=False)\n"
        "except BaseException as refused:\n    print('refused:', type(refused).__name__)\nelse:\n    print('let in')\n"
    )
    # the stranger knocks twice and not for 20 s
    knocks = {"RAY_NUM_REDIS_GET_RETRIES": "2", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "HOME": "/nonexistent"}
    tried = [python(place, code, f"127.0.0.1:{port}", **knocks) for port in sorted(ports)]
    driver.wait(PATIENCE)
    assert not [one for one in tried if "let in" in one.out], "a stranger was let in"
    return f"refused on all {len(ports)} ports of the head, which listen on {', '.join(sorted(hosts))}"


# ---- models and their cache ------------------------------------------------------------------------------------------


def _models() -> Iterator[Fault]:
    cases = {
        "its weights torn": lambda folder: _edit(folder / "model.safetensors", lambda data: data[: len(data) // 2]),
        "one bit of its weights flipped": lambda folder: _edit(folder / "model.safetensors", _flip),
        "its recipe truncated": lambda folder: _edit(folder / "recipe.json", lambda data: data[:20]),
        "emptied": lambda folder: [path.unlink() for path in folder.iterdir()],
    }
    for name, spoil in cases.items():
        yield Fault(
            "cache",
            f"a cached model, {name}",
            "noticed, named and built again; the study completes",
            lambda place, spoil=spoil: _spoiled_cache(place, spoil),
        )
    yield Fault("cache", "the cache deleted in mid-run", "the run completes, or resumes", _deleted_cache)
    yield Fault("cache", "the cache read-only in mid-run", "the run completes, or resumes", _read_only_cache)
    for share in (0.05, 0.5, 0.9):
        yield Fault(
            "cache",
            f"the driver killed after {share:.0%} of a model's file operations",
            "`resume` builds it and completes",
            lambda place, share=share: _while_built(place, share, "behead"),
            kills=1,
        )
        yield Fault(
            "cache",
            f"what builds a model killed after {share:.0%} of its file operations",
            "it is built all the same, and the run completes",
            lambda place, share=share: _while_built(place, share, "kill"),
            kills=1,
        )
        yield Fault(
            "cache",
            f"the disk is full after {share:.0%} of a model's file operations",
            "one line that names the cache; `resume` builds it and completes",
            lambda place, share=share: _while_built(place, share, "full"),
        )
    yield Fault("cache", "two studies build one model at once", "one builds, both complete", _one_model)


def _edit(path: Path, change: object) -> None:
    path.write_bytes(change(path.read_bytes()))  # type: ignore[operator]


def _flip(data: bytes) -> bytes:
    at = len(data) - 100
    return data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]


def _real(place: Path, name: str = "small") -> Path:
    path = place / f"{name}.yaml"
    arms = {"a": {}, "b": {"objective.distill_weight.kind": "linear"}}
    path.write_text(yaml.safe_dump({"name": name, "question": "Q?", "base": TINY, "arms": arms, "seeds": 1}))
    return path


def _spoiled_cache(place: Path, spoil: object) -> str:
    _real(place)
    words = ("run", "small.yaml", "--backend", "local")
    assert command(place, *words).code == 0
    before = results(place / "runs" / "small")
    (student,) = (place / "cache" / "models").glob("student-*[0-9a-f]")
    spoil(student)  # type: ignore[operator]
    done = command(place, *words, "--overwrite")
    assert done.code == 0, done.last
    assert results(place / "runs" / "small") == before, "other results"
    said = next((line for line in done.out.splitlines() if student.name in line), "")
    assert said, "the folder was not named"
    return f"{said.replace(str(place), '')[:130]}; same results"


def _deleted_cache(place: Path) -> str:
    _real(place)
    driver = subprocess.Popen(
        [sys.executable, "-m", "atod_sweep", "run", "small.yaml", "--backend", "local", "steps=60"],
        cwd=place,
        env=environment(place),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    _wait(lambda: any(row["event"] == "trial" for row in _rows(place)))
    for path in sorted((place / "cache" / "models").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    _, err = driver.communicate(timeout=PATIENCE)
    assert "Traceback" not in err, err[-400:]
    again = command(place, "resume", "runs/small") if driver.returncode else None
    assert complete_once(place / "runs" / "small") == 2, err
    return f"exit {driver.returncode}" + (f", resumed with exit {again.code}" if again else "") + "; 2 trials complete"


def _read_only_cache(place: Path) -> str:
    _real(place)
    under = {"FAULT_UNDER": str(place / "cache"), "FAULT_WHO": "worker", "FAULT_AT": "1", "FAULT_HOW": "readonly"}
    done = command(place, "run", "small.yaml", "--backend", "local", "--concurrency", "2", **under)
    assert "Traceback" not in done.err, done.err[-400:]
    again = command(place, "resume", "runs/small") if done.code else None
    assert complete_once(place / "runs" / "small") == 2, done.err
    return f"exit {done.code}" + (f", resumed with exit {again.code}" if again else "") + "; 2 trials complete"


def _while_built(place: Path, share: float, how: str) -> str:
    """A fault while the models are built, by processes of their own; operations are counted in an undisturbed run."""
    _real(place)
    words = ("run", "small.yaml", "--backend", "local")
    under, counted = {"FAULT_UNDER": str(place / "cache"), "FAULT_WHO": "worker"}, place / "count"
    assert command(place, *words, FAULT_COUNT=str(counted), **under).code == 0
    whole = results(place / "runs" / "small")
    (place / "runs").rename(place / "whole")
    (place / "cache").rename(place / "whole cache")
    at = str(max(1, int(share * max(map(int, counted.read_text().split())))))
    more = {"FAULT_AT": at, "FAULT_HOW": how, "FAULT_KILLED": str(place / "killed")}
    done = command(place, *words, **under, **more)
    assert "Traceback" not in done.err, done.err[-400:]
    assert done.code == {"behead": -signal.SIGKILL, "kill": 0, "full": 2}[how], f"exit {done.code}: {done.last}"
    said = {"behead": "killed", "kill": "built by the driver", "full": done.last.replace(str(place), "")[:160]}[how]
    assert how != "kill" or (place / "killed").is_file(), "nobody was killed"
    assert how != "full" or str(place / "cache") in done.last, done.last
    again = command(place, "resume", "runs/small", "--backend", "local")
    assert again.code == 0, again.last
    assert results(place / "runs" / "small") == whole
    return f"{said}; resumed, equal"


def _one_model(place: Path) -> str:
    names = ("one", "two")
    drivers = [
        subprocess.Popen(
            [sys.executable, "-m", "atod_sweep", "run", str(_real(place, name)), "--backend", "local"],
            cwd=place,
            env=environment(place),
            stdout=subprocess.DEVNULL,
        )
        for name in names
    ]
    assert [driver.wait(PATIENCE) for driver in drivers] == [0, 0]
    assert results(place / "runs" / "one") == results(place / "runs" / "two")
    return "both complete with the same results"


# ---- load ------------------------------------------------------------------------------------------------------------


def _many(place: Path) -> str:
    study(place, seeds=1000, base={"steps": 2, "evaluation.every": 1})
    code = RUN.replace("verbosity=-1", "callback=watch, verbosity=-1").replace(
        'if __name__ == "__main__":',
        "import json, psutil, time\nseen = []\n"
        "def watch(event):\n"
        "    if event.get('event') == 'trial' and event['state'] == 'COMPLETE':\n"
        "        seen.append((time.monotonic(), psutil.Process().memory_info().rss / 1e6))\n"
        "        if len(seen) == 2000: open('seen.json', 'w').write(json.dumps(seen))\n"
        'if __name__ == "__main__":',
    )
    begun = time.monotonic()
    done = python(place, code, str(place / "small.yaml"), str(place / "runs"), "local", "2", timeout=1800)
    took = time.monotonic() - begun
    assert done.code == 0, done.last
    seen = json.loads((place / "seen.json").read_text())
    early, late = (seen[i + 400][0] - seen[i][0] for i in (100, 1500))
    reported, report_work = _timed(lambda: command(place, "report", "runs/small", "--out", "again"))
    resumed, resume_work = _timed(lambda: fake_run(place))
    observed = (
        f"{took:.0f} s in all; {early / 0.4:.1f} ms a trial early, {late / 0.4:.1f} late; memory "
        f"{seen[100][1]:.0f} to {seen[-1][1]:.0f} MB; report {reported:.1f} s, {report_work:.1f} of a "
        f"processor; resume of the whole {resumed:.1f} s, {resume_work:.1f} of them"
    )
    assert late < 2 * early, observed
    assert seen[-1][1] < 1.2 * seen[100][1], observed
    assert (report_work <= 20.0, resume_work <= 5.0) == (True, True), observed
    return observed


def _timed(call: Callable[[], Done]) -> tuple[float, float]:
    """Seconds by the clock, and of a processor, which other work on the machine does not add to, of a command."""
    begun, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = call()
    assert done.code == 0, done.last
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    work = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return time.monotonic() - begun, work


# ---- helpers ---------------------------------------------------------------------------------------------------------


def _driver(place: Path, backend: str) -> subprocess.Popen[bytes]:
    script = place / "program.py"
    script.write_text(RUN)
    words = [sys.executable, str(script), str(place / "small.yaml"), str(place / "runs"), backend, "2"]
    return subprocess.Popen(words, cwd=place, env=environment(place), stdout=subprocess.DEVNULL)


def _rows(place: Path) -> list[dict[str, object]]:
    return ledger.read(place / "runs" / "small")


def _wait(condition: object, most: float = PATIENCE) -> None:
    begun = time.monotonic()
    while not condition():  # type: ignore[operator]
        assert time.monotonic() - begun < most, "it never came so far"
        time.sleep(0.1)
