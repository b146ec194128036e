"""The committed folders are packed runs, from which today's code makes the committed reports, byte for byte."""

from pathlib import Path

import pytest

from atod_sweep.evidence.analysis.reading import load
from atod_sweep.evidence.report.packing import LIMIT
from atod_sweep.evidence.report.write import write
from atod_sweep.records import layout
from atod_sweep.training import NUMERICS

RESULTS = Path(__file__).parents[3] / "studies" / "results"
STUDIES = sorted(path.parent.name for path in RESULTS.glob("*/ledger.jsonl"))


def test_they_are_there() -> None:
    assert len(STUDIES) > 3


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
    assert "- **Records**: packed: evaluations in full" in text
