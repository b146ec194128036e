"""One run of a study of seconds through Python, which the tests of this room look at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from no_mlflow import NoMlflow
from tiny_study import BASE, STUDY

import atod_sweep as atod


@pytest.fixture(scope="session")
def events() -> list[dict[str, Any]]:
    """What the callback of the run got."""
    return []


@pytest.fixture(scope="session")
def tiny(events, tmp_path_factory):
    """The run. Its folder and its question name places and secrets, its figures are not painted.

    It has more steps than a pack keeps rows of training for.
    """
    folder = tmp_path_factory.mktemp("somewhere")
    study = {
        **STUDY,
        "base": {**BASE, "steps": 12, "evaluation": {"every": 4, "tasks": 4, "final": {"sets": 4, "tasks": 4}}},
        "arms": {"linear": {}, "weighted": {"objective": {"kind": "hybrid", "turns": {"kind": "t_dur"}}}},
        "hypotheses": ["weighted > linear on eval/success"],
        "question": f"Is {folder}/notes.txt right, and what is at https://me:hush-hush@host.org/page?",
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATOD_SWEEP_CACHE", str(tmp_path_factory.getbasetemp() / "cli-cache"))
        patch.setattr("atod_sweep.sweep.session.Background", NoMlflow)
        patch.setattr("matplotlib.figure.Figure.savefig", lambda self, file, **_: Path(file).write_text("<svg/>"))
        patch.setattr("atod_sweep.evidence.figures.style.in_palette", lambda png: None)
        run = atod.run(study, out=folder / "runs", backend="local", callback=events.append, verbosity=-1)
    assert run.ok
    return run
