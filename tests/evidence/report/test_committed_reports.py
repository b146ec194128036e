"""The committed folders are packed runs, from which today's code makes the committed reports, byte for byte."""

import csv
import shutil
from pathlib import Path

import pytest

from atod_sweep.errors import UserError
from atod_sweep.evidence.analysis.reading import load
from atod_sweep.evidence.report.packing import LIMIT
from atod_sweep.evidence.report.write import write
from atod_sweep.records import layout
from atod_sweep.training import NUMERICS

RESULTS = Path(__file__).parents[3] / "studies" / "results"
STUDIES = sorted(path.parent.name for path in RESULTS.glob("*/ledger.jsonl"))
BARE = [name for name in STUDIES if (RESULTS / name / "with_records").is_dir()]  # the trials' own records were lost


def test_they_are_there() -> None:
    assert len(STUDIES) - len(BARE) > 3


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_a_rebuilt_report_is_the_committed_one(name: str, tmp_path: Path) -> None:
    rebuilt = write(RESULTS / name, NUMERICS, formats=["md"], out=tmp_path / name)
    assert rebuilt.markdown.read_bytes() == (RESULTS / name / "report.md").read_bytes()
    for table in rebuilt.tables:
        assert table.read_bytes() == (RESULTS / name / "tables" / table.name).read_bytes()


@pytest.mark.parametrize("name", STUDIES)
def test_what_a_committed_report_shows_is_there(name: str) -> None:
    text = (RESULTS / name / "report.md").read_text(encoding="utf-8")
    pictures = [line.split("](")[1].rstrip(")") for line in text.splitlines() if line.startswith("![")]
    assert pictures
    assert all((RESULTS / name / picture).is_file() for picture in pictures)
    assert "not reached" not in text or (RESULTS / name / "tables" / "reaching_the_teacher.csv").is_file()


@pytest.mark.parametrize("name", STUDIES)
def test_a_committed_folder_is_a_packed_run_of_at_most_2_mb(name: str) -> None:
    results = load(RESULTS / name)
    assert results.files.packed is not None
    assert results.files.packed.trials.keys() == {trial.id for trial in (*results.trials, *results.explored)}
    assert all(b'"check": ' in line for line in (RESULTS / name / layout.LEDGER).read_bytes().splitlines())
    assert sum(path.stat().st_size for path in (RESULTS / name).rglob("*") if path.is_file()) <= LIMIT
    text = (RESULTS / name / "report.md").read_text(encoding="utf-8")
    kept = "the ledger alone, without the trials' own" if name in BARE else "evaluations in full"
    assert f"- **Records**: packed: {kept}" in text


@pytest.mark.parametrize("name", BARE)
def test_no_verdict_has_another_word_than_in_the_report_that_had_the_records(name: str) -> None:
    before, now = (_words(RESULTS / name / part / "tables" / "verdicts.csv") for part in ("with_records", ""))
    assert before == now
    assert now or name == "schedule_search"  # it has no claims


@pytest.mark.parametrize("name", BARE)
def test_a_rebuilt_report_never_takes_the_place_of_the_richer_one(name: str, tmp_path: Path) -> None:
    richer = shutil.copytree(RESULTS / name / "with_records", tmp_path / "with_records")
    with pytest.raises(UserError, match="holds a report made with trials' records that are not here now"):
        write(RESULTS / name, NUMERICS, formats=["md"], out=richer)
    assert (richer / "report.md").read_bytes() == (RESULTS / name / "with_records" / "report.md").read_bytes()


def _words(table: Path) -> dict[str, str]:
    """Claim -> verdict; none without a table."""
    if not table.is_file():
        return {}
    with table.open(encoding="utf-8", newline="") as file:
        return {row["claim"]: row["outcome"] for row in csv.DictReader(file)}
