"""What is done with a run beside training: a look at open claims; report and best schedule when trials have ended."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from atod_sweep.errors import UserError
from atod_sweep.records import layout
from atod_sweep.records.answer import Answer


def judge(run_dir: Path) -> dict[str, Any]:
    """A look at the claims of a study that adds seeds until they are decided."""
    try:
        from atod_sweep.evidence.analysis.look import look
    except ModuleNotFoundError as missing:
        raise UserError(
            f"{run_dir}: judging claims needs {missing.name}, which is not here; elsewhere: atod-sweep resume {run_dir}"
        ) from None
    return look(run_dir)


def answer(run_dir: Path) -> Answer | None:
    """What a run found, for loggers; None where what it is worked out with is not installed."""
    try:
        from atod_sweep.evidence.report.answer import answer as worked_out
    except ModuleNotFoundError:
        return None
    return worked_out(run_dir)


def conclude(run_dir: Path, say: Callable[[str], None]) -> Answer | None:
    """Report and best schedule of a finished run, written before loggers close it with its answer.

    None if they are there already, and nothing was recorded since.

    A machine that can train need not hold what reports are made with: what is left out then is told to `say`.
    """
    if _is_reported(run_dir):
        return None
    try:
        from atod_sweep.evidence.report.write import write
        from atod_sweep.export.schedule.best import write_best
    except ModuleNotFoundError as missing:
        say(f"no report: {missing.name} is not installed here; where it is: atod-sweep report {run_dir}")
        return None
    from atod_sweep.training import NUMERICS

    try:
        write_best(run_dir)
    except UserError as nothing_to_export:  # every trial failed, say: the report states it
        say(f"no schedule exported: {nothing_to_export}")
    try:
        write(run_dir, NUMERICS)
    except UserError as richer_one_there:
        say(f"no new report: {richer_one_there}")
    return answer(run_dir)


def _is_reported(run_dir: Path) -> bool:
    """Whether nothing was recorded since the last file of the report was written."""
    report, ledger = run_dir / layout.REPORT_MD, run_dir / layout.LEDGER
    return report.is_file() and report.stat().st_mtime_ns > ledger.stat().st_mtime_ns
