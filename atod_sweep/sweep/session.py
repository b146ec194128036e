"""One run of a study or a search: its folder, models, loggers and console, around whatever decides what to try."""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict
from types import MappingProxyType
from typing import Any, cast

from atod_sweep.config.base import content_hash
from atod_sweep.config.shipped import time_of
from atod_sweep.config.train import model_key
from atod_sweep.cores import cpu_cores
from atod_sweep.errors import UserError
from atod_sweep.paths import located
from atod_sweep.records import layout, study_file
from atod_sweep.records.answer import Answer
from atod_sweep.records.ledger import History, Ledger
from atod_sweep.records.ledger_rows import StudyRow, TrialRow
from atod_sweep.records.metrics import MetricRow
from atod_sweep.records.redaction import redacted
from atod_sweep.records.rows import write_whole
from atod_sweep.sweep import preflight
from atod_sweep.sweep.backends import local
from atod_sweep.sweep.backends import ray as runner
from atod_sweep.sweep.loggers.background import Background
from atod_sweep.sweep.loggers.choice import LOGGERS
from atod_sweep.sweep.mlflow.mirror import Mirror
from atod_sweep.sweep.mlflow.stores import is_installed, placed
from atod_sweep.sweep.models import ensure_models, expected_models
from atod_sweep.sweep.record import endings, provenance
from atod_sweep.sweep.record.progress import Progress
from atod_sweep.sweep.record.recorder import Recorder
from atod_sweep.sweep.record.scoreboard import Scoreboard
from atod_sweep.sweep.sharing import Holding, key_of, left
from atod_sweep.sweep.studies.plan import Trial
from atod_sweep.sweep.took import Pace, in_words
from atod_sweep.sweep.trials.desk import FINISHED, Desk
from atod_sweep.sweep.trials.jobs import Bounds, Job, SavedModel, Trainer
from atod_sweep.sweep.trials.source import Source
from atod_sweep.sweep.work import Options, Site, Work
from atod_sweep.training.pretraining.apart import Builders


