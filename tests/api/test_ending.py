"""What a run ends with is made once: again only if something was recorded since."""

from __future__ import annotations

import os

import pytest
from claim_ledgers import write_claims

from atod_sweep.api.ending import conclude
from atod_sweep.records import layout
from atod_sweep.records.ledger import Ledger


@pytest.fixture
def concluded(tmp_path, monkeypatch):
    """A run whose report was made, and how often reports were made."""
    run, made = write_claims(tmp_path / "run", {"a": [0.6, 0.7], "b": [0.5, 0.5]}), []

    def write(folder, numerics):
        made.append(folder)
        (folder / layout.REPORT_MD).write_text("report")

    monkeypatch.setattr("atod_sweep.evidence.report.write.write", write)
    os.utime(run / layout.LEDGER, (1, 1))
    conclude(run, lambda _: None)
    return run, made


def test_a_report_that_knows_the_whole_ledger_stays(concluded):
    run, made = concluded
    with Ledger(run):  # as resuming does
        pass
    assert conclude(run, lambda _: None) is None
    assert len(made) == 1


@pytest.mark.parametrize(
    "change", [lambda run: os.utime(run / layout.LEDGER), lambda run: (run / "report.md").unlink()]
)
def test_one_that_does_not_or_is_gone_is_made_again(concluded, change):
    run, made = concluded
    os.utime(run / layout.REPORT_MD, (2, 2))
    change(run)
    conclude(run, lambda _: None)
    assert len(made) == 2
