"""Where a run stands, from its folder alone: also while another process, or another machine, writes it."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from atod_sweep.config.base import load_yaml
from atod_sweep.errors import UserError
from atod_sweep.records import layout, ledger
from atod_sweep.records.ledger_rows import StudyRow, TrialRow
from atod_sweep.records.metrics import read_metrics
from atod_sweep.records.rows import whole
from atod_sweep.records.status import Status
from atod_sweep.sweep.record.endings import lines as endings
from atod_sweep.sweep.record.scoreboard import ENDED, Running, clock


@dataclass(frozen=True)
class Overview:
    """A run at a glance. `counts`: trials by their last state; `is_written`: a process holds the run right now;
    `is_cut`: its last process was stopped, or is gone, in the middle; `seconds`: while trials were under way."""

    folder: Path
    question: str
    counts: dict[str, int]
    is_written: bool
    is_cut: bool
    seconds: float
    last: float
    running: tuple[Running, ...]
    endings: tuple[str, ...]

    @property
    def state(self) -> str:
        """running, interrupted (there is something to resume), or ended."""
        return "running" if self.is_written else "interrupted" if self.is_cut else "ended"

    def lines(self) -> list[str]:
        said = ", ".join(f"{number} {state.lower()}" for state, number in self.counts.items()) or "none yet"
        found = [f"{self.folder}  {self.state}", f" question  {self.question}", f" trials    {said}"]
        found += [f" running   {one}" for one in self.running] if self.is_written else []
        found += [line for line in self.endings if not line.startswith(" trials")]
        ago = clock(time.time() - self.last)
        found.append(f" time      {clock(self.seconds)} with trials under way, last written {ago} ago")
        if self.state == "interrupted":
            found.append(f" next      atod-sweep resume {self.folder}")
        for name in (layout.REPORT_HTML, layout.BEST_SCHEDULE):
            if (self.folder / name).is_file():
                found.append(f" {name.split('.')[0].split('_')[-1]:9} {self.folder / name}")
        return found

    def line(self) -> str:
        done, total = self.counts.get("COMPLETE", 0), sum(self.counts.values())
        failed = f", {self.counts['FAILED']} failed" if self.counts.get("FAILED") else ""
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.last))
        return f"{self.folder.name:24} {self.state:12} {f'{done}/{total} complete{failed}':22} {when}  {self.question}"


def overview(run_dir: Path) -> Overview:
    """The run in a folder. UserError if it holds none."""
    rows = ledger.read(run_dir)
    history = ledger.fold(rows)
    if history.study is None:
        raise ledger.nothing_in(run_dir)
    under_way = [row for row in history.trials.values() if row["state"] not in ENDED]
    is_written = _is_written(run_dir)
    trials = [row for row in rows if row["event"] == "trial"]
    spans = [(row["time"] - row["seconds"], row["time"]) for row in trials if "seconds" in row]
    spans += [(row["time"], time.time()) for row in under_way if is_written]
    return Overview(
        folder=run_dir,
        question=history.study["question"],
        counts=dict(Counter(row["state"] for row in history.trials.values())),
        is_written=is_written,
        is_cut=not history.trials or any(map(_is_cut, history.trials.values())),
        seconds=_covered(spans),
        last=max((row["time"] for row in rows if "time" in row), default=0.0),
        running=tuple(_running(run_dir, row, history.study) for row in under_way),
        endings=tuple(endings(rows)),
    )


def runs_in(out: Path) -> list[str]:
    """A line for every run in a folder of runs, the one written last first. UserError if there is no such folder."""
    if not out.is_dir():
        raise UserError(f"{out}: no such folder; runs are kept where --out says, by default in runs")
    found = []
    for path in sorted(out.glob(f"*/{layout.LEDGER}")):
        try:
            run = overview(path.parent)
            found.append((run.last, run.line()))
        except UserError as error:
            if whole(path.read_bytes()):  # else it was killed before its first row: there is nothing to tell of it
                found.append((path.stat().st_mtime, f"{path.parent.name:24} {'damaged':12} {error}"))
    return [line for _, line in sorted(found, key=lambda run: -run[0])]


def _covered(spans: list[tuple[float, float]]) -> float:
    """The length of what they cover together."""
    length, until = 0.0, 0.0
    for start, end in sorted(spans):
        length += max(0.0, end - max(start, until))
        until = max(until, end)
    return length


def _is_cut(row: TrialRow) -> bool:
    error = row.get("error")
    return row["state"] == "RUNNING" or (error is not None and error["status"] == Status.INTERRUPTED)


def _is_written(run_dir: Path) -> bool:
    lock = run_dir / layout.LOCK
    if not lock.is_file():  # trying it would make it
        return False
    try:
        with FileLock(lock).acquire(timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # a folder that only others may write: nobody here is writing it
        return False


def _running(run_dir: Path, row: TrialRow, study: StudyRow) -> Running:
    folder = layout.trial_folder(run_dir, row["trial"])
    try:
        rows = read_metrics(folder / layout.METRICS)
    except UserError:  # half a row, being written
        rows = []
    config = folder / layout.CONFIG
    if not rows or not config.is_file():
        return Running(row["trial"])
    metric = study["metric"]["name"]
    values = [one[metric] for one in rows if metric in one]
    return Running(row["trial"], rows[-1]["step"], load_yaml(config)["steps"], values[-1] if values else None)
