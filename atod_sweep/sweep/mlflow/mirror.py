"""MLflow as a mirror of the ledger: one parent run per study, one child per trial, written by the driver only.

Everything is found again by tags and written from the run's files, so that logging twice changes nothing: resuming, or
catching up after a server was away (`sync`), is the same code as logging live.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from atod_sweep.config.base import load_yaml
from atod_sweep.config.files import flatten
from atod_sweep.errors import UserError
from atod_sweep.records import ledger
from atod_sweep.records.metric_names import is_final_set
from atod_sweep.records.rows import read_rows
from atod_sweep.sweep.record.recorder import METRICS
from atod_sweep.sweep.trials.jobs import Row

EXPERIMENT = "atod-sweep"
DEFINITIONS = ("study.yaml", "search.yaml")  # a run folder holds one of them
_STATUS = {"RUNNING": "RUNNING", "COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAILED": "FAILED"}
_PARAM_BATCH, _METRIC_BATCH, _PARAM_LENGTH, _TAG_LENGTH = 100, 1000, 6000, 5000  # MLflow's limits


def default_uri(runs: Path) -> str:
    """The database beside the studies."""
    return f"sqlite:///{runs.resolve() / 'mlflow.db'}"


class NotInstalled(UserError):
    """MLflow is absent from this machine."""


class NoMirror:
    """In a mirror's place where MLflow is not installed: the ledger has everything, and `sync` records it later."""

    def begin(self) -> None:
        """Nothing to find."""

    def trial(self, row: Row) -> None:
        """Nothing to bring up to date."""

    def end(self, status: str) -> None:
        """Nothing to close."""


class Mirror:
    """A study's runs in one MLflow store. Every method may raise whatever the store raises."""

    def __init__(self, uri: str, run_dir: Path, study: Row) -> None:
        """Connect. UserError if the store does not answer, NotInstalled if MLflow is absent."""
        # A store that does not answer must not hold the driver up for minutes; and nobody asked to be counted.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
        try:
            from mlflow import MlflowClient
        except ModuleNotFoundError:
            raise NotInstalled(f"--tracking-uri {uri!r}: MLflow is not installed; pip install mlflow") from None

        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        self._uri, self._run_dir, self._study = uri, run_dir, study
        try:
            self._client = MlflowClient(tracking_uri=uri)
            self._experiment = self._find_experiment()
        except Exception as error:
            reason = " ".join(str(error).split())
            raise UserError(f"--tracking-uri {uri!r}: MLflow does not answer there: {reason[:300]}") from None
        self._children: dict[str, Any] = {}
        self._logged: dict[str, int] = {}

    def _find_experiment(self) -> str:
        found = self._client.get_experiment_by_name(EXPERIMENT)
        if found is not None:
            return found.experiment_id
        local = self._uri.startswith("sqlite")  # a server knows best where its artifacts go
        folder = (self._run_dir.parent / "mlartifacts").resolve().as_uri() if local else None
        return self._client.create_experiment(EXPERIMENT, artifact_location=folder)

    def _find_parent(self) -> str:
        study = self._study
        found = self._client.search_runs([self._experiment], f"tags.`atod.run` = '{study['id']}'", max_results=1)
        if found:
            return found[0].info.run_id
        tags = {"atod.run": study["id"], "question": study["question"], **_git_tag(study)}
        run = self._client.create_run(self._experiment, int(study["time"] * 1000), _tags(tags), run_name=study["name"])
        return run.info.run_id

    def _search(self, parent: str) -> Iterator[Any]:
        token: str | None = None
        while True:
            page = self._client.search_runs(
                [self._experiment], f"tags.`mlflow.parentRunId` = '{parent}'", max_results=1000, page_token=token
            )
            yield from page
            token = page.token
            if not token:
                return

    def begin(self) -> None:
        """Find or create the study's parent run, mark it as running, and find the trials that it has."""
        self.parent = self._find_parent()
        self._children = {run.data.tags["atod.trial"]: run for run in self._search(self.parent)}
        self._client.update_run(self.parent, status="RUNNING")
        self._client.set_tag(self.parent, "definition_hash", self._study["definition_hash"])
        for name in DEFINITIONS:
            if (self._run_dir / name).is_file():
                self._client.log_artifact(self.parent, str(self._run_dir / name))

    def end(self, status: str) -> None:
        """Close the parent run; the report and the ledger become its artifacts."""
        for name in ("ledger.jsonl", "report.html", "report.md", "best_schedule.yaml"):
            if (self._run_dir / name).is_file():
                self._client.log_artifact(self.parent, str(self._run_dir / name))
        for name in ("figures", "tables"):
            if (self._run_dir / name).is_dir():
                self._client.log_artifacts(self.parent, str(self._run_dir / name), name)
        self._client.set_terminated(self.parent, status)

    def trial(self, row: Row) -> None:
        """Bring a trial's run up to its ledger row and metrics file."""
        from mlflow.entities import Metric, RunTag

        run = self._children.get(row["trial"]) or self._create(row)
        if _is_current(run, row):
            return
        if row["trial"] not in self._logged and "atod.step" not in run.data.tags:  # new, or cut off when it was
            self._describe(run.info.run_id, row["trial"])
        run_id, begun = run.info.run_id, run.info.start_time
        done = self._logged.get(row["trial"], int(run.data.tags.get("atod.step", -1)))
        last = done
        metrics = []
        for step, values in points(read_rows(self._run_dir / "trials" / row["trial"] / METRICS)):
            if step > done:
                # A time that follows from the step: the store drops a point that it already has.
                metrics += [Metric(key, value, begun + step, step) for key, value in values.items()]
                last = step
        at = max(last, 0)
        final = {**{f"cost/{k}": v for k, v in row.get("cost", {}).items()}, **row.get("metrics", {})}
        metrics += [Metric(_key(k), value, begun + at, at) for k, value in final.items() if _is_logged(k, value)]
        for start in range(0, len(metrics), _METRIC_BATCH):
            self._client.log_batch(run_id, metrics=metrics[start : start + _METRIC_BATCH])
        error = row.get("error") or {}
        tags = {"state": row["state"], "attempt": row["attempt"], "atod.step": last, "worker": row.get("worker", "")}
        tags |= {"error": f"{error['status']}: {error['message']}"} if error else {}
        self._client.log_batch(run_id, tags=[RunTag(key, value) for key, value in _tags(tags).items()])
        self._logged[row["trial"]] = last
        if row["state"] == "RUNNING":
            if run.info.status != "RUNNING":  # another attempt
                self._client.update_run(run_id, status="RUNNING")
            return
        path = self._run_dir / "trials" / row["trial"] / METRICS
        if path.is_file():
            self._client.log_artifact(run_id, str(path))
        self._client.set_terminated(run_id, _STATUS[row["state"]], int(row["time"] * 1000))

    def _create(self, row: Row) -> Any:
        tags: Row = {
            "mlflow.parentRunId": self.parent,
            "atod.trial": row["trial"],
            "arm": row["arm"],
            "role": row["role"],
            "seed": row["seed"],
            "config_hash": row["config_hash"],
            **{key: row[key] for key in ("configuration", "phase") if key in row},
            **{f"level.{factor}": level for factor, level in row["levels"].items()},
            **_git_tag(self._study),
        }
        run = self._client.create_run(self._experiment, int(row["time"] * 1000), _tags(tags), run_name=row["trial"])
        self._children[row["trial"]] = run
        return run

    def _describe(self, run_id: str, trial: str) -> None:
        """Store the config, as parameters and as a file."""
        from mlflow.entities import Param

        config = self._run_dir / "trials" / trial / "config.yaml"
        params = [Param(_key(key), json.dumps(v)[:_PARAM_LENGTH]) for key, v in flatten(load_yaml(config)).items()]
        for start in range(0, len(params), _PARAM_BATCH):
            self._client.log_batch(run_id, params=params[start : start + _PARAM_BATCH])
        self._client.log_artifact(run_id, str(config))


