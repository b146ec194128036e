"""Rollout, update and teacher compute what `transformers` computes, for tiny random models of real architectures."""

from __future__ import annotations

import pytest

from benchmarks import tiny_models
from benchmarks.architectures import measure

# One of each kind of trouble: windows, mixed layers, chunks, scaled and capped logits, alibi, learned positions that
# end, frequencies that change with the length, dropout as a float, local attention by slot, recurrent states.
QUICK = (
    "qwen3",
    "mistral (window)",
    "gemma2",
    "gpt-oss",
    "llama4",
    "granite (scaled logits)",
    "cohere2",
    "bloom",
    "gpt2 (overflow)",
    "phi3 (longrope)",
    "opt",
    "mixtral",
    "gpt-neo",
    "lfm2",
)
REFUSED = ("recurrent-gemma",)  # its states lie in its modules, where two conversations share them
SLOW = sorted(set(tiny_models.TINY) - set(QUICK))


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_an_architecture_is_right_or_refused_in_one_line(name, tmp_path, monkeypatch):
    monkeypatch.setenv("ATOD_SWEEP_CACHE", str(tmp_path / "cache"))
    episodes = 3 if name in QUICK else 6
    found = measure(name, tiny_models.save(name, tmp_path), episodes)
    if name in REFUSED:
        assert found.outcome == "refused"
        assert "is not supported: cached decoding disagrees with the plain forward" in found.note
        assert "\n" not in found.note
    else:
        assert found.outcome == "right", found
