"""What a study publishes of a run: small enough for a repository, without what is private, and enough for its report.

The report in it is made from the packed files themselves, so that `atod-sweep report DIR` gives it again. What the
files hold is told in `records.layout`.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from atod_sweep.errors import UserError
from atod_sweep.evidence.analysis.comparisons import APPLIED, applied_teacher
from atod_sweep.evidence.analysis.reading import load
from atod_sweep.evidence.analysis.results import Results, Trial
from atod_sweep.evidence.report.write import write as write_report
from atod_sweep.records import layout, ledger, ledger_rows, packed, study_file
from atod_sweep.records.anonymous import anonymous, anonymous_row, anonymous_yaml
from atod_sweep.records.packed import Packed, PackedTrial, thinned
from atod_sweep.records.rows import seal

LIMIT = 2_000_000  # bytes of a packed run, everything together
_OURS = (
    *(layout.LEDGER, *layout.DEFINITIONS, layout.PACKED, layout.BEST_SCHEDULE),
    *(layout.REPORT_MD, layout.REPORT_HTML, layout.FIGURES, layout.TABLES),
)


@dataclass(frozen=True)
class PackedRun:
    """Where it lies, every how many-th training step is in it, its size in bytes, and trials without a record."""

    folder: Path
    every: int
    size: int
    unrecorded: int


def pack(
    run_dir: Path,
    out: Path,
    numerics: int | None = None,
    whole: Mapping[str, Sequence[str]] | None = None,
    finish: Callable[[Path], None] = lambda folder: None,
) -> PackedRun:
    """Write what `run_dir` publishes into folder `out`: new, empty, or an earlier pack of the same run.

    `numerics`: as in a report. `whole`: trial -> names of numbers that an export needs of every training step.
    `finish`: called with the folder to add to it. UserError if there is no run, if `out` holds something else, or if
    the run does not fit into LIMIT with the fewest training rows.
    """
    packed.refuse(run_dir, "packed again")
    results = load(run_dir)
    _check(out, results)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
            folder = Path(scratch) / out.name
            every = _fitting(results, folder, numerics, whole or {}, finish)
            size, lost = _size(folder), sum(not trial.rows for trial in results.trials if trial.is_trained)
            _replace(folder, out)
    except OSError as error:
        raise UserError(f"{out}: cannot be written: {error.strerror or error}; name another folder") from None
    return PackedRun(out, every, size, lost)


def _check(out: Path, results: Results) -> None:
    """UserError if the folder holds anything but an earlier pack of this run."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if (out / layout.PACKED).is_file():
        there = ledger.fold(ledger.read(out)).study
        if there is not None and there["id"] == results.study.latest["id"]:
            return
    raise UserError(f"{out}: exists and is not an earlier pack of this run; name another folder, or move it away")


def _fitting(
    results: Results,
    folder: Path,
    numerics: int | None,
    whole: Mapping[str, Sequence[str]],
    finish: Callable[[Path], None],
) -> int:
    """Fill the folder, with fewer and fewer training rows until it is small enough; every how many-th step is left."""
    for every in _ladder(results):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        _write_records(results, folder, every, whole)
        if _size(folder) > LIMIT:
            continue
        for figure in write_report(folder, numerics, formats=("md",)).figures:
            if figure.suffix == ".svg":  # of report.html, which holds them itself
                figure.unlink()
        finish(folder)
        if _size(folder) <= LIMIT:
            return every
    parts = ", ".join(f"{path.name} {_size(path) / 1e6:.1f} MB" for path in sorted(folder.iterdir()))
    raise UserError(
        f"{results.folder}: does not fit into {LIMIT / 1e6:g} MB even with the fewest training rows ({parts}); publish "
        "the folder itself as an archive, or a study of fewer trials"
    )


def _ladder(results: Results) -> Iterator[int]:
    """10, 50, 100, 500, … until no trial has as many steps. (Diagnostics are mostly taken at multiples of 50.)"""
    steps = max((row["step"] for trial in _trials(results) for row in trial.rows), default=0)
    for power in itertools.count(1):
        for every in (10**power, 5 * 10**power):
            yield every
            if every > steps:
                return


def _trials(results: Results) -> tuple[Trial, ...]:
    return (*results.trials, *results.explored)


def _write_records(results: Results, folder: Path, every: int, whole: Mapping[str, Sequence[str]]) -> None:
    rows = [anonymous_row(row) for row in results.ledger]
    if path := layout.definition_file(results.folder):
        text = anonymous_yaml(study_file.read(path, results.ledger)).encode()
        (folder / path.name).write_bytes(text)
        vouched = {"file_sha256": study_file.fingerprint(text)}
        rows = [row | vouched if row["event"] == "study" else row for row in rows]
    lines = [seal(row, ledger_rows.FORMAT) for row in rows]
    (folder / layout.LEDGER).write_bytes(b"".join(lines))
    last = results.study.metric.last
    trials = {}
    for trial in _trials(results):
        rows, applied = thinned(trial.rows, every, last, whole.get(trial.id, ())), applied_teacher(trial)
        means = {} if applied is None else {APPLIED: applied}
        trials[trial.id] = PackedTrial(anonymous(trial.config), rows, means)
    packed.write(folder, Packed(every, last, trials))


def _size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    return sum(file.stat().st_size for file in [path, *path.rglob("*")] if file.is_file())


def _replace(folder: Path, out: Path) -> None:
    """Move what was packed into place, over an earlier pack; what else lies there stays."""
    out.mkdir(exist_ok=True)
    for name in _OURS:
        if (out / name).is_dir():
            shutil.rmtree(out / name)
        else:
            (out / name).unlink(missing_ok=True)
    for path in folder.iterdir():
        path.rename(out / path.name)
