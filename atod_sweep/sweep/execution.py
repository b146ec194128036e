"""A run of a study or a search from its first check to its last word; what happens between is the session's."""

from __future__ import annotations

import uuid
from pathlib import Path

from atod_sweep.errors import UserError
from atod_sweep.records import layout, ledger
from atod_sweep.records.answer import Answer
from atod_sweep.records.ledger import History
from atod_sweep.sweep import opening, preflight, sharing
from atod_sweep.sweep.backends import ray as runner
from atod_sweep.sweep.loggers.background import Background
from atod_sweep.sweep.loggers.choice import settled
from atod_sweep.sweep.loggers.contract import status_of
from atod_sweep.sweep.models import builders
from atod_sweep.sweep.record import endings, progress
from atod_sweep.sweep.record.progress import Progress
from atod_sweep.sweep.record.rundir import Intent, opened
from atod_sweep.sweep.session import Session, at_a_time, local_workers
from atod_sweep.sweep.trials.interrupts import stoppable
from atod_sweep.sweep.work import Options, RunOutcome, Work
from atod_sweep.training.pretraining.apart import Builders


def execute_work(work: Work, run_dir: Path, intent: Intent, options: Options) -> RunOutcome:
    """Run a study or a search in its folder. UserError on bad input, before anything has run."""
    site = options.site
    runner.check(site.backend, site.concurrency, site.address, site.storage)
    options = settled(run_dir, options)
    preflight.check(work.configs, work.resources, is_cluster=site.address is not None)
    held = sharing.holdings(work.configs, work.resources, at_a_time(work, site), site)
    show = options.hooks.show or progress.choose()
    is_new = intent.overwrite or not (run_dir / layout.LEDGER).exists()
    try:
        if is_new and site.address is None:  # the nodes of a cluster may hold what this machine does not
            for line in preflight.look(work.configs, work.goal, show.doing):
                show.note(line)
            for line in preflight.fit(work.configs, work.resources, at_a_time(work, site), held):
                show.note(line)
        with opened(run_dir, work.definition, work.total, work.extension, intent) as (writer, history):
            session = Session(work, run_dir, writer, history, options, held)
            opening.announce(show, work, site, session.at_a_time, local_workers(work, site))
            opening.tell_time(show, session.pace, session.ahead, session.at_a_time, work)
            if lost := endings.lost(history):
                show.note(lost)
            with stoppable(), builders(work.configs, options.trainer) as building:
                return _execute(session, history, show, building)
    finally:
        show.close()


def _execute(session: Session, history: History, show: Progress, building: Builders) -> RunOutcome:
    run_dir, after = session.run_dir, session.options.hooks.after
    tracking = session.prepare(show, history.studies[0]["id"] if history.studies else uuid.uuid4().hex[:16])
    for old in history.trials.values():
        for logger in tracking:
            logger.add(old)
    answer = None
    try:
        stopped = session.run(show, tracking, building)
        outcome = _outcome(session, ledger.fold(ledger.read(run_dir)), stopped)
        if outcome.complete + outcome.pruned + outcome.failed < outcome.total or stopped:
            show.note(f"{'stopped' if stopped else 'ended'} before its end; atod-sweep resume {run_dir} continues")
        if not stopped and after is not None:
            show.doing("writing the report")
            try:
                answer = after(run_dir)
            except OSError as error:
                raise UserError(
                    f"{run_dir}: the report cannot be written: {error.strerror or error}; the ledger has all trials: "
                    f"make room, then atod-sweep report {run_dir}"
                ) from error
    except BaseException as error:
        _close(tracking, "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    _close(tracking, "KILLED" if stopped else status_of(ledger.fold(ledger.read(run_dir))), answer)
    return outcome


def _close(tracking: list[Background], status: str, answer: Answer | None = None) -> None:
    for logger in tracking:
        logger.close(status, answer)


def _outcome(session: Session, history: History, stopped: bool) -> RunOutcome:
    return RunOutcome(
        run_dir=session.run_dir,
        total=max(session.total, len(history.trials)),
        complete=history.count("COMPLETE"),
        failed=history.count("FAILED"),
        pruned=history.count("PRUNED"),
        interrupted=stopped,
        seconds=session.seconds,
        failures=tuple(row for row in history.trials.values() if row["state"] == "FAILED"),
        min_complete=session.work.goal.min_complete,
    )
