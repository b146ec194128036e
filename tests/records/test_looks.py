"""For whom the seeds are that were added until claims were decided."""

import pytest
from ledger_files import study_row

from atod_sweep.records import looks

AB, AC_LONG = {"arms": ["a", "b"], "at": {}}, {"arms": ["a", "c"], "at": {"h": "long"}}


def study(seeds, arms=("a", "b", "c"), **changes):
    return study_row("s", arms, seeds=list(range(seeds)), sequential=True, hypotheses=[], **changes)


def look(*claims):
    return {"event": "look", "time": 0.0, "seeds": [], "rule": "", "verdicts": [], "decided": False, "open": [*claims]}


OLD = {key: value for key, value in look().items() if key != "open"}


@pytest.mark.parametrize(
    ("rows", "resting"),
    [
        ([study(4)], ""),
        ([study(2), look(AB), study(4)], "c2 c3"),
        ([study(2), look(AB, AC_LONG), study(4)], ""),
        ([study(2), look(AC_LONG), study(4)], "b2 b3"),
        ([study(2), look(AB), study(3), look(AC_LONG), study(4)], "c2 b3"),
        ([study(2), OLD, study(4)], ""),  # all arms got all seeds then
        ([study(2), OLD, study(3), look(AB), study(4)], "c3"),
        ([study(2), look(AB), study(3), study(2), study(3)], "c2"),  # another revision's row starts anew
        ([study(3), look(), study(2), study(3)], ""),  # and its seeds are not those of the look before
        ([study(2), look(AB), study(4), study(4, arms=["a", "b", "c", "d"])], ""),  # another question
        ([study(2), look(AB), {**study(4), "sequential": False}], ""),  # a study of fixed size
    ],
)
def test_who_rests(rows, resting):
    found = looks.blocks(rows)
    left_out = {f"{arm}{seed}" for arm in "abc" for seed in range(4) if looks.rests(found, arm, {"h": "long"}, seed)}
    assert left_out == set(resting.split())


def test_a_claim_at_a_level_is_not_about_the_others():
    found = looks.blocks([study(2), look(AC_LONG), study(3)])
    assert not looks.rests(found, "a", {"h": "long"}, 2)
    assert looks.rests(found, "a", {"h": "short"}, 2)
