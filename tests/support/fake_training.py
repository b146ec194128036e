"""A trainer that costs nothing and learns by formula: success = 0.1 + lr * step + seed / 1000.

`env.kwargs.fault` makes it misbehave; see the branches below.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

from atod_sweep.envs.failures import EnvironmentFailed
from atod_sweep.sweep.trials.jobs import Trainer
from atod_sweep.training.failures import Diverged

FAKE = Trainer("fake_training:train", "fake_training:evaluate", "fake_training:ensure")


class Panic(BaseException):
    """What the bindings of other languages raise: no Exception."""


# Faults that would end a process that did not expect them.
ENDINGS = {
    "exit": lambda: SystemExit(0),
    "interrupt": KeyboardInterrupt,
    "generator": GeneratorExit,
    "panic": lambda: Panic("index out of bounds"),
}


@dataclass(frozen=True)
class Result:
    final: dict[str, float]
    cost: dict[str, float]


@dataclass(frozen=True)
class Ref:
    path: str
    digest: str = "d"
    success: float | None = 0.5
    built: bool = False
    seconds: float = 0.0


@dataclass(frozen=True)
class Models:
    teacher: Ref | None
    student: Ref


def ensure(config, note=lambda _: None):
    return Models(Ref(f"/models/teacher-{config.teacher.recipe.horizons}"), Ref("/models/student"))


def ensure_student(config, note=lambda _: None):
    """A student whose folder the test has made."""
    return Models(None, Ref(os.environ["FAKE_STUDENT"]))


def evaluate(config, path, role):
    success = 0.61 if role == "teacher" else 0.1
    found = {"eval/success": success, "eval/path_length": float(len(str(path)))}
    return found | (final(config, success) if config.evaluation.final else {})


def final(config, success):
    """Final sets of which each is a hundredth harder than the one before."""
    by_set = [success - k / 100 for k in range(config.evaluation.final.sets)]
    found = {f"final/success/set{k}": value for k, value in enumerate(by_set)}
    return {"final/success": sum(by_set) / len(by_set), **found, "final/outcomes": {"values": [], "index": ""}}


def row(config, step):
    success = 0.1 + config.optimiser.lr * step + config.seed / 1000
    return {"phase": "eval", "step": step, "eval/success": success, "cost/env_steps": 64.0 * step}


def train(config, directory, report, resume=False):
    fault = config.env.kwargs.get("fault", "")
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    checkpoint = directory / "checkpoint.json"
    first = json.loads(checkpoint.read_text()) if resume and checkpoint.is_file() else 0
    if first == 0:
        (directory / "samples").mkdir(exist_ok=True)
        (directory / "samples" / "step-000000.json").write_text("[]")
        report([row(config, 0)])
    every = config.evaluation.every
    for step in range(first + every, config.steps + 1, every):
        time.sleep(config.env.kwargs.get("sleep", 0.0))
        if fault == "hang":
            while True:
                time.sleep(0.01)
        if fault == "freeze":
            time.sleep(120)
        if fault == "hog":
            hoard = [bytearray(100_000_000) for _ in range(4)]
            while hoard:
                time.sleep(0.01)
        if fault == "diverge":
            raise Diverged("loss is nan at step 3")
        if fault in ENDINGS:
            raise ENDINGS[fault]()
        if fault == "half":
            raise ValueError("half a character: \ud83d")
        if fault == "bug":
            raise KeyError("oops")
        if fault == "flaky" and not resume and step > every:
            raise EnvironmentFailed("connection reset")
        if fault == "die" and not resume and step > every:
            os._exit(9)
        if fault == "nan" and step + every > config.steps:
            report([row(config, step) | {"eval/success": float("nan")}])
            return Result({"eval/success": float("nan")}, {})
        train_row = {
            "phase": "train",
            "step": step,
            "loss": 1.0 / step,
            "turn_weight": [1.0, 0.5],
            "pid": float(os.getpid()),
        }
        report([train_row, row(config, step)])
        staging = checkpoint.with_suffix(".tmp")
        staging.write_text(json.dumps(step))
        staging.replace(checkpoint)  # whole, and only what the driver has heard of
    result = {"eval/success": row(config, config.steps)["eval/success"]}
    if config.evaluation.final:
        found = final(config, result["eval/success"])
        report([{"phase": "final", "step": config.steps, **found}])
        result |= {key: value for key, value in found.items() if key != "final/outcomes"}
    return Result(result, {"env_steps": 64.0 * config.steps})
