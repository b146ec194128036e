"""The score of a trial, at the edges of how many rows it is taken over."""

from __future__ import annotations

import math

import pytest

from atod_sweep.records.score import score

ROWS = [
    {"phase": "eval", "step": 0, "eval/success": 0.1, "cost/env_steps": 0},
    {"phase": "train", "step": 1, "kl/teacher": 0.8, "eval/success": 9.0},  # no evaluation, whatever it says
    {"phase": "eval", "step": 2, "eval/success": 0.4, "cost/env_steps": 64},
    {"phase": "train", "step": 3, "kl/teacher": 0.2},
    {"phase": "eval", "step": 4, "eval/success": 0.6, "cost/env_steps": 128},
]
TOTALS = {"eval/success": 0.7, "cost/env_steps": 160.0}
CASES = {
    "the final number": ("eval/success", 1, TOTALS, ROWS, True, 0.7),
    "the last evaluation where there is no final number": ("eval/success", 1, {}, ROWS, True, 0.6),
    "the mean of the last two": ("eval/success", 2, TOTALS, ROWS, True, 0.5),
    "all of them": ("eval/success", 3, TOTALS, ROWS, True, 1.1 / 3),
    "one more than there are": ("eval/success", 4, TOTALS, ROWS, True, None),
    "a total cost": ("cost/env_steps", 1, TOTALS, ROWS, True, 160.0),
    "costs of the last rows": ("cost/env_steps", 2, TOTALS, ROWS, True, 96.0),
    "a diagnostic": ("kl/teacher", 1, TOTALS, ROWS, True, 0.2),
    "the mean of a diagnostic": ("kl/teacher", 2, TOTALS, ROWS, True, 0.5),
    "a name that is nowhere": ("eval/f1", 1, TOTALS, ROWS, True, None),
    "no rows": ("eval/success", 2, TOTALS, [], True, None),
    "a teacher, evaluated once": ("eval/success", 3, TOTALS, [], False, 0.7),
    "a teacher without the number": ("eval/f1", 3, TOTALS, [], False, None),
    "no number": ("eval/success", 1, {"eval/success": math.nan}, ROWS, True, None),
    "infinite": ("eval/success", 1, {"eval/success": math.inf}, ROWS, True, None),
    "null among the rows": ("x", 2, {}, [{"phase": "eval", "x": None}, {"phase": "eval", "x": 1.0}], True, None),
}


@pytest.mark.parametrize(("name", "last", "totals", "rows", "trained", "want"), CASES.values(), ids=CASES)
def test_the_score(name, last, totals, rows, trained, want):
    found = score(name, last, totals, rows, trained)
    assert found == (want if want is None else pytest.approx(want))