def _is_current(run: Any, row: Row) -> bool:
    """True if the run was closed for this very row: closing is the last thing that happens to it."""
    tags = run.data.tags
    same = tags.get("state") == row["state"] and tags.get("attempt") == str(row["attempt"])
    return same and row["state"] != "RUNNING" and run.info.status == _STATUS[row["state"]]


def points(rows: list[Row]) -> Iterator[tuple[int, dict[str, float]]]:
    """What MLflow gets of a metrics file: every evaluation with the training row before it.

    The rows in between stay in metrics.jsonl (an artifact of the run): logging them all would cost more than it shows.
    """
    train: Row = {}
    for row in rows:
        if row["phase"] == "train":
            train = row
            continue
        values = {**train, **row}
        numbers = {key: float(value) for key, value in values.items() if _is_logged(key, value)}
        for key, value in values.items():
            if isinstance(value, list):
                numbers |= {f"{key}/{i}": float(item) for i, item in enumerate(value) if item is not None}
        yield row["step"], {_key(key): value for key, value in numbers.items() if key != "step"}
        train = {}


def _is_logged(key: str, value: object) -> bool:
    """Numbers; of a final metric only the mean over its sets, since a file store cannot hold a name and names below."""
    return isinstance(value, int | float) and not is_final_set(key)


def _key(key: str) -> str:
    return re.sub(r"[^\w\-. :/]", "_", key)[:250]


def _tags(tags: dict[str, Any]) -> dict[str, str]:
    return {_key(key): str(value)[:_TAG_LENGTH] for key, value in tags.items()}


def _git_tag(study: Row) -> dict[str, str]:
    return {"mlflow.source.git.commit": study["git"]} if study.get("git") else {}


def sync(run_dir: Path, uri: str) -> int:
    """Bring MLflow up to the ledger of a run; the number of trials. UserError if it has none, or is being written."""
    if ledger.fold(ledger.read(run_dir)).study is None:
        raise UserError(f"{run_dir}: holds no ledger of a study; give the folder of a run, for example runs/quickstart")
    with ledger.locked(run_dir):
        return _sync(run_dir, uri)


def _sync(run_dir: Path, uri: str) -> int:
    history = ledger.fold(ledger.read(run_dir))
    assert history.study is not None
    mirror = Mirror(uri, run_dir, history.studies[0] | {"definition_hash": history.study["definition_hash"]})
    mirror.begin()
    for row in history.trials.values():
        # Nobody is writing: what the ledger left as RUNNING is not.
        mirror.trial({**row, "state": "FAILED"} if row["state"] == "RUNNING" else row)
    mirror.end("FINISHED" if history.count("RUNNING") == 0 else "KILLED")
    return len(history.trials)
