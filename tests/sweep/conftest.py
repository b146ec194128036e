"""A study file of fake trials, written anew for every test."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml


@pytest.fixture
def write_study(tmp_path):
    """Write a study file with changes to a small default; return its path."""

    def write(**changes) -> Path:
        study = {
            "name": "small",
            "question": "Which is better?",
            "base": {"steps": 40, "evaluation.every": 10, "optimiser.lr": 0.01},
            "arms": {"slow": {}, "fast": {"optimiser.lr": 0.02}},
            "seeds": 2,
            **changes,
        }
        path = tmp_path / "small.yaml"
        path.write_text(yaml.safe_dump(study, sort_keys=False))
        return path

    return write
