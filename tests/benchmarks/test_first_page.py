"""The commands that are timed are those that the first page shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import first_page


def test_the_commands_of_the_first_page() -> None:
    assert first_page.commands(first_page.ROOT / "docs/index.md") == ["pip install -e .", "atod-sweep run quickstart"]


def test_a_page_without_commands_is_none_to_follow(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A page\n")
    with pytest.raises(SystemExit, match="shows no commands"):
        first_page.commands(page)


def test_where_the_report_is_said() -> None:
    found = first_page.REPORT.search("x\n report    runs/quickstart/report.html\n")
    assert found
    assert found[1] == "runs/quickstart/report.html"
