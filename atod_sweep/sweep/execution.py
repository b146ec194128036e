"""A run of a study or a search from its first check to its last word; what happens between is the session's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from atod_sweep.errors import UserError
from atod_sweep.records import layout, ledger
from atod_sweep.sweep import preflight, sharing
from atod_sweep.sweep.backends import ray as runner
from atod_sweep.sweep.loggers.choice import settled
from atod_sweep.sweep.loggers.contract import status_of
from atod_sweep.sweep.models import builders
from atod_sweep.sweep.record import progress
from atod_sweep.sweep.record.rundir import Intent, opened, run_folder
from atod_sweep.sweep.session import Session, at_a_time
from atod_sweep.sweep.trials.interrupts import stoppable
from atod_sweep.sweep.work import Options, RunOutcome, Work
from atod_sweep.training.pretraining.apart import Builders


def start(
    work: Work,
    out: Path = Path("runs"),
    resume: bool = False,
    extend: bool = False,
    overwrite: bool = False,
    **options: Any,
) -> RunOutcome:
    """Run a study or a search in `out`/NAME. `options`: fields of `Options`. UserError on bad input."""
    intent = Intent(resume, extend, overwrite)
    return execute_work(work, run_folder(out, work.document.name), intent, Options.of(**options))


def execute_work(work: Work, run_dir: Path, intent: Intent, options: Options) -> RunOutcome:
    """Run a study or a search in its folder. UserError on bad input, before anything has run."""
    site = options.site
    runner.check(site.backend, site.concurrency, site.address, site.storage)
    options = replace(options, site=settled(run_dir, site))
    is_here, width = site.address is None, at_a_time(work, site)
    preflight.check(work.configs, work.resources, is_cluster=not is_here)
    held = sharing.holdings(work.configs, work.resources, width, options.site)
    show = options.show or progress.choose()
    is_new = intent.overwrite or not (run_dir / layout.LEDGER).exists()
    try:
        if is_new and is_here:  # the nodes of a cluster may hold what this machine does not
            for line in preflight.look(work.configs, work.goal, show.doing):
                show.note(line)
            for line in preflight.fit(work.configs, work.resources, width, held):
                show.note(line)
        with opened(run_dir, work.definition, work.total, work.extension, intent) as (writer, history):
            session = Session(work, writer, history, options, held, show)
            session.announce()
            with stoppable(), builders(work.configs, options.trainer) as building:
                return _execute(session, building)
    finally:
        show.close()


def _execute(session: Session, building: Builders) -> RunOutcome:
    run_dir, show, after = session.run_dir, session.show, session.options.after
    session.prepare()
    answer = None
    try:
        stopped = session.run(building)
        history = ledger.fold(ledger.read(run_dir))
        outcome = RunOutcome(
            run_dir=run_dir,
            total=max(session.total, len(history.trials)),
            complete=history.count("COMPLETE"),
            failed=history.count("FAILED"),
            pruned=history.count("PRUNED"),
            interrupted=stopped,
            min_complete=session.work.goal.min_complete,
        )
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
        session.close("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    session.close("KILLED" if stopped else status_of(history), answer)
    return outcome
