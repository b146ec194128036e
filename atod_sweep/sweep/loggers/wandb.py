"""Weights & Biases: a run per trial in a group named after the study, and one for the study with its answer.

Where `WANDB_MODE` is offline, the runs lie in `wandb/` of the run's folder until `wandb sync` uploads them.
`WANDB_PROJECT`, `WANDB_ENTITY`, `WANDB_DIR` and W&B's other variables mean what they always mean.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from atod_sweep.config.base import content_hash, load_yaml
from atod_sweep.errors import UserError
from atod_sweep.records import layout
from atod_sweep.records.answer import Answer
from atod_sweep.records.ledger_rows import StudyRow, TrialRow
from atod_sweep.records.metrics import read_metrics
from atod_sweep.records.redaction import redacted
from atod_sweep.sweep.loggers import content

PROJECT = "atod-sweep"


def check() -> None:
    """UserError unless W&B is installed, and either knows who the user is or writes offline."""
    if find_spec("wandb") is None:
        raise UserError("--logger 'wandb': needs a package; pip install \"atod-sweep[wandb]\"")
    import wandb

    if wandb.setup().settings.mode in ("online", "shared") and not wandb.login(verify=False, prompt=False):
        raise UserError("--logger 'wandb': nobody is logged in; wandb login, or set WANDB_MODE=offline")


class WandB:
    """A `Logger` of W&B runs. What it has logged of a trial, W&B does not take twice: steps only grow."""

    name, option = "W&B", " --logger wandb"

    def __init__(self, run_dir: Path, study: StudyRow) -> None:
        self._run_dir, self._study = run_dir, study
        self._home = Path(os.environ.get("WANDB_DIR") or run_dir)
        self._runs: dict[str, Any] = {}  # open ones, by trial
        self._parent: Any = None
        self._logged: dict[str, int] = {}  # by trial, how many points

    @property
    def place(self) -> str:
        run = self._parent
        if run.offline:
            folder = self._home / "wandb"
            return f"W&B: offline in {folder}; upload with: wandb sync {folder}/offline-run-*"
        return f"W&B: {run.url or 'disabled'}"

    def begin(self) -> None:
        for left in [*self._runs.values(), *([] if self._parent is None else [self._parent])]:
            with contextlib.suppress(Exception):  # what a failure left open is taken up anew
                left.finish(exit_code=1)
        self._runs, self._logged = {}, {}
        base = self._study.get("base", self._study["definition"].get("base", {}))
        self._parent = self._open(self._study["id"], self._study["name"], "study", base)
        found = {key: self._study[key] for key in ("question", "reference", "arms", "seeds")}
        self._parent.config.update(found, allow_val_change=True)

    def _open(self, identity: str, name: str, kind: str, config: dict[str, Any], tags: tuple[str, ...] = ()) -> Any:
        import wandb

        settings = wandb.Settings(
            console="off", silent=True, disable_git=True, disable_code=True, init_timeout=30, x_disable_stats=True
        )
        for left in self._home.glob(f"wandb/offline-run-*-{identity}"):
            shutil.rmtree(left, ignore_errors=True)  # all of it is written again
        return wandb.init(
            id=identity,
            name=name,
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            group=os.environ.get("WANDB_RUN_GROUP") or self._study["name"],
            job_type=kind,
            tags=[tag[:64] for tag in tags],
            config=config,
            dir=str(self._home),
            resume="allow",
            reinit="create_new",
            settings=settings,
        )

    def trial(self, row: TrialRow) -> None:
        trial, folder = row["trial"], layout.trial_folder(self._run_dir, row["trial"])
        run = self._runs.get(trial)
        if run is None:
            tags = (row["role"], *row["levels"].values())
            identity = f"{self._study['id']}-{content_hash(trial)[:8]}"  # names may have signs that ids may not
            run = self._open(identity, trial, row["arm"], load_yaml(folder / layout.CONFIG), tags)
            self._runs[trial], self._logged[trial] = run, 0
            mine = {"arm": row["arm"], "seed": row["seed"], **{f"level.{k}": v for k, v in row["levels"].items()}}
            run.config.update(mine, allow_val_change=True)
        points = list(content.points(read_metrics(folder / layout.METRICS)))
        for step, values in points[self._logged[trial] :]:
            run.log(values, step=step)
        self._logged[trial] = max(self._logged[trial], len(points))
        run.summary.update({"state": row["state"], "attempt": row["attempt"]})
        if row["state"] != "RUNNING":
            error = row.get("error")
            told = {"error": f"{error['status']}: {error['message']}"} if error else {}
            run.summary.update({**content.totals(row), **told})
            self._runs.pop(trial).finish(exit_code=1 if row["state"] == "FAILED" else 0)

    def end(self, status: str, answer: Answer | None) -> None:
        """Close the study's run, with its answer as notes, numbers and words, and the report as a page."""
        import wandb

        for run in self._runs.values():
            run.finish(exit_code=1)
        self._runs, run = {}, self._parent
        if answer is not None:
            run.notes = answer.note
            run.summary.update({**answer.numbers, **answer.words})
        if (self._run_dir / layout.REPORT_HTML).is_file():
            run.log({"report": wandb.Html(str(self._run_dir / layout.REPORT_HTML))})
        run.summary.update({"state": status})
        run.finish(exit_code=0 if status == "FINISHED" else 1)

    def explain(self, error: Exception) -> str:
        return f"W&B says: {redacted(' '.join(str(error).split()))[:200] or type(error).__name__}"
