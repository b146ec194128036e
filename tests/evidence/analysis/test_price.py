"""Money from a ledger's counts: every number here is reckoned by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml
from ledger_files import read_ledger, study_row, trial_row, write_ledger

from atod_sweep import api
from atod_sweep.config.price import Price
from atod_sweep.errors import UserError
from atod_sweep.evidence.analysis.price import worths
from atod_sweep.evidence.analysis.reading import load
from atod_sweep.evidence.report.write import write

pytestmark = pytest.mark.usefixtures("blank_pictures")

PRICE = {
    "student": {"input": 1.0, "output": 4.0},
    "teacher": {"input": 10.0, "output": 40.0, "cached": 1.0},
    "hour": 3.6,
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    rows = [study_row(controls=["teacher"], seeds=[0, 1], price=PRICE)]
    end = {"eval/success": 0.5, "eval/turns": 4.0}
    rows.append(trial_row("teacher", role="teacher", state="COMPLETE", metrics=end))
    # 10 tokens a turn, 2 of them written
    cost = {"tokens": 1e6, "generated_tokens": 2e5, "env_steps": 1e5, "teacher_tokens": 5e5, "seconds": 1000.0}
    for arm, success in (("a", 0.8), ("b", 0.0)):
        for seed in (0, 1):
            found = {"eval/success": success, "eval/turns": 5.0}
            rows.append(trial_row(arm, seed, "COMPLETE", metrics=found, cost=cost))
    folder = tmp_path / "run"
    folder.mkdir()
    write_ledger(folder, rows)
    return folder


def test_tasks_and_trainings_cost_what_their_tokens_do(run: Path) -> None:
    teacher, a, b = worths(load(run), Price.model_validate(PRICE))
    # 4 turns: 32 read, 8 written, 10 + 20 + 30 read again
    assert teacher.task == pytest.approx((32 * 10 + 8 * 40 + 60 * 1) / 1e6)
    assert teacher.solved == pytest.approx(2 * teacher.task)
    assert a.task == pytest.approx((40 * 1 + 10 * 4) / 1e6)
    assert a.solved == pytest.approx(1e-4)
    assert a.training == pytest.approx(0.8 + 0.8 + 5.0 + 1.0)  # read, written, scored, 1000 s
    assert a.earned_back == pytest.approx(7.6 / (2 * 700e-6 - 1e-4))
    assert (b.solved, b.earned_back) == (math.inf, math.inf)
    assert [w.on_front for w in (teacher, a, b)] == [False, True, False]


def test_the_report_and_the_verb_tell_the_same(run: Path, tmp_path: Path) -> None:
    said = api.cost(run)
    assert said.splitlines()[1].split()[:7] == ["teacher", "(itself)", "0.500", "4.0", "40", "$0.0007", "$0.0014"]
    assert "5.85 k tasks" in said
    assert "no task solved" in said
    assert (
        "| a | 0.800 | 5.0 | 50 | $8e-05 | $0.0001 | 7 % | $7.6 | 5.85 k tasks | yes |"
        in write(run).markdown.read_text()
    )
    dearer = tmp_path / "price.yaml"
    dearer.write_text(yaml.safe_dump(PRICE | {"currency": "€", "hour": 0.0}))
    assert "€6.6" in api.cost(run, price=dearer)


def test_what_is_missing_is_named(run: Path, tmp_path: Path) -> None:
    write_ledger(run, [study_row()])
    with pytest.raises(UserError, match="has no price section; write one"):
        api.cost(run)
    short = tmp_path / "price.yaml"
    short.write_text("student: {input: 1}\nteacher: {input: 1, output: 2}\n")
    with pytest.raises(UserError, match=r"student\.output"):
        api.cost(run, price=short)
    short.write_text(yaml.safe_dump(PRICE))
    with pytest.raises(UserError, match="no arm has a result yet"):
        api.cost(run, price=short)


def test_what_costs_nothing_divides_nothing(run: Path) -> None:
    """A teacher of one's own may be free, and a teacher may solve nothing: then there is no share of its price."""
    free = {**PRICE, "teacher": {"input": 0.0, "output": 0.0}}
    rows = [{**row, "price": free} if row["event"] == "study" else row for row in read_ledger(run)]
    write_ledger(run, rows)
    _, teacher, a, *_ = api.cost(run).splitlines()
    assert teacher.split()[5:7] == ["$0", "$0"]
    assert a.split()[5:7] == ["$0.0001", "–"]
    for row in rows:
        if row.get("role") == "teacher":
            row["metrics"] = {"eval/success": 0.0, "eval/turns": 4.0}
    write_ledger(run, rows)
    assert "0 %" not in api.cost(run)


def test_an_arm_without_counts_is_there_without_amounts(run: Path) -> None:
    rows = read_ledger(run)
    for row in rows:
        if row.get("arm") == "b":
            row["cost"] = {"seconds": 1000.0}
    write_ledger(run, rows)
    teacher, a, b = worths(load(run), Price.model_validate(PRICE))
    assert (b.arm, b.success, b.usage.turns) == ("b", 0.0, 5.0)
    assert math.isnan(b.task)
    assert [w.on_front for w in (teacher, a, b)] == [False, True, False]
    assert teacher.task == pytest.approx((32 * 10 + 8 * 40 + 60 * 1) / 1e6)  # by the tokens of those that counted
    last = api.cost(run).splitlines()[3].split()
    assert last[:5] == ["b", "0.000", "5.0", "–", "–"]
    assert last.count("–") == 4  # nor a share of the teacher's, nor what training cost


def test_a_student_whose_turns_a_teacher_took_writes_them_itself_at_work(run: Path) -> None:
    """Half of it was the teacher's: 0.9 for reading, 0.4 for writing, 5 for its scores, 4 for its turns."""
    rows = read_ledger(run)
    for row in rows:
        if row.get("arm") == "b":
            row["cost"] = {**row["cost"], "generated_tokens": 1e5, "teacher_generated_tokens": 1e5}
    write_ledger(run, rows)
    _, a, b = worths(load(run), Price.model_validate(PRICE))
    assert b.usage == a.usage
    assert b.training == pytest.approx(0.9 + 0.4 + 5.0 + 4.0 + 1.0)
