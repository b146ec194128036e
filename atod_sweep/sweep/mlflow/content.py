"""What MLflow gets of a trial: its metrics as points, its config as parameters, its row as tags. Pure functions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from atod_sweep.config.files import flatten
from atod_sweep.records.ledger_rows import StudyRow, TrialRow
from atod_sweep.records.metric_names import is_final_set
from atod_sweep.records.metrics import MetricRow

_KEY_LENGTH, _PARAM_LENGTH, _TAG_LENGTH = 250, 6000, 5000  # MLflow's limits


def points(rows: list[MetricRow]) -> Iterator[tuple[int, dict[str, float]]]:
    """What MLflow gets of a metrics file: every evaluation with the training row before it.

    The rows in between stay in metrics.jsonl (an artifact of the run): logging them all would cost more than it shows.
    """
    train: MetricRow = {}
    for row in rows:
        if row["phase"] == "train":
            train = row
            continue
        values = {**train, **row}
        numbers = {key: float(value) for key, value in values.items() if _is_logged(key, value)}
        for key, value in values.items():
            if isinstance(value, list):
                numbers |= {f"{key}/{i}": float(item) for i, item in enumerate(value) if item is not None}
        yield row["step"], {name(key): value for key, value in numbers.items() if key != "step"}
        train = {}


def totals(row: TrialRow) -> dict[str, float]:
    """Final metrics and costs of a trial."""
    costs = {f"cost/{what}": value for what, value in row.get("cost", {}).items()}
    found = {**costs, **row.get("metrics", {})}
    return {name(key): float(value) for key, value in found.items() if _is_logged(key, value)}


def _is_logged(key: str, value: object) -> bool:
    """Numbers; of a final metric only the mean over its sets, since a file store cannot hold a name and names below."""
    return isinstance(value, int | float) and not is_final_set(key)


def params(config: Mapping[str, Any]) -> dict[str, str]:
    """A resolved config under its dotted keys."""
    return {name(key): json.dumps(value)[:_PARAM_LENGTH] for key, value in flatten(config).items()}


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
            **git(study),
        }
    )


def grown(row: TrialRow, step: int) -> dict[str, str]:
    """Tags of a trial as its ledger row has it; `step`: the last step whose metrics are in MLflow."""
    error = row.get("error")
    found = {"state": row["state"], "attempt": row["attempt"], "atod.step": step, "worker": row.get("worker", "")}
    return tags(found | ({"error": f"{error['status']}: {error['message']}"} if error else {}))


def git(study: StudyRow) -> dict[str, str]:
    """The tag by which MLflow knows the revision of the code."""
    return {"mlflow.source.git.commit": study["git"]} if study["git"] else {}


def tags(found: Mapping[str, Any]) -> dict[str, str]:
    """Tags as MLflow accepts them."""
    return {name(key): str(value)[:_TAG_LENGTH] for key, value in found.items()}


def name(key: str) -> str:
    """A key as MLflow accepts it."""
    return re.sub(r"[^\w\-. :/]", "_", key)[:_KEY_LENGTH]
