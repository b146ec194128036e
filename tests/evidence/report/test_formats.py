"""The report in the formats asked for, where it was asked for."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from atod_sweep.errors import UserError
from atod_sweep.evidence.report.pdf import BROWSERS
from atod_sweep.evidence.report.write import write

Make = Callable[..., Path]


@pytest.mark.usefixtures("blank_pictures")
def test_only_what_was_asked_for_is_written(make_run: Make, tmp_path: Path) -> None:
    run, out = make_run("run", {"only": 0.5}, seeds=1, teacher=None, steps=10), tmp_path / "elsewhere"
    paths = write(run, formats=["md"], out=out)
    assert paths.documents == {"md": out / "report.md"}
    assert (out / "tables/arms.csv").is_file()
    assert (out / "figures/scores.png").is_file()
    assert not (out / "report.html").exists()
    assert not list(run.glob("report.*"))


def test_unknown_formats_and_missing_browsers_are_one_line(make_run: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run("run", {"only": 0.5}, seeds=1, teacher=None, steps=10)
    with pytest.raises(UserError, match=r"--format 'docx': unknown; use html, md, pdf"):
        write(run, formats=["docx"])
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match=r"--format 'pdf': needs Chromium.*apt-get install chromium"):
        write(run, formats=["md", "pdf"])
    assert not (run / "report.md").exists()  # nothing half done


@pytest.mark.slow
@pytest.mark.skipif(not any(map(shutil.which, BROWSERS)), reason="no Chromium here; Debian: apt-get install chromium")
def test_pdf(make_run: Make) -> None:
    run = make_run("run", {"a": 0.6, "b": 0.5}, steps=10)
    pdf = write(run, formats=["pdf"]).documents["pdf"]
    assert pdf.read_bytes().startswith(b"%PDF-")
    assert pdf.stat().st_size > 20_000
    assert not (run / "report.html").exists()
