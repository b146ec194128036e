"""Two runs side by side."""

from collections.abc import Callable
from pathlib import Path

from claim_ledgers import write_claims

from atod_sweep.evidence.analysis.reading import load
from atod_sweep.evidence.analysis.verdicts import judge
from atod_sweep.evidence.report.answer import answer
from atod_sweep.evidence.report.compare import claims, lines, tables, text
from atod_sweep.evidence.report.headline import headline

MakeRun = Callable[..., Path]


def test_what_differs_in_the_making_and_in_the_outcome(make_run: MakeRun) -> None:
    claim = {"arm": "a", "other": "b"}
    first = make_run("first", {"a": 0.7, "b": 0.5}, seeds=5, hypotheses=[claim])
    second = make_run("second", {"a": 0.7, "c": 0.5}, seeds=3, seed=1, numerics=2)
    made, arms, verdicts = tables(load(first), load(second))
    assert ["numerics", "1", "2"] in [[cell.text for cell in row] for row in made.rows]
    rows = {row[0].text: [cell.text for cell in row] for row in arms.rows}
    assert list(rows) == ["a", "b", "c"]
    assert (rows["a"][1], rows["a"][3]) == ("5", "3")
    assert "[" in rows["a"][5]
    assert rows["b"][5] == "–"
    assert [cell.text for cell in verdicts.rows[0]] == ["a > b", "supported at n = 5", "–"]


def test_a_run_against_itself_differs_in_nothing(make_run: MakeRun) -> None:
    run = make_run("same", {"a": 0.7, "b": 0.5})
    (arms,) = tables(load(run), load(run))
    assert [row[5].text for row in arms.rows] == ["+0.000", "+0.000"]  # three equal seeds are no certainty


def test_a_verdict_says_beside_another_runs_what_changes_its_reading(make_run: MakeRun) -> None:
    run = make_run("late", {"a": 0.9, "b": 0.5}, seeds=5, late_hypotheses=[{"arm": "a", "other": "b"}])
    assert tables(load(run), load(run))[-1].rows[0][1].text == "supported · exploratory at n = 5"
    assert answer(run).words["verdicts"] == "a > b: supported · exploratory"


def test_plain_text_is_aligned(make_run: MakeRun) -> None:
    found = lines(make_run("one", {"a": 0.7, "b": 0.5}), make_run("two", {"a": 0.6, "b": 0.5}))
    head = next(i for i, line in enumerate(found) if line.startswith("arm"))
    column = found[head].index("difference")
    assert all(line[column - 1] == " " and line[column] in "+−" for line in found[head + 1 : head + 3])


def test_all_claims_of_many_runs_in_one_table(make_run: MakeRun, tmp_path: Path) -> None:
    claim = {"arm": "a", "other": "b"}
    first = make_run(
        "first", {"a": 0.7, "b": 0.5}, seeds=5, hypotheses=[claim], late_hypotheses=[{**claim, "margin": 0.1}]
    )
    second = make_run("second", {"a|x": 0.7, "b": 0.5}, numerics=2)
    flat = make_run("flat", {"a": 0.2, "b": 0.19}, hypotheses=[claim])
    readme = tmp_path / "README.md"
    readme.write_text("not a run")
    head, rule, *rows = text([first, second, flat, readme], False, numerics=2)
    assert head == "| study | hypothesis | effect | 95 % interval | n | verdict |"
    assert rule.count("|") == head.count("|") == rows[0].count("|")
    cells = [cell.strip() for cell in rows[0].strip("|").split("|")]
    (verdict, _) = judge(load(first))
    assert cells[:2] == ["first", "a > b"]
    assert cells[2] == f"+{verdict.interval.estimate:.3f}"
    assert cells[3].startswith(f"[+{verdict.interval.low:.3f}, ")
    assert cells[4:] == ["5", "supported; barring collapse; stale"]
    assert rows[1].endswith("| 5 | supported; exploratory; barring collapse; stale |")
    assert rows[2] == "| flat | a > b | – | – | 0 | not learning; stale |"
    assert rows[3:] == ["", "Without hypotheses: second."]
    assert text([first, readme, flat], False) == lines(first, flat)  # two runs: side by side
    assert text([first, flat], True)[0] == head
    sequential = make_run("sequential", {"a": 0.7, "b": 0.5}, seeds=10, hypotheses=[claim], sequential=True)
    assert "anytime-valid | 10 | supported" in claims([sequential])[2]


def test_runs_of_other_metrics_and_settings_share_no_row(make_run: MakeRun) -> None:
    """Each column bears its own metric, and a setting that one of the runs does not have has no result there."""
    first = make_run("first", {"a": 0.7, "b": 0.5}, factors={"task": {"easy": 0.1, "hard": -0.1}})
    second = make_run("second", {"a": 0.7, "b": 0.5}, metric={"name": "eval/turns", "last": 1})
    arms = tables(load(first), load(second))[1]
    assert arms.header[1:5] == ["first: seeds", "first: success", "second: seeds", "second: turns"]
    rows = {row[0].text: [cell.text for cell in row] for row in arms.rows}
    assert list(rows) == ["a (task=easy)", "b (task=easy)", "a (task=hard)", "b (task=hard)", "a", "b"]
    assert rows["a (task=easy)"][3:6] == ["0", "–", "–"]
    assert rows["a"][1:3] == ["0", "–"]
    assert rows["a"][4].startswith("5.")


def test_an_effect_has_the_sign_that_the_report_gives_it(tmp_path: Path) -> None:
    """Arm minus other, also where less is better: a takes two turns less."""
    claim = [{"arm": "a", "other": "b", "metric": "eval/turns"}]
    run = write_claims(tmp_path / "run", {"a": [4.0, 4.1, 3.8], "b": [6.0, 6.1, 5.9]}, claim, metric="eval/turns")
    effect = headline(load(run), judge(load(run))).groups[0].rows[0].effect
    assert effect.startswith("−2.0")
    assert f"| a > b on eval/turns | {effect} |" in claims([run])[2]
