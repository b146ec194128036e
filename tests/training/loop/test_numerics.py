"""What two short trials compute. Whoever changes one of these numbers changes results: see `NUMERICS`."""

from __future__ import annotations

import pytest
from interruptions import Recorder
from small import tiny

from atod_sweep.training import NUMERICS
from atod_sweep.training.loop.trainer import train
from atod_sweep.training.models import llama_learning

GAE = {
    "objective__advantage__kind": "gae",
    "objective__kl_penalty__kind": "k1",
    "objective__kl_penalty__coef": 0.1,
    "update__epochs": 2,
}
# The last training row and the last evaluation of two steps. Counts are exact, the others to 1e-4: CPUs round.
EXPECTED = {
    "interpolated": (
        {},
        {"cost/tokens": 338, "cost/generated_tokens": 96, "loss/distill": 0.0160832, "grad_norm": 1.0642431},
        {"eval/ended_by_turn": [1, 1, 6], "eval/success": 0.375, "eval/token_entropy": 0.3187644},
    ),
    "gae": (
        GAE,
        {"cost/tokens": 395, "cost/generated_tokens": 97, "loss/value": 0.0123074, "kl/reference": 0.1753314},
        {"eval/ended_by_turn": [0, 1, 7], "eval/success": 0.25, "eval/token_entropy": 0.5123988},
    ),
}


@pytest.mark.parametrize("by_hand", [True, False])
@pytest.mark.parametrize("name", EXPECTED)
def test_the_numbers_of_this_version(built, tmp_path, monkeypatch, name, by_hand):
    """Whether passes are ours or those of `transformers`."""
    passes = []
    original = llama_learning.hidden_at
    monkeypatch.setattr(llama_learning, "hidden_at", lambda *a: passes.append(1) or original(*a))
    assert NUMERICS == 6, "write down the numbers of the new version, and what changed in CHANGELOG.md"
    overrides, trained, evaluated = EXPECTED[name]
    recorder = Recorder()
    train(tiny(steps=2, runtime__hand_written=by_hand, **overrides), tmp_path, recorder)
    assert bool(passes) == by_hand
    rows = {(row["phase"], row["step"]): row for row in recorder.rows}
    for key, expected in (("train", 1), trained), (("eval", 2), evaluated):
        found = {name: rows[key][name] for name in expected}
        assert found == {k: v if isinstance(v, int | list) else pytest.approx(v, rel=1e-4) for k, v in expected.items()}
