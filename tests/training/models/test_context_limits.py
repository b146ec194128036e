"""How long a conversation a model is given: as long as its positions mean the same."""

from __future__ import annotations

import pytest
from small import tiny

from atod_sweep.errors import UserError
from atod_sweep.training.loop.build import assemble
from atod_sweep.training.models import limits
from benchmarks import tiny_models


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("qwen3", 1024),
        ("gpt2 (overflow)", 128),
        ("phi3 (longrope)", 128),  # of 1024: beyond, all frequencies change
        ("llama (dynamic RoPE)", 128),
        ("llama (yarn RoPE)", 1024),
        ("bloom", 2048),  # names no limit
        ("mamba", 2048),
    ],
)
def test_positions(name, most):
    assert limits.positions(tiny_models.make(name)) == most


@pytest.mark.parametrize(("wanted", "fits"), [(None, True), (127, True), (128, True), (129, False)])
def test_a_context_in_which_frequencies_would_change_is_refused(wanted, fits):
    model = tiny_models.make("phi3 (longrope)")
    if fits:
        limits.check(model, wanted)
    else:
        with pytest.raises(
            UserError, match=r"^rollout.max_context_tokens: 129, but beyond 128 tokens .*use at most 128$"
        ):
            limits.check(model, wanted)


def test_a_run_is_told_of_it(tmp_path, monkeypatch):
    monkeypatch.setenv("ATOD_SWEEP_CACHE", str(tmp_path))
    path = str(tiny_models.save("phi3 (longrope)", tmp_path))
    config = tiny(student__kind="pretrained", student__path=path, teacher__kind="none", objective__distill_weight=0.0)
    for wanted, context in ((None, 128), (100, 100)):
        rollout = config.rollout.model_copy(update={"max_context_tokens": wanted})
        run = assemble(config.model_copy(update={"rollout": rollout}), tmp_path, resume=False)
        assert run.stage.player.limits.context == context
    rollout = config.rollout.model_copy(update={"max_context_tokens": 200})
    with pytest.raises(UserError, match=r"rollout.max_context_tokens: 200"):
        assemble(config.model_copy(update={"rollout": rollout}), tmp_path, resume=False)
