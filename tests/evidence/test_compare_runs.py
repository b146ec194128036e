"""Two runs side by side."""

from collections.abc import Callable
from pathlib import Path

from atod_sweep.evidence.compare import lines, tables
from atod_sweep.evidence.results import load

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
    assert all(row[5].text == "0.000 [0.000, 0.000]" or row[5].text.startswith("+0.000") for row in arms.rows)


def test_plain_text_is_aligned(make_run: MakeRun) -> None:
    text = lines(make_run("one", {"a": 0.7, "b": 0.5}), make_run("two", {"a": 0.6, "b": 0.5}))
    head = next(i for i, line in enumerate(text) if line.startswith("arm"))
    column = text[head].index("difference")
    assert all(line[column - 1] == " " and line[column] in "+−" for line in text[head + 1 : head + 3])