class Session:
    """A run in progress: its ledger, models, loggers and console. What decides what to try sees its `Desk` only."""

    def __init__(
        self,
        work: Work,
        writer: Ledger,
        history: History,
        options: Options,
        held: Mapping[str, Holding],
        show: Progress,
    ) -> None:
        """`held`: teachers that trials share."""
        self.work, self.history, self.options, self.show = work, history, options, show
        self.run_dir, self.total = writer.run_dir, work.total
        self._writer, self._held = writer, held
        self._row: dict[str, Any] = {}
        self._trials: dict[str, Trial] = {}
        self._latest: dict[str, TrialRow] = dict(history.trials)
        self._models: dict[str, Any] = {}
        self._awaited: tuple[str, ...] = ()
        self._loggers: list[Background] = []
        self._board: Scoreboard | None = None
        self._width = at_a_time(work, options.site)
        self._pace = Pace(work.configs, options.site.address is None and options.trainer == Trainer())

    # -- its first lines

    def announce(self) -> None:
        """What it is, what its trials need of this machine, how long it will take, and what was lost before."""
        work, site, show = self.work, self.options.site, self.show
        where = f"{self._width} at a time on {cpu_cores()} CPUs"
        if site.backend == "local" and self._width == 1:
            where = "one at a time in a worker process" if local_workers(work, site) else "in this process"
        elif site.address:
            where = f"on the Ray cluster at {redacted(site.address)}"
        envs = sorted({config["env"]["id"] for config in work.configs})
        horizons = sorted({config["env"]["horizon"] for config in work.configs})
        show.note(
            f"{work.document.name} · {work.document.title} · {', '.join(envs)}, horizon "
            f"{', '.join(map(str, horizons))} · {work.total} trials, {where}",
            event="begin",
            name=work.document.name,
            trials=work.total,
            definition_hash=content_hash(work.definition),
        )
        if site.address is None:
            for line in preflight.of_compact(work.configs, work.resources, self._width):
                show.note(line, event="memory", said=line)
        said = time_of(work.document.text)
        self._tell_time(f"its file says: {said}" if said else "told after the first steps; --dry-run times some before")
        if lost := endings.lost(self.history):
            show.note(lost)

    def _tell_time(self, otherwise: str = "") -> None:
        """How long the trials that have not ended well will take; `otherwise`: what to say while that is not known."""
        ahead = self.total - sum(row["state"] in FINISHED for row in self._latest.values())
        mean = self._pace.mean
        text = otherwise if mean is None else in_words(ahead, mean, self._width)
        if text and ahead:
            self.show.note(f"time: {text}", event="time", said=text, seconds=mean)

    # -- what its source sees

    def _desk(self) -> Desk:
        return Desk(
            folder=self.run_dir,
            definition_hash=self._row["definition_hash"],
            latest=MappingProxyType(self._latest),
            limits=self.options.limits,
            at_a_time=self._width,
            job=self._job,
            record=self.record,
            redefine=self._redefine,
            expect=self._expect,
            remark=self.show.note,
            judge=self.options.judge,
        )

    def _redefine(self, changes: Mapping[str, Any]) -> None:
        self._row |= changes
        self.record(self._row)

    def _expect(self, total: int) -> None:
        self.total = total
        if self._board is not None:
            self._board.total = total

    def _job(self, trial: Trial) -> Job:
        """The next attempt at a trial, which is from now on known by its id. UserError if it ran as another config."""
        self._trials[trial.id] = trial
        before, resources = self._latest.get(trial.id), left(self.work.resources, self._held.values())
        shared = key_of(trial.config) if self._held else None
        itself = None
        if trial.role in ("teacher", "base"):
            # Models of other settings, which a search may try, are made by the first trial that needs them.
            models = self._models[model_key(trial.config)]
            saved = models.teacher if trial.role == "teacher" else models.student
            itself = SavedModel("" if saved is None else saved.path, "base" if trial.role == "base" else "teacher")
        own_process = self.options.site.backend == "ray" or local_workers(self.work, self.options.site) > 0
        # Of a machine's memory; on a cluster nobody knows how many share a machine.
        here = self.options.site.address is None
        share = preflight.share(self.work.resources, self._width, self._held) if here else 1.0
        return Job(
            trial=trial.id,
            attempt=before["attempt"] + 1 if before else 1,
            config=trial.config,
            directory=str(layout.trial_folder(self.run_dir, trial.id).resolve()),
            metrics=self.work.goal.reported(trial.arm, trial.levels),
            trainer=self.options.trainer,
            model=itself,
            bounds=Bounds(resources.seconds, resources.memory_gb, resources.gpu, own_process, share),
            awaits=self._awaited,
            teacher=shared if shared in self._held and itself is None else None,
        )

    # -- the run

    def prepare(self) -> None:
        """The study row and where trials are recorded beside the ledger.

        The row comes before the models, which take minutes to build: a run that is killed meanwhile is one to resume.
        For the same reason a first file comes before its row, and another one in its place after the row that vouches
        for it: the ledger always knows the file that is there.
        """
        text = self.work.document.text.encode()
        how = provenance.circumstances(self.work.definition, self.options.argv or sys.argv)
        how |= {"started_with": self.options.site.started_with, "file_sha256": study_file.fingerprint(text)}
        before = self.history.studies
        row_id = before[0]["id"] if before else uuid.uuid4().hex[:16]
        self._row = {"id": row_id, "event": "study", **self.work.row, **how}
        path = self.run_dir / self.work.document.file
        if not path.is_file():
            write_whole(path, text)
        if provenance.is_news(self.history.study, self._row):
            self.record(self._row)
        write_whole(path, text)
        self._open_loggers()

    def _open_loggers(self) -> None:
        study = cast(StudyRow, {**self._row, "time": time.time()})
        if is_installed():
            self.show.doing("opening MLflow")
            place = placed(self.run_dir.parent, self.options.site.tracking_uri, self.options.site.experiment)
            mirror = Mirror(place, self.run_dir, study, self.show.note)
            self._log(Background(mirror, self.run_dir, self.show), wait=True)
        else:
            sync = f"atod-sweep sync {self.run_dir}"
            self.show.note(f"MLflow is not installed here; where it is, record this run with: {sync}")
        for name in self.options.site.loggers or ():
            self._log(Background(LOGGERS[name][0](self.run_dir, study), self.run_dir, self.show), wait=False)

    def _log(self, logger: Background, wait: bool) -> None:
        self._loggers.append(logger)
        logger.begin(wait)
        for old in self.history.trials.values():
            logger.add(old)

    def close(self, status: str, answer: Answer | None = None) -> None:
        for logger in self._loggers:
            logger.close(status, answer)

    def run(self, building: Builders) -> bool:
        """Run what the source hands out, once the models are there; True if it was stopped from outside."""
        try:
            if self.options.site.backend == "local":
                self._find_models(building)
                source, sink = self._begin()
                local.run_local(source, sink, local_workers(self.work, self.options.site))
            else:
                self._run_on_ray(building)
        except KeyboardInterrupt:
            return True
        except OSError as error:  # the recorder's: trials catch their own
            raise UserError(
                f"{self.run_dir}: cannot be written any more: {error.strerror or error}; the ledger is whole: "
                f"make room, then atod-sweep resume {self.run_dir}"
            ) from error
        finally:
            self.show.end()
        return False

    def _run_on_ray(self, building: Builders) -> None:
        work, site, show = self.work, self.options.site, self.show
        with runner.OnRay(
            work.resources,
            site.concurrency or work.concurrency,
            scratch=(self.run_dir / layout.RAY).resolve(),
            address=site.address,
            storage=site.storage and located(site.storage),
            say=show.note,
            held=self._held.values(),
        ) as ray:
            if building.busy:
                show.doing("building the models and starting Ray")
                ray.start()
            if wait := building.busy and building.suffice and site.address is None:
                # Trials are handed out at once: their workers start, import what they need, and wait for the models.
                self._models, self._awaited = expected_models(work.configs), building.paths
                building.follow(show.note)
            else:
                self._find_models(building)
            source, sink = self._begin()
            show.doing("building the teacher and the base student; workers start meanwhile" if wait else "starting Ray")
            folders = {ref.path for pair in self._models.values() for ref in (pair.teacher, pair.student) if ref}
            ray.run(source, sink, folders, lambda: not wait or self._are_found(building))

    def _are_found(self, building: Builders) -> bool:
        if building.over:
            self._keep_models(building)
            self.show.doing("trials run")
        return building.over

    def _find_models(self, building: Builders) -> None:
        self.show.doing(f"{'building' if building.busy else 'looking for'} the teacher and the base student")
        self._keep_models(building)

    def _keep_models(self, building: Builders) -> None:
        made = building.made(self.show.note)
        self._models = ensure_models(self.work.configs, self.options.trainer, self.show, made)
        pairs = {key: asdict(models) for key, models in self._models.items()}
        if provenance.are_others(self.history.study, pairs):
            self.record({"event": "models", "models": next(iter(pairs.values())), "pairs": pairs})

    def _begin(self) -> tuple[Source, Recorder]:
        goal, show = self.work.goal, self.show
        source = self.work.source(self._desk())
        board = self._board = Scoreboard(self.total, self._width, goal.metric.name, self.history.trials, goal.sign)
        show.begin(board)
        board.expected = self._pace.mean
        listeners = [self._note, *(logger.add for logger in self._loggers), board.add, show.trial]
        return source, Recorder(self._writer, goal, self._trials, listeners, self._heard)

    # -- what is told of its trials

    def record(self, row: Mapping[str, Any]) -> None:
        """Write a row of another kind than a trial's into the ledger."""
        self._writer.append({**row, "time": time.time()})

    def _note(self, row: TrialRow) -> None:
        self._latest[row["trial"]] = row
        self._pace.ended(row, self._trials[row["trial"]].config)

    def _heard(self, job: Job, rows: list[MetricRow]) -> None:
        board, steps = self._board, job.config["steps"]
        assert board is not None
        if board.expected is None:
            self._pace.hear(job.trial, job.config, rows)
            board.expected = self._pace.mean
            self._tell_time()
        board.reported(job.trial, steps, rows)
        self.show.reported(job.trial, steps, rows)


def at_a_time(work: Work, site: Site) -> int:
    """Attempts side by side: as asked for, else one in this process, or on Ray as many as the resources hold."""
    default = 1 if site.backend == "local" else runner.capacity(work.resources)
    return site.concurrency or work.concurrency or default


def local_workers(work: Work, site: Site) -> int:
    """Processes that run trials beside this one, without Ray."""
    env_ids = {config["env"]["id"] for config in work.configs}
    return local.workers_for(at_a_time(work, site), site.concurrency, env_ids)
