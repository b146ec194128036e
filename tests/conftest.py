"""What every test shares: the fakes in tests/support, also for the processes that tests start."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import sys
from functools import cache
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


def pytest_collection_finish() -> None:
    """What was imported so far stays: looking through it for garbage, again and again, took a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000)


@pytest.fixture(scope="session", autouse=True)
def _asked_once():
    """What every run asks of git and of the packages stays the same."""
    from atod_sweep.sweep.record import provenance

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(provenance, "git_revision", cache(provenance.git_revision))
        patch.setattr(provenance, "versions", cache(provenance.versions))
        yield


@pytest.fixture(scope="session", autouse=True)
def _spaces_are_tried_briefly():
    """A search tries its space on two hundred draws first. `test_space.py` has them all."""
    from atod_sweep.sweep.searches import space

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(space, "PROBES", 20)
        yield


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
    """Figures are built, but not painted: for reports of which only the words matter. The file says what it shows."""

    def savefig(self, file, **options):
        lines = [line.get_xydata().tolist() for axes in self.axes for line in axes.lines]
        Path(file).write_text(f"<svg><desc>{lines}</desc></svg>")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", savefig)
    monkeypatch.setattr("atod_sweep.evidence.figures.style.in_palette", lambda png: None)
