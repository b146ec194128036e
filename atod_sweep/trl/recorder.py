"""What our loop does around the steps, around TRL's: evaluations, rows, and checkpoints that are whole or not there."""

from __future__ import annotations

import json
import logging
import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from accelerate.utils import gather_object
from transformers import TrainerCallback

from atod_sweep.config.train import Train
from atod_sweep.records import manifest
from atod_sweep.training.algorithms import ALGORITHMS
from atod_sweep.training.algorithms.mixed import Mixed
from atod_sweep.training.failures import BadCheckpoint, Diverged
from atod_sweep.training.loop.books import Books, Row
from atod_sweep.training.loop.optimiser import rate
from atod_sweep.training.loop.trial import digest, is_checkpoint

STATE = "atod_sweep.json"
log = logging.getLogger(__name__)


class Recorder(TrainerCallback):
    """Keeps a trial's books while TRL trains. `rows` are those that nobody has been told of yet.

    `measured`: numbers of the step that is under way, which whoever measures them puts there.
    """

    def __init__(
        self,
        config: Train,
        books: Books,
        folder: Path,
        report: Callable[[list[Row]], None],
        measured: dict[str, Any],
    ) -> None:
        self.config, self.books, self.folder, self.report, self.measured = config, books, folder, report, measured
        self.rows: list[Row] = []
        self._started = 0.0
        mix = ALGORITHMS[config.objective.kind](config, None, None)
        assert isinstance(mix, Mixed)
        self._mix = mix

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Evaluate the student as it stands before the step."""
        if state.global_step % self.config.evaluation.every == 0:
            self.evaluate(state.global_step)
        self.measured.clear()
        self._started = time.perf_counter()

    def evaluate(self, step: int) -> Row:
        """An evaluation, and with it all rows since the last one, for whoever wants to know."""
        row = self.books.evaluation(step)
        told, self.rows = [*self.rows, row], []
        if self.books.accelerator.is_main_process:
            self.report(told)
        return row

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Ask for a checkpoint where one is due."""
        control.should_save = is_checkpoint(self.config, state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **_: Any) -> None:
        """The row of the step that has been done. Raises Diverged."""
        if "loss" not in logs:  # a summary at the end
            return
        step, seconds = state.global_step - 1, time.perf_counter() - self._started
        for name in ("loss", "grad_norm"):
            if not math.isfinite(logs[name]):
                raise Diverged(f"{name} is {logs[name]} at step {step}; lower optimiser.lr or check the environment")
        found = self._weights(step) | {name: logs[name] for name in ("loss", "grad_norm")} | self.measured
        if "kl/teacher" not in found:  # it was not asked
            del found["teacher_tokens"]
        found["seconds/update"] = seconds - found["seconds/rollout"]
        lr = rate(self.config.optimiser, step, self.config.steps)
        self.rows.append(self.books.row(step, found, lr, seconds))

    def _weights(self, step: int) -> dict[str, float]:
        distill = self._mix.distill_weight.at(step)
        kl = self._mix.kl_weight.at(step) if self._mix.kl_weight else 0.0
        return {"weight/distill": distill, "weight/reward": self._mix.reward_weight(step, distill), "weight/kl": kl}

    # ---- checkpoints -----------------------------------------------------------------------------------------------

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Add to TRL's checkpoint what the books hold, and vouch for all of it."""
        accelerator = self.books.accelerator
        costs = gather_object([dict(self.books.stage.cost)])
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            path = self.folder / f"checkpoint-{state.global_step}"
            kept = {"costs": costs, "rows": self.rows}
            if self.books.retention is not None:
                kept["retained"] = self.books.retention.before
            (path / STATE).write_text(json.dumps(kept), encoding="utf-8")
            manifest.write(path, step=state.global_step, config=digest(self.config, {}))
        accelerator.wait_for_everyone()

    def restore(self) -> Path | None:
        """The newest whole checkpoint, if there is any, with the books as they were then.

        Torn ones are removed, or TRL would count them among those to keep. Raises BadCheckpoint.
        """
        for path in sorted(self.folder.glob("checkpoint-*"), key=lambda path: -int(path.name.rpartition("-")[2])):
            try:
                facts = manifest.check(path)
            except ValueError as problem:
                log.warning("%s: torn (%s); going on from the one before it", path, problem)
                if self.books.accelerator.is_main_process:
                    shutil.rmtree(path, ignore_errors=True)
                continue
            if facts["config"] != (mine := digest(self.config, {})):
                raise BadCheckpoint(f"{path}: written by another config ({facts['config']}, this one is {mine})")
            state = json.loads((path / STATE).read_text(encoding="utf-8"))
            rank, ranks = self.books.accelerator.process_index, len(state["costs"])
            if ranks != (processes := self.books.accelerator.num_processes):
                raise BadCheckpoint(f"{path}: a run of {ranks} processes cannot be resumed with {processes}")
            self.books.stage.cost.update(state["costs"][rank])
            self.rows = state["rows"]
            if self.books.retention is not None:
                self.books.retention.before = state["retained"]
            return path
        return None
