"""MLflow as a mirror of the ledger: one parent run per study, one child per trial, written by the driver only.

Everything is found again by tags and written from the run's files, so that logging twice changes nothing: resuming, or
catching up after a server was away (`sync`), is the same code as logging live. A trial takes as few calls as MLflow's
client allows, since each costs its store milliseconds.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

import yaml

from atod_sweep.records import layout
from atod_sweep.records.ledger_rows import StudyRow, TrialRow
from atod_sweep.records.metrics import read_metrics
from atod_sweep.records.redaction import redacted
from atod_sweep.sweep.mlflow import content
from atod_sweep.sweep.mlflow.problems import Deleted, Gone
from atod_sweep.sweep.mlflow.stores import connect, file_of

EXPERIMENT = "atod-sweep"
_STATUS = {"RUNNING": "RUNNING", "COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAILED": "FAILED"}
_PARAM_BATCH, _METRIC_BATCH = 100, 800  # MLflow's limits are 100, and 1000 for everything in a batch
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # files of our own, and many of them


class NoMirror:
    """In a mirror's place where MLflow is not installed: the ledger has everything, and `sync` records it later."""

    uri = ""

    def begin(self) -> None:
        """Nothing to find."""

    def trial(self, row: TrialRow) -> None:
        """Nothing to bring up to date."""

    def end(self, status: str) -> None:
        """Nothing to close."""


