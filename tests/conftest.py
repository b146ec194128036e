"""What every test shares: the fakes in tests/support, also for the processes that tests start."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from no_mlflow import NoMlflow

signal.signal(signal.SIGINT, signal.default_int_handler)  # shells have what runs behind them ignore it
# Every process that tests start would compile the package anew, and every test process the asserts of all tests.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
HERE = Path(__file__).parent
OURS = [str(HERE.parent), str(HERE / "support"), os.environ.get("PYTHONPATH")]
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, OURS))


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


@pytest.fixture(scope="session", autouse=True)
def _models_are_built_here():
    """A process that builds a model imports PyTorch first. Here it ends at once, so that this one builds.

    `training/pretraining/test_apart.py` has them for real.
    """
    from atod_sweep.training.pretraining import apart

    def started(role, config):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        return subprocess.Popen(["true"], **pipes, text=True, start_new_session=True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(apart, "_started", started)
        yield


@pytest.fixture
def no_mlflow(monkeypatch):
    """Runs are recorded in their ledgers alone."""
    for name in ("Mirror", "Background"):
        monkeypatch.setattr(f"atod_sweep.sweep.session.{name}", NoMlflow)


@pytest.fixture
def blank_pictures(monkeypatch):
    """Figures are built, but not painted: for reports of which only the words matter."""

    def savefig(self, file, **options):
        Path(file).write_text("<svg/>")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", savefig)
