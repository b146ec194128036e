"""MLflow as a mirror of the ledger: one parent run per study, one child per trial, written by the driver only.

Everything is found again by tags and written from the run's files, so that logging twice changes nothing: resuming, or
catching up after a server was away (`sync`), is the same code as logging live. A trial takes as few calls as MLflow's
client allows, since each costs its store milliseconds.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from atod_sweep.config.base import load_own
from atod_sweep.records import layout
from atod_sweep.records.answer import Answer
from atod_sweep.records.ledger_rows import StudyRow, TrialRow
from atod_sweep.records.metrics import read_metrics
from atod_sweep.records.redaction import redacted
from atod_sweep.sweep.loggers import content
from atod_sweep.sweep.mlflow import moved
from atod_sweep.sweep.mlflow.left_running import at_work, close_left_running
from atod_sweep.sweep.mlflow.problems import Lost, explain
from atod_sweep.sweep.mlflow.stores import Place, connect, file_of, search

_STATUS = {"RUNNING": "RUNNING", "COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAILED": "FAILED"}
_CLOSED = "atod.closed"  # time of the last ledger row that a parent run was closed with; 0: it lacks a trial
_PARAM_BATCH, _METRIC_BATCH = 100, 800  # MLflow's limits are 100, and 1000 for everything in a batch
_KIND = {"mlflow.experimentKind": "custom_model_development"}  # the UI shows runs and charts, not traces of chats


class Mirror:
    """A study's runs in one MLflow store, from `begin` on: a `Logger`."""

    name, option = "MLflow", ""

    def __init__(
        self, where: Place, run_dir: Path, study: StudyRow, say: Callable[[str], None], anew: bool = False
    ) -> None:
        """MLflow is installed, and can use the address. `say` gets a line where something was repaired.

        `anew`: look every trial up, instead of believing that those are there which the run was last closed with.
        """
        self.uri, self._where, self._run_dir, self._study, self._say = where.uri, where, run_dir, study, say
        self._anew = anew

    @property
    def place(self) -> str:
        """The store, the experiment, and where its page is, in the mode that shows runs."""
        page = f"#/experiments/{self._experiment}/runs?workflowType=machine_learning"
        uri = redacted(self.uri)
        if self._file is None:
            look = f"{uri}/{page}" if uri.startswith("http") else f"mlflow ui --backend-store-uri {uri}"
        else:
            look = f"mlflow ui --backend-store-uri {uri}, then http://127.0.0.1:5000/{page}"
        return f"MLflow: {uri}, experiment {self._where.experiment!r}; see {look}"

    def explain(self, error: Exception) -> str:
        return explain(error, self.uri)

    # -- what the store has

    def begin(self) -> None:
        """Find or create the study's parent run, mark it as running, and find the trials that it has."""
        self.connect()
        self.parent = self._find_parent()
        closed = self._client.get_run(self.parent).data.tags.get(_CLOSED, 0.0)
        self._closed = 0.0 if self._anew else float(closed)
        self._found: dict[str, Any] | None = None
        self._logged: dict[str, int] = {}
        self._configs: dict[str, dict[str, Any]] = {}
        self._missing: set[str] = set()  # trials that the store refused
        self._until = self._study["time"]  # of the last row; a run that is entered later did not last until then
        self._client.update_run(self.parent, status="RUNNING")
        self._describe()
        for name in layout.DEFINITIONS:
            if (self._run_dir / name).is_file():
                self._client.log_artifact(self.parent, str(self._run_dir / name))

    def connect(self) -> None:
        """Find or create the experiment, and close there what was left as running by processes that are gone."""
        self._client = connect(self.uri)
        self._file = file_of(self.uri)
        self._experiment = self._find_experiment()
        close_left_running(self._client, self._experiment, self._study["id"])

    def _find_experiment(self) -> str:
        name = self._where.experiment
        found = self._client.get_experiment_by_name(name)
        if found is None:
            # A server knows best where its artifacts go.
            folder = moved.beside(self._file).as_uri() if self._file is not None else None
            return str(self._client.create_experiment(name, artifact_location=folder, tags=_KIND))
        number, uri = found.experiment_id, redacted(self.uri)
        if found.lifecycle_stage != "active":
            raise Lost(
                f"MLflow at {uri}: the experiment {name!r} was deleted; bring it back with: "
                f"MLFLOW_TRACKING_URI={uri} mlflow experiments restore --experiment-id {number}"
            )
        for key, value in _KIND.items():
            if key not in found.tags:
                self._client.set_experiment_tag(number, key, value)
        if self._file is not None and (news := moved.follow(self._file, found.artifact_location)):
            self._say(news)
        return str(number)

    def _find_parent(self) -> str:
        study = self._study
        found = self._client.search_runs([self._experiment], f"tags.`atod.run` = '{study['id']}'", max_results=1)
        if found:
            return str(found[0].info.run_id)
        tags = content.tags({"atod.run": study["id"], "question": study["question"], **content.origin(study)})
        run = self._client.create_run(self._experiment, int(study["time"] * 1000), tags, run_name=study["name"])
        return str(run.info.run_id)

    def _describe(self) -> None:
        """What the study is: its base config, the tasks that it is judged by, its design, and where it is at work."""
        from mlflow.entities import Param, RunTag

        study, parent = self._study, self._client.get_run(self.parent)
        tags = {key: study[key] for key in ("definition_hash", "reference")} | at_work(self._run_dir)
        tags |= {"metric": study["metric"]["name"], "arms": ", ".join([*study["arms"], *study["controls"]])}
        base = study.get("base", study["definition"].get("base", {}))
        known = parent.data.params
        params = [Param(key, value) for key, value in content.params(base).items() if key not in known]
        for batch in _batches(params, _PARAM_BATCH):
            self._client.log_batch(self.parent, params=batch)
        self._client.log_batch(self.parent, tags=[RunTag(key, value) for key, value in content.tags(tags).items()])
        if base and not parent.inputs.dataset_inputs:
            self._plays(self.parent, [tasks for tasks in content.tasks(base) if tasks.use != "training"])

    def _plays(self, run_id: str, found: list[content.Tasks]) -> None:
        """Enter tasks as the data sets of a run."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        inputs = []
        for tasks in found:
            profile = json.dumps({"tasks": tasks.count})
            data = Dataset(tasks.env, tasks.digest, source_type="environment", source=tasks.source, profile=profile)
            inputs.append(DatasetInput(data, [InputTag("mlflow.data.context", tasks.use)]))
        self._client.log_inputs(run_id, inputs)

    @property
    def _children(self) -> dict[str, Any]:
        """The trials' runs; thousands take the store seconds, and a finished study asks for none."""
        if self._found is None:
            self._found = {run.data.tags["atod.trial"]: run for run in self._search(self.parent)}
        return self._found

    def _search(self, parent: str) -> list[Any]:
        return search(self._client, self._experiment, f"tags.`mlflow.parentRunId` = '{parent}'")

    def _check_there(self) -> None:
        """Raise Lost if the database was taken away: sqlite would go on writing into the file that nobody sees."""
        if self._file is not None and not self._file.exists():
            raise Lost(f"MLflow at {redacted(self.uri)} is gone: {self._file} was deleted or moved; put it back")

    # -- bringing it up to date

    def trial(self, row: TrialRow) -> None:
        self._check_there()
        self._until = max(self._until, row["time"])
        if row["state"] != "RUNNING" and row["time"] <= self._closed:
            return
        self._missing.add(row["trial"])
        self._bring(row)
        self._missing.remove(row["trial"])

    def _bring(self, row: TrialRow) -> None:
        run = self._children.get(row["trial"])
        if run is not None and _is_current(run, row):
            return
        folder = layout.trial_folder(self._run_dir, row["trial"])
        every = content.thinning(self._config(row["trial"], folder))
        points = list(content.points(read_metrics(folder / layout.METRICS), every))
        tags = content.grown(row, points[-1][0] if points else -1)
        is_new = run is None
        if run is None:
            born = content.born(row, self.parent, self._study) | (tags if row["state"] != "RUNNING" else {})
            run = self._client.create_run(self._experiment, int(row["time"] * 1000), born, run_name=row["trial"])
            self._children[row["trial"]] = run
        self._log(run, row, folder, points, {} if is_new and row["state"] != "RUNNING" else tags)
        if row["state"] == "RUNNING":
            if run.info.status != "RUNNING":  # another attempt
                self._client.update_run(run.info.run_id, status="RUNNING")
            return
        self._keep(run, folder / layout.METRICS)
        for file in sorted((folder / layout.SAMPLES).glob("step-*.json")):
            self._keep(run, file, layout.SAMPLES)
        self._client.set_terminated(run.info.run_id, _STATUS[row["state"]], int(row["time"] * 1000))

    def _config(self, trial: str, folder: Path) -> dict[str, Any]:
        if trial not in self._configs:
            self._configs[trial] = load_own(folder / layout.CONFIG)
        return self._configs[trial]

    def _log(
        self, run: Any, row: TrialRow, folder: Path, points: list[tuple[int, dict[str, float]]], tags: dict[str, str]
    ) -> None:
        """Config, new metrics and state. The state comes last: it says which step's metrics are there."""
        from mlflow.entities import Metric, Param, RunTag

        run_id, begun, trial = run.info.run_id, run.info.start_time, row["trial"]
        done = self._logged.get(trial, _last_logged(run, row))
        params: list[Any] = []
        if done is None:
            config, known = self._config(trial, folder), run.data.params
            params = [Param(key, value) for key, value in content.params(config).items() if key not in known]
            self._keep(run, folder / layout.CONFIG)
            is_trained = row["role"] not in ("teacher", "base")
            self._plays(run_id, [one for one in content.tasks(config) if is_trained or one.use != "training"])
        metrics: list[Any] = []
        for step, values in points:
            if done is None or step >= done:
                # A time that follows from the step: the store drops a point that it already has. The last step may
                # have been logged in part: it has a row of an evaluation and one of training.
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
        folder = moved.folder_of(run.info.artifact_uri)
        if path.is_file() and folder is not None:
            (folder / under).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / under / path.name)
        elif path.is_file():
            self._client.log_artifact(run.info.run_id, str(path), under or None)

    def end(self, status: str, answer: Answer | None) -> None:
        """Close the parent run with its answer; the report and the ledger become its artifacts."""
        self._check_there()
        if answer is not None:
            self._answered(answer)
        for name in (layout.LEDGER, layout.REPORT_HTML, layout.REPORT_MD, layout.BEST_SCHEDULE):
            if (self._run_dir / name).is_file():
                self._client.log_artifact(self.parent, str(self._run_dir / name))
        for name in (layout.FIGURES, layout.TABLES):
            if (self._run_dir / name).is_dir():
                self._client.log_artifacts(self.parent, str(self._run_dir / name), name)
        self._client.set_tag(self.parent, _CLOSED, repr(0.0 if self._missing else self._until))
        self._client.set_terminated(self.parent, status, int(self._until * 1000))

    def _answered(self, answer: Answer) -> None:
        """Numbers have the count of complete trials as their step: an answer that did not change is the same point."""
        from mlflow.entities import Metric, RunTag

        at = int(answer.numbers["trials/complete"])
        begun = self._client.get_run(self.parent).info.start_time
        words = content.tags({**answer.words, "mlflow.note.content": answer.note})
        self._client.log_batch(
            self.parent,
            metrics=[Metric(content.name(key), value, begun + at, at) for key, value in answer.numbers.items()],
            tags=[RunTag(key, value) for key, value in words.items()],
        )


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