class Mirror:
    """A study's runs in one MLflow store, from `begin` on.

    Every method may raise whatever a store raises; after that, `begin` takes everything up anew.
    """

    def __init__(self, uri: str, run_dir: Path, study: StudyRow, say: Callable[[str], None]) -> None:
        """MLflow is installed, and can use the address. `say` gets a line where something was repaired."""
        self.uri, self._run_dir, self._study, self._say = uri, run_dir, study, say

    # -- what the store has

    def begin(self) -> None:
        """Find or create the study's parent run, mark it as running, and find the trials that it has."""
        self.connect()
        self.parent = self._find_parent()
        self._children = {run.data.tags["atod.trial"]: run for run in self._search(self.parent)}
        self._logged: dict[str, int] = {}
        self._client.update_run(self.parent, status="RUNNING")
        self._client.set_tag(self.parent, "definition_hash", self._study["definition_hash"])
        for name in layout.DEFINITIONS:
            if (self._run_dir / name).is_file():
                self._client.log_artifact(self.parent, str(self._run_dir / name))

    def connect(self) -> None:
        """Find or create the experiment."""
        self._client = connect(self.uri, self._say)
        self._file = file_of(self.uri)
        self._experiment = self._find_experiment()

    def _find_experiment(self) -> str:
        found = self._client.get_experiment_by_name(EXPERIMENT)
        if found is None:
            local = self._file is not None  # a server knows best where its artifacts go
            folder = (self._run_dir.parent / layout.MLFLOW_ARTIFACTS).resolve().as_uri() if local else None
            return str(self._client.create_experiment(EXPERIMENT, artifact_location=folder))
        number, uri = found.experiment_id, redacted(self.uri)
        if found.lifecycle_stage != "active":
            raise Deleted(
                f"MLflow at {uri}: the experiment {EXPERIMENT!r} was deleted; bring it back with: "
                f"MLFLOW_TRACKING_URI={uri} mlflow experiments restore --experiment-id {number}"
            )
        return str(number)

    def _find_parent(self) -> str:
        study = self._study
        found = self._client.search_runs([self._experiment], f"tags.`atod.run` = '{study['id']}'", max_results=1)
        if found:
            return str(found[0].info.run_id)
        tags = content.tags({"atod.run": study["id"], "question": study["question"], **content.git(study)})
        run = self._client.create_run(self._experiment, int(study["time"] * 1000), tags, run_name=study["name"])
        return str(run.info.run_id)

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

    def _check_there(self) -> None:
        """Raise Gone if the database was taken away: sqlite would go on writing into the file that nobody sees."""
        if self._file is not None and not self._file.exists():
            raise Gone(f"MLflow at {redacted(self.uri)} is gone: {self._file} was deleted or moved; put it back")

    # -- bringing it up to date

    def trial(self, row: TrialRow) -> None:
        """Bring a trial's run up to its ledger row and metrics file."""
        self._check_there()
        run = self._children.get(row["trial"])
        if run is not None and _is_current(run, row):
            return
        folder = layout.trial_folder(self._run_dir, row["trial"])
        points = list(content.points(read_metrics(folder / layout.METRICS)))
        tags = content.grown(row, points[-1][0] if points else -1)
        is_new = run is None
        if run is None:
            run = self._create(row, tags if row["state"] != "RUNNING" else {})
        self._log(run, row, folder, points, {} if is_new and row["state"] != "RUNNING" else tags)
        if row["state"] == "RUNNING":
            if run.info.status != "RUNNING":  # another attempt
                self._client.update_run(run.info.run_id, status="RUNNING")
            return
        self._keep(run, folder / layout.METRICS)
        for file in sorted((folder / layout.SAMPLES).glob("step-*.json")):
            self._keep(run, file, layout.SAMPLES)
        self._client.set_terminated(run.info.run_id, _STATUS[row["state"]], int(row["time"] * 1000))

    def _create(self, row: TrialRow, tags: dict[str, str]) -> Any:
        tags = {**content.born(row, self.parent, self._study), **tags}
        run = self._client.create_run(self._experiment, int(row["time"] * 1000), tags, run_name=row["trial"])
        self._children[row["trial"]] = run
        return run

    def _log(
        self, run: Any, row: TrialRow, folder: Path, points: list[tuple[int, dict[str, float]]], tags: dict[str, str]
    ) -> None:
        """Config, new metrics and state. The state comes last: it says which step's metrics are there."""
        from mlflow.entities import Metric, Param, RunTag

        run_id, begun, trial = run.info.run_id, run.info.start_time, row["trial"]
        done = self._logged.get(trial, _last_logged(run, row))
        params: list[Any] = []
        if done is None:
            config = yaml.load((folder / layout.CONFIG).read_text(encoding="utf-8"), _LOADER)
            params = [Param(key, value) for key, value in content.params(config).items()]
            self._keep(run, folder / layout.CONFIG)
        metrics: list[Any] = []
        for step, values in points:
            if done is None or step > done:
                # A time that follows from the step: the store drops a point that it already has.
                metrics += [Metric(key, value, begun + step, step) for key, value in values.items()]
        last, shown = points[-1] if points else (-1, {})
        at = max(last, 0)
        final = {key: value for key, value in content.totals(row).items() if shown.get(key) != value}
        metrics += [Metric(key, value, begun + at, at) for key, value in final.items()]
        *batches, metrics = _batches(metrics, _METRIC_BATCH)
        for batch in batches:
            self._client.log_batch(run_id, metrics=batch)
        *batches, params = _batches(params, _PARAM_BATCH)
        for batch in batches:
            self._client.log_batch(run_id, params=batch)
        changed = [RunTag(key, value) for key, value in tags.items() if run.data.tags.get(key) != value]
        self._client.log_batch(run_id, metrics=metrics, params=params, tags=changed)
        self._logged[trial] = last

    def _keep(self, run: Any, path: Path, under: str = "") -> None:
        """Store a file as an artifact, in the folder `under` of them.

        Into a folder here it is copied: MLflow would look the run up first.
        """
        if not path.is_file():
            return
        if not run.info.artifact_uri.startswith("file:"):
            self._client.log_artifact(run.info.run_id, str(path), under or None)
            return
        folder = Path(url2pathname(urlparse(run.info.artifact_uri).path)) / under
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / path.name)

    def end(self, status: str) -> None:
        """Close the parent run; the report and the ledger become its artifacts."""
        self._check_there()
        for name in (layout.LEDGER, layout.REPORT_HTML, layout.REPORT_MD, layout.BEST_SCHEDULE):
            if (self._run_dir / name).is_file():
                self._client.log_artifact(self.parent, str(self._run_dir / name))
        for name in (layout.FIGURES, layout.TABLES):
            if (self._run_dir / name).is_dir():
                self._client.log_artifacts(self.parent, str(self._run_dir / name), name)
        self._client.set_terminated(self.parent, status)


def _batches(items: list[Any], size: int) -> list[list[Any]]:
    """Pieces of at most `size`; one empty piece of nothing."""
    return [items[start : start + size] for start in range(0, len(items) or 1, size)]


def _last_logged(run: Any, row: TrialRow) -> int | None:
    """The last step whose metrics are in MLflow; None if nothing is for sure: the run is new, or was cut off when it
    was made for a trial that had ended."""
    tags, is_closed = run.data.tags, run.info.status in ("FINISHED", "KILLED", "FAILED")
    cut_off = not is_closed and row["state"] != "RUNNING" and tags.get("state") == row["state"]
    return None if cut_off or "atod.step" not in tags else int(tags["atod.step"])


def _is_current(run: Any, row: TrialRow) -> bool:
    """True if the run was closed for this very row: closing is the last thing that happens to it."""
    tags = run.data.tags
    same = tags.get("state") == row["state"] and tags.get("attempt") == str(row["attempt"])
    return same and row["state"] != "RUNNING" and run.info.status == _STATUS[row["state"]]
