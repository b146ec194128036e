"""What is not known is not told: trials whose records are gone, wholly or in part, and reports richer than the rest."""

import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from ledger_files import read_ledger, write_ledger, write_metrics

from atod_sweep.config.study import Metric
from atod_sweep.errors import UserError
from atod_sweep.evidence.analysis.comparisons import summaries
from atod_sweep.evidence.analysis.curves import COUNTERS, reach_teacher, seeds_drawn
from atod_sweep.evidence.analysis.reading import load
from atod_sweep.evidence.report.cautions import warnings
from atod_sweep.evidence.report.write import write
from atod_sweep.evidence.tables import arms
from atod_sweep.records.metrics import read_metrics

MakeRun = Callable[..., Path]
ARMS = {"a": 0.8, "b": 0.75}


def cut(run: Path, trial: str, last: int) -> None:
    """Let a trial's record end after this step."""
    path = run / "trials" / trial / "metrics.jsonl"
    write_metrics(path, [row for row in read_metrics(path) if row["step"] <= last])


def forget(run: Path, trial: str, *keys: str) -> None:
    """Take these keys out of a trial's evaluations."""
    path = run / "trials" / trial / "metrics.jsonl"
    write_metrics(path, [{k: v for k, v in row.items() if k not in keys} for row in read_metrics(path)])


def there(run: Path) -> list[list[str]]:
    """The table of when the teacher was reached: who, how many seeds, at which step."""
    results = load(run)
    table = arms.reaching(reach_teacher(results), results)
    return [[row[0].text, row[2].text, row[3].text] for row in table.rows]


def test_all_records_there(make_run: MakeRun) -> None:
    rows = there(make_run("run", ARMS, teacher=0.5))
    assert [row[:2] for row in rows] == [["a", "3 of 3"], ["b", "3 of 3"]]
    assert all(int(row[2]) > 0 for row in rows)


@pytest.mark.usefixtures("blank_pictures")
def test_no_records_no_table(make_run: MakeRun) -> None:
    run = make_run("run", ARMS, teacher=0.5)
    shutil.rmtree(run / "trials")
    assert there(run) == []
    text = write(run).markdown.read_text(encoding="utf-8")
    for words in ("not reached", "seeds there", "area under curve", "teacher weight", "Area under", "Teacher weight"):
        assert words not in text, words
    assert not (run / "tables/reaching_the_teacher.csv").exists()


def test_one_arm_without_records(make_run: MakeRun) -> None:
    run = make_run("run", ARMS, teacher=0.5)
    for seed in range(3):
        shutil.rmtree(run / "trials" / f"b-s{seed}")
    assert there(run)[1] == ["b", "no record", "–"]
    assert "The records of 3 of 6 trials are not in this folder" in " ".join(warnings(load(run)))


def test_a_record_that_ends_early_is_none(make_run: MakeRun) -> None:
    """The trial is complete in the ledger: what its last steps would have shown is not known."""
    run = make_run("run", ARMS, teacher=0.95)
    assert [row[1:] for row in there(run)] == [["0 of 3", "not reached"]] * 2
    cut(run, "a-s0", 30)
    assert there(run)[0] == ["a", "0 of 2 (1 without a record)", "not reached"]
    assert seeds_drawn(load(run)) == "2 to 3 seeds"


def test_a_cost_that_was_not_kept_is_unknown_not_out_of_reach(make_run: MakeRun) -> None:
    run = make_run("run", ARMS, teacher=0.5)
    forget(run, "a-s1", "cost/teacher_tokens")
    found = reach_teacher(load(run))[0]
    assert found.reached == found.seeds == 3
    assert [x for x in COUNTERS if math.isnan(found.median[x])] == ["cost/teacher_tokens"]


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        (Metric(), None),  # the ledger has it
        (Metric(name="cost/env_steps"), None),
        (Metric(name="eval/other"), "no eval/other"),
        (Metric(last=2), "no record"),
        (Metric(name="kl/teacher"), "no record"),
    ],
)
def test_why_a_cell_is_missing(make_run: MakeRun, metric: Metric, reason: str | None) -> None:
    run = make_run("run", ARMS)
    whole = load(run).why_missing("a", {}, 0, metric)
    shutil.rmtree(run / "trials")
    assert load(run).why_missing("a", {}, 0, metric) == reason
    assert whole == (reason if reason == "no eval/other" else None)


@pytest.mark.usefixtures("blank_pictures")
def test_costs_that_nobody_counted_are_not_nothing(make_run: MakeRun) -> None:
    run = make_run("run", ARMS, seeds=2, failed=[("a", 1)], teacher=None, steps=10, turns=6)
    rows = read_ledger(run)
    for row in rows:
        if row.get("state") == "FAILED":
            del row["cost"], row["seconds"]
    write_ledger(run, rows)
    text = write(run).markdown.read_text(encoding="utf-8")
    assert "All 4 trials together: 2:31 min one after another" in text  # 50 + 50 + 51 s
    assert "11.5 k environment steps in the 3 trials that counted them" in text
    assert "went into" not in text
    assert math.isnan(next(t.seconds for t in load(run).trials if t.state == "FAILED"))
    assert [s.seconds for s in summaries(load(run))] == [5.0, 5.0]  # of the complete ones, as their costs have it


@pytest.mark.slow
@pytest.mark.usefixtures("blank_pictures")
def test_a_poorer_report_does_not_replace_a_richer_one(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("run", ARMS, teacher=0.5)
    rich = write(run).markdown.read_bytes()
    assert write(run).markdown.read_bytes() == rich
    kept = run / "trials" / "a-s0"
    kept.rename(tmp_path / "aside")
    with pytest.raises(UserError, match=r"\(1 of 6 are missing or cut short\).*elsewhere with --out") as refused:
        write(run)
    assert "\n" not in str(refused.value)
    assert (run / "report.md").read_bytes() == rich
    poor = write(run, out=tmp_path / "poor").markdown.read_bytes()
    assert write(run, out=tmp_path / "poor").markdown.read_bytes() == poor  # as poor as the one that is there
    (tmp_path / "aside").rename(kept)
    assert write(run, out=tmp_path / "poor").markdown.read_bytes() == rich
