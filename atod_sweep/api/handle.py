"""A run as a Python object: its tables as DataFrames, its figures, its best schedule, all read from its folder."""

from __future__ import annotations

import html
import tempfile
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atod_sweep.errors import UserError
from atod_sweep.paths import expanded
from atod_sweep.records import layout

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from atod_sweep.evidence.analysis.results import Results
    from atod_sweep.export.schedule.best import BestSchedule
    from atod_sweep.sweep.work import RunOutcome


def load(run_dir: str | Path) -> Run:
    """Open the folder of a run, finished or not. UserError if it holds none."""
    run = Run(expanded(run_dir))
    _ = run.results  # complain now
    return run


class Run:
    """A study or search that was run.

    What is shown is read from `folder` once; `load(run.folder)` reads again. DataFrames hold unrounded numbers, one row
    per trial, arm, point of a curve, or hypothesis, with the columns of the run's `tables/*.csv`.
    """

    def __init__(self, folder: Path, outcome: RunOutcome | None = None) -> None:
        self.folder = folder
        self._outcome = outcome

    @cached_property
    def results(self) -> Results:
        """The records behind everything else."""
        from atod_sweep.evidence.analysis.reading import load as read

        return read(self.folder)

    @property
    def name(self) -> str:
        """The study's name."""
        return self.results.study.name

    @property
    def question(self) -> str:
        """What the study asks."""
        return self.results.study.question

    @property
    def ok(self) -> bool:
        """Whether the run came to its end with enough complete trials."""
        if self._outcome is not None:
            return self._outcome.ok
        return not self.results.missing()

    @property
    def interrupted(self) -> bool:
        """Whether this process was stopped before the run's end; `resume` goes on."""
        return self._outcome is not None and self._outcome.interrupted

    @property
    def has_open_claims(self) -> bool:
        """Whether a claim is undecided, and the rule that adds seeds until claims are decided could still add some."""
        from atod_sweep.evidence.analysis.verdicts import judge
        from atod_sweep.sweep.studies.until_decided import Rule

        undecided = any(verdict.outcome == "undecided" for verdict in judge(self.results))
        return undecided and len(self.results.seeds) < Rule.max_seeds

    # ---- tables ----------------------------------------------------------------------------------------------------

    @property
    def trials(self) -> pd.DataFrame:
        """One row per trial that is evidence: arm, role, levels, seed, state, metrics, costs.

        What a search tried before its choices is in `tables["configurations"]`.
        """
        return self._frame("trials")

    @property
    def arms(self) -> pd.DataFrame:
        """One row per arm and combination of levels: n, mean, 95 % interval, difference to the reference."""
        return self._frame("arms")

    @property
    def curves(self) -> pd.DataFrame:
        """One row per arm, levels and evaluation step: mean and interval over seeds."""
        return self._frame("curves")

    @property
    def verdicts(self) -> pd.DataFrame:
        """One row per hypothesis: effect, interval, n, outcome."""
        return self._frame("verdicts")

    @property
    def failures(self) -> pd.DataFrame:
        """One row per trial that failed: status, type and message."""
        import pandas as pd

        columns = ["trial", "arm", "seed", "attempt", "status", "type", "message"]
        rows = [
            {"trial": t.id, "arm": t.arm, "seed": t.seed, "attempt": t.attempt, **(t.error or {})}
            for t in (*self.results.trials, *self.results.explored)
            if t.state == "FAILED"
        ]
        return pd.DataFrame(rows, columns=columns)

    @cached_property
    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """Every table of the report by name, as plain rows."""
        from atod_sweep.evidence.analysis.searches import searched
        from atod_sweep.evidence.report.csv_files import content

        return content(self.results, searched(self.results))

    def _frame(self, name: str) -> pd.DataFrame:
        import pandas as pd

        return pd.DataFrame(self.tables[name])

    # ---- what to do with it ----------------------------------------------------------------------------------------

    @cached_property
    def best(self) -> BestSchedule:
        """The best arm: its caveats (`notes()`), trainer config and schedule. UserError if there is none."""
        from atod_sweep.export.schedule.best import choose

        return choose(self.results)

    @property
    def report_path(self) -> Path:
        """The run's report; written now if it is not there."""
        path = self.folder / layout.REPORT_HTML
        if not path.is_file():
            from atod_sweep.api.verbs import report

            report(self.folder)
        return path

    def plot(self, name: str) -> Figure:
        """One figure of the report, by its name (`figures` lists them). UserError for another name."""
        if name not in self._figures:
            raise UserError(f"plot({name!r}): the report has no such figure; known: {', '.join(self._figures)}")
        return self._figures[name]

    @property
    def figures(self) -> list[str]:
        """Names of the figures that this run's report has."""
        return list(self._figures)

    @cached_property
    def _figures(self) -> dict[str, Figure]:
        from atod_sweep.evidence.report.write import figures

        with tempfile.TemporaryDirectory() as scratch:
            return {figure.name: figure.canvas for figure in figures(self.results, Path(scratch))}

    def export(self, target: str = "bundle", folder: str | Path | None = None, **choices: Any) -> Path:
        """Write the best schedule for a target trainer; the same as `export_schedule(run.folder, …)`."""
        from atod_sweep.api.exports import export_schedule

        return export_schedule(self.folder, target, folder, **choices)

    # ---- how it looks ----------------------------------------------------------------------------------------------

    def summary(self) -> str:
        """The table of arms and the verdicts, as the console prints them at the end of a run."""
        from atod_sweep.evidence.report.summary import lines

        return "\n".join(lines(self.results))

    def __repr__(self) -> str:
        done = sum(trial.state == "COMPLETE" for trial in self.results.trials)
        return f"<Run {self.name}: {done} of {len(self.results.trials)} trials complete, in {self.folder}>"

    def _repr_html_(self) -> str:
        from atod_sweep.evidence.report.summary import arm_table, header, verdict_lines

        def row(cells: list[str], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

        body = "".join(row(cells, "td") for cells in arm_table(self.results))
        claims = "".join(f"<li>{html.escape(line)}</li>" for line in verdict_lines(self.results))
        return (
            f"<p><b>{html.escape(self.question)}</b></p><table>{row(header(self.results), 'th')}{body}</table>"
            f"<ul>{claims}</ul><p>{html.escape(str(self.folder))}</p>"
        )
