"""A run that was stopped before a record got a new field goes on after it, bit for bit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from grown_records import grown
from interruptions import Recorder, same, stopped_run, weights
from small import tiny

from atod_sweep.config.base import dump_yaml
from atod_sweep.training.loop.trainer import train

GO_ON = """
from pathlib import Path
from atod_sweep.config.base import load_yaml, validate
from atod_sweep.config.train import Train
from atod_sweep.training.loop.trainer import train
from atod_sweep.training.pretraining import cache

folder = Path(sys.argv[1])
config = validate(Train, load_yaml(folder / "config.yaml"), "config")
assert config.grown == config.student.recipe.grown == 7
assert not any(ref.built for ref in vars(cache.ensure(config)).values())
rows = []
train(config, folder, rows.extend, resume=True)
print(min(row["step"] for row in rows))
"""


@pytest.mark.slow
def test_checkpoints_and_cached_models_of_before_are_used(built, tmp_path: Path) -> None:
    config = tiny()
    train(config, tmp_path / "whole", Recorder())
    stopped_run(config, tmp_path / "stopped", at=3)
    (tmp_path / "stopped" / "config.yaml").write_text(dump_yaml(config.model_dump(mode="json")))
    before = sorted(os.listdir(Path(built.student.path).parent))
    assert int(grown(GO_ON, str(tmp_path / "stopped"))) > 0  # not from the beginning
    assert sorted(os.listdir(Path(built.student.path).parent)) == before
    assert same(weights(tmp_path / "stopped"), weights(tmp_path / "whole"))
