"""What loggers get of a trial: metrics as points, its config as parameters, its tasks as data sets, its row as tags.

Pure functions; names and lengths are those that MLflow takes.
"""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from atod_sweep.config.base import content_hash
from atod_sweep.config.files import flatten
from atod_sweep.records.anonymous import user
from atod_sweep.records.ledger_rows import StudyRow, TrialRow
from atod_sweep.records.metric_names import is_final_set
from atod_sweep.records.metrics import MetricRow

CURVE = 50  # points of a training curve between evaluations, at most, in a store to which each of them costs
_KEY_LENGTH, _PARAM_LENGTH, _TAG_LENGTH = 250, 6000, 5000  # MLflow's limits


def points(rows: Sequence[MetricRow], every: int = 1) -> Iterator[tuple[int, dict[str, float]]]:
    """All evaluations, the last training row before each, and of the others every `every`-th step's."""
    waiting: MetricRow | None = None
    for row in rows:
        if row["phase"] == "train" and row["step"] % every:
            waiting = row
            continue
        if row["phase"] != "train" and waiting is not None:
            yield _point(waiting)
        waiting = None
        yield _point(row)


def thinning(config: Mapping[str, Any]) -> int:
    """Steps between the training rows that a store gets to which every number costs: at most `CURVE` of a trial."""
    return max(1, math.ceil(config["steps"] / CURVE))


def _point(row: MetricRow) -> tuple[int, dict[str, float]]:
    """A training row without costs, of which the evaluations tell; an evaluation without its counts by turn."""
    is_train = row["phase"] == "train"
    numbers: dict[str, float] = {}
    for key, value in row.items():
        if _is_logged(key, value) and key != "step" and not (is_train and key.startswith("cost/")):
            numbers[name(key)] = float(value)
        elif isinstance(value, list) and is_train:
            numbers |= {name(f"{key}/{i}"): float(item) for i, item in enumerate(value) if item is not None}
    return row["step"], numbers


def totals(row: TrialRow) -> dict[str, float]:
    costs = {f"cost/{what}": value for what, value in row.get("cost", {}).items()}
    found = {**costs, **row.get("metrics", {})}
    return {name(key): float(value) for key, value in found.items() if _is_logged(key, value)}


def _is_logged(key: str, value: object) -> bool:
    """Numbers; of a final metric only the mean over its sets, since a file store cannot hold a name and names below."""
    return isinstance(value, int | float) and not is_final_set(key)


def params(config: Mapping[str, Any]) -> dict[str, str]:
    """A resolved config under its dotted keys, each value as `mlflow.log_params` writes it: `support_desk`, `True`."""
    return {name(key): str(value)[:_PARAM_LENGTH] for key, value in flatten(config).items()}


@dataclass(frozen=True)
class Tasks:
    """A set of tasks that a trial plays, for one purpose (`use`): the environment, and where its seeds come from."""

    use: str
    env: str
    source: str
    digest: str
    count: int


def tasks(config: Mapping[str, Any]) -> list[Tasks]:
    """The tasks that a trial of this resolved config trains on, is watched on, and at its end is judged by."""
    evaluation = config["evaluation"]
    final = evaluation.get("final")
    trained = {"split": "train", "seed": config["seed"], "tasks": config["steps"] * config["rollout"]["tasks"]}
    watched = {"split": "eval", "seed": evaluation["seed"], "tasks": evaluation["tasks"]}
    found = [_tasks("training", config, trained), _tasks("evaluation", config, watched)]
    if final is not None:
        judged = {"split": "eval", "sets": final["sets"], "tasks": final["sets"] * final["tasks"]}
        found.append(_tasks("final", config, judged))
    return found


def _tasks(use: str, config: Mapping[str, Any], drawn: dict[str, Any]) -> Tasks:
    source = {"env": config["env"], **drawn}
    return Tasks(use, config["env"]["id"], json.dumps(source, sort_keys=True), content_hash(source), drawn["tasks"])


def born(row: TrialRow, parent: str, study: StudyRow) -> dict[str, str]:
    """Tags of a trial that never change."""
    return tags(
        {
            "mlflow.parentRunId": parent,
            "atod.trial": row["trial"],
            "arm": row["arm"],
            "role": row["role"],
            "seed": row["seed"],
            "config_hash": row["config_hash"],
            **{key: value for key, value in row.items() if key in ("configuration", "phase")},
            **{f"level.{factor}": level for factor, level in row["levels"].items()},
            **origin(study),
        }
    )


def grown(row: TrialRow, step: int) -> dict[str, str]:
    """Tags of a trial as its ledger row has it; `step`: the last step whose metrics are in MLflow."""
    error = row.get("error")
    found = {"state": row["state"], "attempt": row["attempt"], "atod.step": step, "worker": row.get("worker", "")}
    return tags(found | ({"error": f"{error['status']}: {error['message']}"} if error else {}))


def origin(study: StudyRow) -> dict[str, str]:
    """The tags by which MLflow knows who ran what, and with which revision of the code."""
    program, *words = study["argv"] or ["atod-sweep"]
    words = [Path(program).name.replace("__main__.py", "atod-sweep"), *words]
    found = {"mlflow.source.type": "LOCAL", "mlflow.source.name": shlex.join(words), "mlflow.user": user()}
    return found | ({"mlflow.source.git.commit": study["git"]} if study["git"] else {})


def tags(found: Mapping[str, Any]) -> dict[str, str]:
    return {name(key): str(value)[:_TAG_LENGTH] for key, value in found.items()}


def name(key: str) -> str:
    """A key as MLflow accepts it: in its letters, and one that as a path has no part that is empty or made of dots.

    One that had to be changed, or is too long, ends in its hash, so that keys that are nearly alike stay apart; but for
    `pass@4`, which is known as `pass_4`.
    """
    known = re.sub(r"\bpass@(?=[0-9]+(?:/|$))", "pass_", key)
    parts = re.sub(r"[^\w\-. :/]", "_", known).split("/")
    found = "/".join(part if part.strip(".") else f"_{part}" for part in parts)
    if found == known and len(found) <= _KEY_LENGTH:
        return found
    return f"{found[: _KEY_LENGTH - 9]}_{content_hash(key)[:8]}"
