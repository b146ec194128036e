"""What every test shares: the fakes in tests/support, also for the processes that tests start."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

signal.signal(signal.SIGINT, signal.default_int_handler)  # shells have what runs behind them ignore it
SUPPORT = str(Path(__file__).parent / "support")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [SUPPORT, os.environ.get("PYTHONPATH")]))


@pytest.fixture(scope="session", autouse=True)
def _one_empty_database(tmp_path_factory):
    """MLflow takes a second to make its tables. It makes them once; later databases are copies of the first."""
    from atod_sweep.sweep.mlflow import database

    made, really = tmp_path_factory.mktemp("mlflow") / "mlflow.db", database._make

    def make(path: Path) -> None:
        if not made.exists():
            really(made)
        shutil.copy(made, path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "_make", make)
        yield


@pytest.fixture
def blank_pictures(monkeypatch):
    """Figures are built, but not painted: for reports of which only the words matter."""

    def savefig(self, file, **options):
        Path(file).write_text("<svg/>")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", savefig)
