"""TensorBoard: an event file per trial in the run's folder, with its curves, its config as hyperparameters, and a page
with the study's answer.

The files are copies of what the run's folder has. A process that takes up a run writes those of its trials anew.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from atod_sweep.config.base import load_yaml
from atod_sweep.config.files import flatten
from atod_sweep.errors import UserError
from atod_sweep.records import layout
from atod_sweep.records.answer import Answer
from atod_sweep.records.ledger_rows import StudyRow, TrialRow
from atod_sweep.records.metrics import read_metrics
from atod_sweep.sweep.loggers import content

_STUDY = "study"  # a name that no trial has: theirs end in their seed


def check() -> None:
    """UserError unless TensorBoard is installed."""
    if find_spec("tensorboard") is None:
        raise UserError("--logger 'tensorboard': needs a package; pip install \"atod-sweep[tensorboard]\"")


class TensorBoard:
    """A `Logger` of event files in `tensorboard/` of the run's folder."""

    name, option = "TensorBoard", " --logger tensorboard"

    def __init__(self, run_dir: Path, study: StudyRow) -> None:
        self._run_dir, self._study = run_dir, study
        self._folder = run_dir / layout.TENSORBOARD
        self._files: dict[str, Any] = {}
        self._logged: dict[str, int] = {}  # by trial, the points that are in its file

    @property
    def place(self) -> str:
        return f"TensorBoard: tensorboard --logdir {self._folder}"

    def begin(self) -> None:
        for file in self._files.values():  # what a failure left open is written anew
            with contextlib.suppress(Exception):
                file.close()
        self._files, self._logged = {}, {}
        self._folder.mkdir(exist_ok=True)

    def trial(self, row: TrialRow) -> None:
        trial, folder = row["trial"], layout.trial_folder(self._run_dir, row["trial"])
        file = self._files.get(trial) or self._opened(row, folder)
        points = list(content.points(read_metrics(folder / layout.METRICS)))
        for step, values in points[self._logged[trial] :]:
            file.scalars(values, step)
        self._logged[trial] = max(self._logged[trial], len(points))
        if row["state"] != "RUNNING":
            file.scalars(content.totals(row), points[-1][0] if points else 0)
            self._files.pop(trial).close()
        else:
            file.flush()

    def _opened(self, row: TrialRow, folder: Path) -> Any:
        place = self._folder / row["trial"]
        shutil.rmtree(place, ignore_errors=True)
        self._logged[row["trial"]] = 0
        found = flatten(load_yaml(folder / layout.CONFIG)) | {"arm": row["arm"]} | dict(row["levels"])
        file = self._files[row["trial"]] = _EventFile(place)
        file.hyperparameters(found, row["trial"])
        return file

    def end(self, status: str, answer: Answer | None) -> None:
        for file in self._files.values():
            file.close()
        self._files = {}
        shutil.rmtree(self._folder / _STUDY, ignore_errors=True)
        if answer is not None:
            file = _EventFile(self._folder / _STUDY)
            file.text("answer", answer.note)
            file.scalars(answer.numbers, 0)
            file.close()

    def explain(self, error: Exception) -> str:
        return f"TensorBoard in {self._folder}: {' '.join(str(error).split())[:200] or type(error).__name__}"


class _EventFile:
    """TensorBoard's file of events, without TensorFlow or torch."""

    def __init__(self, folder: Path) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._event, self._writer = Event, EventFileWriter(str(folder))
        self.flush, self.close = self._writer.flush, self._writer.close

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        event = self._event(step=step)
        for name, value in values.items():
            event.summary.value.add(tag=name, simple_value=value)
        self._writer.add_event(event)

    def text(self, name: str, text: str) -> None:
        import numpy as np
        from tensorboard.plugins.text.summary_v2 import text_pb

        self._writer.add_event(self._event(step=0, summary=text_pb(name, np.array(text, dtype=object))))

    def hyperparameters(self, values: Mapping[str, Any], trial: str) -> None:
        """What the trial ran with; what is neither number nor text is written as text."""
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb

        plain = {key: value if isinstance(value, str | int | float) else str(value) for key, value in values.items()}
        self._writer.add_event(self._event(step=0, summary=hparams_pb(plain, trial)))
