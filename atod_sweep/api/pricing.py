"""What a run's students cost at work, beside their teacher: money by somebody's prices, and time on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from atod_sweep.errors import UserError
from atod_sweep.paths import expanded
from atod_sweep.records import layout

if TYPE_CHECKING:
    from atod_sweep.evidence.analysis.results import Results
    from atod_sweep.evidence.tables.price import Latency


def cost(run_dir: str | Path, *, price: str | Path | None = None, measure: int = 0) -> str:
    """Money per task and per solved task of every arm and of the teacher, as text.

    `price`: a file of prices (see `config.price.Price`); default: the `price` section of the study or search. The
    ledger is read and nothing else; with `measure`, so many tasks are played here by each model that the run left, one
    at a time, for the time that a turn takes. Raises UserError for a run without a result, and without prices.
    """
    from atod_sweep.config.base import load_yaml, validate
    from atod_sweep.config.price import Price
    from atod_sweep.evidence.analysis.reading import load
    from atod_sweep.evidence.report.compare import plain
    from atod_sweep.evidence.tables.price import table

    results = load(expanded(run_dir))
    data = results.study.latest.get("price") if price is None else load_yaml(expanded(price))
    if data is None:
        raise UserError(
            f"{run_dir}: its file has no price section; write one, such as "
            "student: {input: 0.1, output: 0.4}, teacher: {input: 2, output: 8}, into a file and name it with --price"
        )
    prices = validate(Price, data, str(price or "price"))
    found = table(results, prices, _latency(results, measure) if measure else None)
    if not found.rows:
        raise UserError(f"{run_dir}: no arm has a result yet; atod-sweep resume {run_dir} goes on with it")
    return "\n".join([*plain(found), "", found.caption])


def _latency(results: Results, tasks: int) -> Latency:
    """Median and 95 % quantile of a turn's milliseconds, by arm, of the models that are here."""
    import numpy as np

    from atod_sweep.config.base import validate
    from atod_sweep.config.train import Train
    from atod_sweep.training.loop.latency import turn_seconds

    found: Latency = {}
    for arm, folder, config in _models(results):
        seconds = turn_seconds(
            validate(Train, config, arm), folder, "teacher" if arm == "teacher" else "student", tasks
        )
        found[arm] = (1e3 * float(np.median(seconds)), 1e3 * float(np.quantile(seconds, 0.95)))
    if not found:
        raise UserError(f"--measure: {results.folder} holds none of its students; measure where it ran")
    return found


def _models(results: Results) -> list[tuple[str, Path, dict[str, object]]]:
    """The first student of every arm, and the teacher, where they are here: name, folder, config."""
    found: list[tuple[str, Path, dict[str, object]]] = []
    for arm in results.arms:
        done = [t for t in results.of(arm, {}) if (t.folder / layout.STUDENT).is_dir() and t.config]
        found += [(arm, t.folder / layout.STUDENT, t.config) for t in done[:1]]
    teachers = [row["models"]["teacher"] for row in results.ledger if row["event"] == "models"]
    for ref in teachers[:1]:
        if found and ref is not None and Path(ref["path"]).is_dir():
            found.append(("teacher", Path(ref["path"]), found[0][2]))
    return found
