"""Tables of what a student said in its last evaluation, and what its teacher thinks of that."""

from __future__ import annotations

import json
import math
from typing import Any

from atod_sweep.evidence.analysis.results import Results, Trial
from atod_sweep.evidence.analysis.text import number
from atod_sweep.evidence.tables.cells import Cell, Table, number_cell
from atod_sweep.records import layout

LONGEST = 300  # characters of a text


def of_arm(results: Results, arm: str | None) -> list[Table]:
    """The conversations of the arm's first complete seed that has some on file; [] if none has."""
    trials = [t for t in results.trials if t.arm == arm and t.is_trained and t.state == "COMPLETE"]
    for trial in sorted(trials, key=lambda t: t.seed):
        folder = layout.trial_folder(results.folder, trial.id) / layout.SAMPLES
        if files := sorted(folder.glob("step-*.json")):
            step = int(files[-1].stem.removeprefix("step-"))
            return [_table(one, trial, step) for one in json.loads(files[-1].read_text(encoding="utf-8"))]
    return []


def _table(conversation: dict[str, Any], trial: Trial, step: int) -> Table:
    rows = [
        [
            Cell(str(k), k),
            Cell(_short(turn["observation"])),
            Cell(_short(turn.get("answer", turn["action"])) + _remark(turn)),
            number_cell(turn.get("logp", math.nan)),
            number_cell(turn.get("teacher_logp", math.nan)),
        ]
        for k, turn in enumerate(conversation["turns"], start=1)
    ]
    caption = (
        f"{trial.id} after {step} steps, held-out task {conversation['task']}: success "
        f"{number(conversation['success'], 2)}, reward {number(conversation['reward'], 2)}. Log-probs are per token of "
        "the action, in nats: what is likelier under the teacher than under the student is what it would pull towards."
    )
    return Table(
        caption, ["turn", "observation", "action", "student's log-prob", "teacher's log-prob"], rows, words=True
    )


def _remark(turn: dict[str, Any]) -> str:
    marks = [
        word
        for word, is_so in (
            ("no action in it", "unmarked" in turn),
            ("not admissible", turn.get("admissible") is False),
            ("cut off", "cut_off" in turn),
        )
        if is_so
    ]
    return f" ({', '.join(marks)})" if marks else ""


def _short(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= LONGEST else f"{plain[:LONGEST]}…"
