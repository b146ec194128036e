"""token_weights.py and scheduled_loss.py: the schedule on the tokens of a batch, by hand."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from shim_modules import modules_of

from atod_sweep.objective import turn_weights

ExportTo = Callable[..., tuple[Path, list[dict[str, Any]]]]
# Two episodes: turns of 2, 1 and 2 tokens; one turn of 3 tokens, then padding.
MASK = torch.tensor([[0, 1, 1, 0, 1, 0, 0, 1, 1], [1, 1, 1, 0, 0, 0, 0, 0, 0]])
TURN = [[None, 0, 0, None, 1, None, None, 2, 2], [0, 0, 0, None, None, None, None, None, None]]


def on_tokens(by_turn: list[float]) -> list[list[float]]:
    return [[0.0 if k is None else by_turn[k] for k in row] for row in TURN]


def test_weights_of_every_token_at_every_step(export_to: ExportTo) -> None:
    turns = {"kind": "thresholds", "early_turns": 1, "late_turns": 1}
    out, rows = export_to("pytorch", {"kind": "interpolated", "turns": turns})
    with modules_of(out, "token_weights") as (module,):
        for step in range(8):
            distill, reward = module.token_weights(step, MASK, 8, 3)
            assert torch.allclose(distill, torch.tensor(on_tokens(rows[step]["distill"])), atol=1e-7)
            assert torch.allclose(reward, torch.tensor(on_tokens(rows[step]["reward"])), atol=1e-7)


@pytest.mark.parametrize("kind", ["t_dur", "product", "token_level"])
def test_turn_weights_that_follow_log_probs(export_to: ExportTo, kind: str) -> None:
    objective = {"kind": "hybrid", "turns": {"kind": kind}}
    recorded: dict[str, Any] = {"turn_weight": [0.5, 0.25, None]}
    out, rows = export_to("pytorch", objective, record=lambda seed, step: recorded)
    student, teacher = -torch.rand(2, 9, generator=torch.Generator().manual_seed(1)), -torch.ones(2, 9)
    with modules_of(out, "token_weights", "schedule") as (module, schedule):
        turn = module.turns_of(MASK)
        replayed, _ = module.token_weights(3, MASK, 8, 3)
        assert torch.allclose(replayed, torch.tensor(on_tokens(rows[3]["distill"])), atol=1e-7)
        live, reward = module.token_weights(3, MASK, 8, 3, student, teacher)
        by_turn = [schedule.weights(3, k, 8, 3, turn_weight=1.0)["distill"] for k in range(3)]
    measured = turn_weights.WEIGHTS[kind](student, teacher, turn, MASK)
    assert torch.allclose(live, torch.tensor(on_tokens(by_turn)) * measured, atol=1e-7)
    assert torch.allclose(reward, MASK * rows[3]["reward"][0], atol=1e-7)


def test_loss_by_hand(export_to: ExportTo) -> None:
    """Sum of weighted terms over the 8 generated tokens, divided by 8."""
    turns = {"kind": "thresholds", "early_turns": 1, "late_turns": 1, "early": 0.8, "late": 0.2}
    objective = {
        "kind": "interpolated",
        "distill_weight": 0.5,
        "turns": turns,
        "kl_penalty": {"kind": "k3", "coef": 0.25},
    }
    out, _ = export_to("pytorch", objective)
    ones = torch.ones(2, 9)
    with modules_of(out, "scheduled_loss") as (module,):
        loss = module.scheduled_loss(5, 8, 3, MASK, 2.0 * ones, 3.0 * ones, 4.0 * ones)
    teacher = [0.4] * 5 + [0.25] + [0.1] * 2  # 5 tokens on turn 0, 1 on turn 1, 2 on turn 2
    expected = sum(2 * w + 3 * (1 - w) + 0.25 * 4 for w in teacher) / 8
    assert float(loss) == pytest.approx(expected, abs=1e-6)


def test_plain_loop_resumes_where_it_stopped(export_to: ExportTo) -> None:
    """Training 8 steps, or 3 and then 5 from a checkpoint: the same weights of the network."""
    out, _ = export_to("pytorch", {"kind": "interpolated"})

    def run(parts: list[range]) -> torch.Tensor:
        torch.manual_seed(0)
        layer = torch.nn.Linear(9, 9)
        optimiser = torch.optim.SGD(layer.parameters(), lr=0.1)
        with modules_of(out, "scheduled_loss") as (module,):
            for step in itertools.chain(*parts):
                guess = layer(torch.ones(2, 9))
                loss = module.scheduled_loss(step, 8, 3, MASK, guess**2, (guess - 1) ** 2)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
        return layer.weight.detach()

    assert torch.equal(run([range(8)]), run([range(3), range(3, 8)]))
    assert not torch.equal(run([range(8)]), run([range(3), range(5)]))
