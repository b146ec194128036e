"""docs/howto/real_models.md: every file on it loads, and every name is one that there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from atod_sweep.config.base import parse_mapping
from atod_sweep.config.files import load_train
from atod_sweep.config.models import Pretrained
from atod_sweep.records.metric_names import HABITS, check_name, check_reported

TEXT = (Path(__file__).parents[2] / "docs" / "howto" / "real_models.md").read_text(encoding="utf-8")
FILES = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("text", FILES, ids=range(len(FILES)))
def test_a_file_loads(text):
    config = load_train(parse_mapping(text, "the page"))
    assert isinstance(config.student, Pretrained)
    if not (config.objective.kind == "hybrid" and config.objective.distill.kind == "sampled_reverse_kl"):
        assert config.objective.distill.top_k == 64


def test_there_are_files():
    assert len(FILES) >= 4


def test_the_numbers_have_these_names():
    table = TEXT.partition("## Look at these")[2]
    names = re.findall(r"`((?:kl|eval|rollout)/\w+|logp_gap|lost_updates)`", table)
    assert {name.partition("/")[2] for name in names} >= set(HABITS) - {"token_entropy"}
    for name in names:
        check_name(name)
        check_reported(name, [], 1)
