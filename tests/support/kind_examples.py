"""One or more settings of every kind, for tests that loop over them: a new kind without any cannot be imported."""

from __future__ import annotations

from typing import Any

from atod_sweep.config.kinds import one_each
from atod_sweep.config.objective import Advantage
from atod_sweep.config.penalties import Controlled, KLPenalty
from atod_sweep.config.schedules import ClosedForm
from atod_sweep.config.signals import Distill
from atod_sweep.config.turns import TurnProfile

Settings = list[dict[str, Any]]


def _settings(union: Any, rows: dict[str, Settings]) -> Settings:
    return [{"kind": kind, **fields} for kind, settings in one_each(union, rows).items() for fields in settings]


CLOSED_FORMS = _settings(
    ClosedForm,
    {
        "constant": [{"start": 0.7}],
        "linear": [
            {"start": 1.0, "end": 0.1, "anneal_steps": 80},
            {"start": 0.0, "end": 1.0, "anneal_fraction": 1.0},
        ],
        "cosine": [{"start": 0.9, "end": 0.0, "anneal_fraction": 0.53, "hold_fraction": 0.1}],
        "exponential": [{"start": 1.0, "end": 0.01, "anneal_fraction": 0.37}],
        "step": [{"boundaries": [0.3, 0.7], "values": [1.0, 0.5, 0.1]}],
        "piecewise": [{"boundaries": [0.2, 0.9], "values": [1.0, 0.2, 0.05]}],
        "custom": [{"path": "own_ideas:root", "start": 1.0, "end": 0.1, "anneal_steps": 80}],
    },
)
CONTROLLED = _settings(
    Controlled, {"adaptive": [{"threshold": 0.1, "levels": 4}], "target_kl": [{"start": 0.02, "target": 0.1}]}
)
TURNS = _settings(
    TurnProfile,
    {
        "uniform": [{"value": 0.8}],
        "thresholds": [
            {"early_turns": 2, "late_turns": 2},
            {"early_fraction": 0.25, "late_fraction": 0.6, "shape": "cosine"},
            {"early_turns": 0, "late_turns": 3, "shape": "exponential"},
            {"early_turns": 3, "late_fraction": 0.5, "shape": "step"},
        ],
        "t_dur": [{}],
        "product": [{"early_turns": 1, "late_turns": 1}],
        "token_level": [{}],
        "custom": [{"path": "own_ideas:first_half"}, {"path": "own_weights:turn_mean", "weighs": "tokens"}],
    },
)
SIGNALS = _settings(
    Distill,
    {
        "sampled_reverse_kl": [{}],
        "forward_kl": [{}, {"temperature": 2.0}],
        "reverse_kl": [{"top_k": 3}],
        "jsd": [{"beta": 0.3}],
        "custom": [{"path": "own_weights:total_variation"}],
        "relabel": [{}],
    },
)
ADVANTAGES = _settings(Advantage, {"group_relative": [{}], "gae": [{"level": "turn"}, {"level": "token"}]})
PENALTIES = _settings(KLPenalty, {"none": [{}], "k1": [{}], "k2": [{}], "k3": [{}], "full": [{}]})
