"""One run of a study or a search: its folder, models, MLflow and console, around whatever decides what to try."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any, assert_never, cast

from atod_sweep.config.train import model_key
from atod_sweep.errors import UserError
from atod_sweep.paths import located
from atod_sweep.records import layout, study_file
from atod_sweep.records.ledger import History, Ledger
from atod_sweep.records.ledger_rows import StudyRow, TrialRow
from atod_sweep.records.metrics import MetricRow
from atod_sweep.records.rows import write_whole
from atod_sweep.sweep import opening, preflight
from atod_sweep.sweep.backends import local
from atod_sweep.sweep.backends import ray as runner
from atod_sweep.sweep.loggers.background import Background
from atod_sweep.sweep.loggers.choice import LOGGERS, place
from atod_sweep.sweep.mlflow.mirror import Mirror
from atod_sweep.sweep.mlflow.stores import is_installed
from atod_sweep.sweep.models import ensure_models, expected_models
from atod_sweep.sweep.record import provenance
from atod_sweep.sweep.record.progress import Progress
from atod_sweep.sweep.record.recorder import Recorder
from atod_sweep.sweep.record.scoreboard import Scoreboard
from atod_sweep.sweep.sharing import Holding, key_of, left
from atod_sweep.sweep.studies.plan import Trial
from atod_sweep.sweep.took import Pace
from atod_sweep.sweep.trials.desk import FINISHED, Decided, Desk, Event, Expected, Redefined, Remarked
from atod_sweep.sweep.trials.jobs import Bounds, Job, SavedModel, Trainer
from atod_sweep.sweep.trials.source import Source
from atod_sweep.sweep.work import Options, Site, Work
from atod_sweep.training.pretraining.apart import Builders


class Session:
    """A run in progress: its ledger, models, mirror and console. What decides what to try sees its `Desk` only."""

    def __init__(
        self,
        work: Work,
        run_dir: Path,
        writer: Ledger,
        history: History,
        options: Options,
        held: Mapping[str, Holding],
    ) -> None:
        self.work, self.run_dir, self.history, self.options = work, run_dir, history, options
        self.row: dict[str, Any] = {}
        self.trials: dict[str, Trial] = {}
        self.latest: dict[str, TrialRow] = dict(history.trials)
        self.total = work.total
        self._held = held  # teachers that trials share
        self._writer = writer
        self._models: dict[str, Any] = {}
        self._awaited: tuple[str, ...] = ()
        self._board: Scoreboard | None = None
        self.pace = Pace(work.configs, options.site.address is None and options.trainer == Trainer())
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Time since this process took up the run."""
        return time.monotonic() - self._started

    @property
    def at_a_time(self) -> int:
        """Attempts that run side by side."""
        return at_a_time(self.work, self.options.site)

    @property
    def _share(self) -> float:
        """Of a machine's memory, for one trial; on a cluster, where nobody knows how many share a machine, all."""
        if self.options.site.address is not None:
            return 1.0
        return preflight.share(self.work.resources, self.at_a_time, self._held)

    def record(self, row: Mapping[str, Any]) -> None:
        """Write a row of another kind than a trial's into the ledger."""
        self._writer.append({**row, "time": time.time()})

    def desk(self, show: Progress) -> Desk:
        """The run as its source sees it."""
        options = self.options
        return Desk(
            folder=self.run_dir,
            definition_hash=self.row["definition_hash"],
            latest=MappingProxyType(self.latest),
            limits=options.limits,
            at_a_time=self.at_a_time,
            job=self.job,
            tell=lambda event: self._told(event, show),
            judge=options.hooks.judge,
        )

    def _told(self, event: Event, show: Progress) -> None:
        """Write down what the source decided."""
        match event:
            case Decided(row):
                self.record(row)
            case Redefined(changes):
                self.row |= changes
                self.record(self.row)
            case Expected(total):
                self.total = total
                if self._board is not None:
                    self._board.total = total
            case Remarked(text):
                show.note(text)
            case _:
                assert_never(event)

    def job(self, trial: Trial) -> Job:
        """The next attempt at a trial, which is from now on known by its id. UserError if it ran as another config."""
        self.trials[trial.id] = trial
        before, resources = self.latest.get(trial.id), left(self.work.resources, self._held.values())
        shared = key_of(trial.config) if self._held else None
        itself = None
        if trial.role in ("teacher", "base"):
            # Models of other settings, which a search may try, are made by the first trial that needs them.
            models = self._models[model_key(trial.config)]
            saved = models.teacher if trial.role == "teacher" else models.student
            itself = SavedModel("" if saved is None else saved.path, "base" if trial.role == "base" else "teacher")
        goal, site = self.work.goal, self.options.site
        own_process = site.backend == "ray" or local_workers(self.work, site) > 0
        return Job(
            trial=trial.id,
            attempt=before["attempt"] + 1 if before else 1,
            config=trial.config,
            directory=str(layout.trial_folder(self.run_dir, trial.id).resolve()),
            metrics=goal.reported(trial.arm, trial.levels),
            trainer=self.options.trainer,
            model=itself,
            bounds=Bounds(resources.seconds, resources.memory_gb, resources.gpu, own_process, self._share),
            awaits=self._awaited,
            teacher=shared if shared in self._held and itself is None else None,
        )

    # -- the run

    def prepare(self, show: Progress, row_id: str) -> list[Background]:
        """The study row and where trials are recorded beside the ledger.

        The row comes before the models, which take minutes to build: a run that is killed meanwhile is one to resume.
        For the same reason a first file comes before its row, and another one in its place after the row that vouches
        for it: the ledger always knows the file that is there.
        """
        text = self.work.document.text.encode()
        how = provenance.circumstances(self.work.definition, self.options.argv or sys.argv)
        how |= {"started_with": self.options.started_with, "file_sha256": study_file.fingerprint(text)}
        self.row = {"id": row_id, "event": "study", **self.work.row, **how}
        path = self.run_dir / self.work.document.file
        if not path.is_file():
            write_whole(path, text)
        if provenance.is_news(self.history.study, self.row):
            self.record(self.row)
        write_whole(path, text)
        return self._logging(show)

    def _find_models(self, building: Builders, show: Progress) -> None:
        show.doing(f"{'building' if building.busy else 'looking for'} the teacher and the base student")
        self._keep_models(building, show)

    def _keep_models(self, building: Builders, show: Progress) -> None:
        made = building.made(show.note)
        self._models = ensure_models(self.work.configs, self.options.trainer, show, made)
        pairs = {key: asdict(models) for key, models in self._models.items()}
        if provenance.are_others(self.history.study, pairs):
            self.record({"event": "models", "models": next(iter(pairs.values())), "pairs": pairs})

    def _logging(self, show: Progress) -> list[Background]:
        """MLflow, where it is installed, and what was asked for beside it."""
        study = cast(StudyRow, {**self.row, "time": time.time()})
        found: list[Background] = []
        if is_installed():
            show.doing("opening MLflow")
            mirror = Mirror(place(self.run_dir, self.options), self.run_dir, study, show.note)
            found.append(Background(mirror, self.run_dir, show))
            found[0].begin(wait=True)
        else:
            sync = f"atod-sweep sync {self.run_dir}"
            show.note(f"MLflow is not installed here; where it is, record this run with: {sync}")
        for name in self.options.tracking.loggers or ():
            found.append(Background(LOGGERS[name][0](self.run_dir, study), self.run_dir, show))
            found[-1].begin(wait=False)
        return found

    def run(self, show: Progress, tracking: list[Background], building: Builders) -> bool:
        """Run what the source hands out, once the models are there; True if it was stopped from outside."""
        site, work = self.options.site, self.work
        try:
            if site.backend == "local":
                self._find_models(building, show)
                source, sink = self._begin(show, tracking)
                local.run_local(source, sink, local_workers(work, site))
                return False
            with runner.OnRay(work.resources, site.concurrency or work.concurrency, self._ray_options(show)) as ray:
                if building.busy:
                    show.doing("building the models and starting Ray")
                    ray.start()
                if building.busy and building.suffice and site.address is None:
                    self._run_while_building(ray, building, show, tracking)
                    return False
                self._find_models(building, show)
                source, sink = self._begin(show, tracking)
                show.doing("starting Ray")
                ray.run(source, sink, self._model_folders())
        except KeyboardInterrupt:
            return True
        except OSError as error:  # the recorder's: trials catch their own
            raise UserError(
                f"{self.run_dir}: cannot be written any more: {error.strerror or error}; the ledger is whole: "
                f"make room, then atod-sweep resume {self.run_dir}"
            ) from error
        finally:
            show.end()
        return False

    def _run_while_building(
        self, ray: runner.OnRay, building: Builders, show: Progress, tracking: list[Background]
    ) -> None:
        """Hand out trials at once: their workers start and import what they need, and wait for the models."""
        self._models = expected_models(self.work.configs)
        self._awaited = building.paths
        building.follow(show.note)
        source, sink = self._begin(show, tracking)
        show.doing("building the teacher and the base student; workers start meanwhile")

        def are_found() -> bool:
            if not building.over:
                return False
            self._keep_models(building, show)
            show.doing("trials run")
            return True

        ray.run(source, sink, self._model_folders(), are_found)

    def _begin(self, show: Progress, tracking: list[Background]) -> tuple[Source, Recorder]:
        """Where trials come from, and who is told of them."""
        work = self.work
        source = work.source(self.desk(show))
        self._board = Scoreboard(self.total, self.at_a_time, work.goal.metric.name, self.history.trials, work.goal.sign)
        show.begin(self._board)
        board = self._board
        board.expected = self.pace.mean
        goal, listeners = work.goal, [self._note, *(logger.add for logger in tracking), board.add, show.trial]
        watchers = [self._reported(board, show)]
        return source, Recorder(self.run_dir, self._writer, goal.metric, goal.second, self.trials, listeners, watchers)

    def _model_folders(self) -> set[str]:
        return {ref.path for models in self._models.values() for ref in (models.teacher, models.student) if ref}

    def _ray_options(self, show: Progress) -> runner.RayOptions:
        site = self.options.site
        return runner.RayOptions(
            scratch=str((self.run_dir / layout.RAY).resolve()),
            address=site.address,
            storage=site.storage and located(site.storage),
            say=show.note,
            held=tuple(self._held.values()),
        )

    def _note(self, row: TrialRow) -> None:
        self.latest[row["trial"]] = row
        self.pace.ended(row, self.trials[row["trial"]].config)

    @property
    def ahead(self) -> int:
        """Trials that have not ended well."""
        return self.total - sum(row["state"] in FINISHED for row in self.latest.values())

    def _reported(self, board: Scoreboard, show: Progress) -> Callable[[Job, list[MetricRow]], None]:
        def told(job: Job, rows: list[MetricRow]) -> None:
            steps = job.config["steps"]
            if board.expected is None:
                self.pace.hear(job.trial, job.config, rows)
                board.expected = self.pace.mean
                opening.tell_time(show, self.pace, self.ahead, self.at_a_time)
            board.reported(job.trial, steps, rows)
            show.reported(job.trial, steps, rows)

        return told


def at_a_time(work: Work, site: Site) -> int:
    """Attempts side by side: as asked for, else one in this process, or on Ray as many as the resources hold."""
    default = 1 if site.backend == "local" else runner.capacity(work.resources)
    return site.concurrency or work.concurrency or default


def local_workers(work: Work, site: Site) -> int:
    """Processes that run trials beside this one, without Ray."""
    env_ids = {config["env"]["id"] for config in work.configs}
    return local.workers_for(at_a_time(work, site), site.concurrency, env_ids)
