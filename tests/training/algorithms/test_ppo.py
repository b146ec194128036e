"""Generalised advantage estimation on token batches, against tables worked by hand with gamma = 0.9, lambda = 0.5.

The value of a state is a tenth of its last token's id. Generated tokens are the 1s; the rest are observations, of which
the last token before an action decides the value at turn level.

    episode 0, terminated:  [5 | 1 1 | 7 3 | 1]         rewards 0.1, 1.0   V = 0.5, 0.3, then 0
    episode 1, truncated:   [4 | 1 | 9 2 | 1 1 | 8 6]   rewards 0.0, 0.5   V = 0.4, 0.2, then 0.6
"""

from __future__ import annotations

import sys

import pytest
import torch
from small import make_model, play, tiny

from atod_sweep.config.objective import GAE
from atod_sweep.training.algorithms.advantages.gae import GeneralisedAdvantage
from atod_sweep.training.algorithms.interpolated import InterpolatedMix
from atod_sweep.training.batch import TokenBatch
from atod_sweep.training.models.policy import Output
from atod_sweep.training.play.outcomes import Episodes, Outcome

SEEDS = [1, 2, 3, 4, 5, 6, 7, 8]


class TenthOfTheId(torch.nn.Module):
    """A critic that anybody can compute."""

    def hidden(self, ids_BT: torch.Tensor, index_N: torch.Tensor) -> torch.Tensor:
        return ids_BT.float().flatten()[index_N, None]

    def values(self, hidden_NH: torch.Tensor) -> torch.Tensor:
        return hidden_NH[:, 0] / 10


def episodes() -> Episodes:
    turn_0 = [5, 1, 1, 7, 3, 1, 0, 0]
    turn_1 = [4, 1, 9, 2, 1, 1, 8, 6]
    return Episodes(
        ids_ST=torch.tensor([turn_0, turn_1]),
        length_S=torch.tensor([6, 8]),
        episode_S=torch.tensor([0, 1]),
        sequence_N=torch.tensor([0, 0, 0, 1, 1, 1]),
        column_N=torch.tensor([1, 2, 5, 1, 4, 5]),
        turn_N=torch.tensor([0, 0, 1, 0, 1, 1]),
        logp_N=torch.tensor([-1.0, -2.0, -0.5, -0.1, -0.2, -0.3]),
        outcomes=[Outcome(0, [0.1, 1.0]), Outcome(1, [0.0, 0.5], truncated=True)],
        final={1: (1, 7)},
    )


def estimate(level: str, penalty=(0.0,) * 6, whiten: bool = False, score_tokens: int = 10**6) -> TokenBatch:
    config = GAE(level=level, gamma=0.9, lam=0.5, whiten=whiten)
    played = episodes()
    batch = TokenBatch.of(played)
    estimator = GeneralisedAdvantage(config, group_size=1)
    return estimator.with_advantage(TenthOfTheId(), played, batch, torch.tensor(penalty), score_tokens)


def close(have: torch.Tensor, want: list[float]) -> bool:
    return bool(torch.allclose(have, torch.tensor(want), rtol=0, atol=1e-6))


def test_turn_level():
    """Episode 0: delta_1 = 1.0 + 0 - 0.3 = 0.7, delta_0 = 0.1 + 0.9 * 0.3 - 0.5 = -0.13, A_0 = -0.13 + 0.45 * 0.7.
    Episode 1: delta_1 = 0.5 + 0.9 * 0.6 - 0.2 = 0.84, delta_0 = 0.9 * 0.2 - 0.4 = -0.22, A_0 = -0.22 + 0.45 * 0.84.
    """
    batch = estimate("turn")
    assert close(batch["advantage"], [0.185, 0.185, 0.7, 0.158, 0.84, 0.84])  # every token of a turn shares its own
    assert batch["value_weight"].tolist() == [2, 0, 1, 1, 2, 0]  # on the first token, for all tokens of the turn
    first = batch["value_weight"] > 0
    assert close(batch["old_value"][first], [0.5, 0.3, 0.4, 0.2])  # the last prompt token, not the first
    assert close(batch["return"][first], [0.685, 1.0, 0.558, 1.04])


def test_token_level():
    """V before the tokens: 0.5, 0.1, 0.3 and 0.4, 0.2, 0.1; a turn's reward comes with its last token.

    Episode 0: deltas 0.09 - 0.5, 0.1 + 0.27 - 0.1, 1.0 - 0.3. Episode 1: 0.18 - 0.4, 0.09 - 0.2, 0.5 + 0.54 - 0.1.
    """
    batch = estimate("token")
    assert close(batch["advantage"], [-0.14675, 0.585, 0.7, -0.07915, 0.313, 0.94])
    assert close(batch["old_value"], [0.5, 0.1, 0.3, 0.4, 0.2, 0.1])
    assert close(batch["return"], [0.35325, 0.685, 1.0, 0.32085, 0.513, 1.04])
    assert batch["value_weight"].tolist() == [1] * 6


def test_a_penalty_in_the_reward_is_summed_over_a_turn_or_stays_with_its_token():
    """Rewards of episode 0 become 0.1 - (0.1 + 0.2) and 1.0 - 0.3; of episode 1: -0.2 and 0.5."""
    penalty = (0.1, 0.2, 0.3, 0.2, 0.0, 0.0)
    batch = estimate("turn", penalty)
    assert close(batch["advantage"], [-0.43 + 0.45 * 0.4] * 2 + [0.4, -0.42 + 0.45 * 0.84, 0.84, 0.84])
    batch = estimate("token", penalty)
    a_1 = 0.27 - 0.2 + 0.45 * 0.4
    assert close(batch["advantage"][:3], [-0.41 - 0.1 + 0.45 * a_1, a_1, 0.4])
    assert close(batch["advantage"][3:], [-0.22 - 0.2 + 0.45 * 0.313, 0.313, 0.94])


def test_whitening_counts_a_turn_once_however_many_tokens_it_has():
    """Advantages 0.185, 0.7, 0.158, 0.84: mean 0.47075, sample standard deviation 0.3504130."""
    batch = estimate("turn", whiten=True)
    want = [(a - 0.47075) / 0.3504130 for a in (0.185, 0.185, 0.7, 0.158, 0.84, 0.84)]
    assert torch.allclose(batch["advantage"], torch.tensor(want), rtol=0, atol=1e-4)
    assert close(batch["return"][:1], [0.685])  # targets of the value head stay as they are


def test_values_do_not_depend_on_how_many_rows_are_read_at_once():
    one_row = estimate("turn", score_tokens=1)
    assert torch.equal(one_row["advantage"], estimate("turn")["advantage"])


def test_truncated_episodes_bootstrap_and_terminated_ones_do_not():
    """Echo ends with turn 1 + seed % 5 or by "bye" (terminated), or with turn 3 (truncated)."""
    with_final = play(make_model("llama"), SEEDS, horizon=3, bootstrap=True)
    without = play(make_model("llama"), SEEDS, horizon=3)
    truncated = {e for e, o in enumerate(with_final.outcomes) if o.truncated}
    assert with_final.final.keys() == truncated
    assert 0 < len(truncated) < len(SEEDS)
    assert without.final == {}
    for name in ("sequence_N", "column_N", "turn_N", "logp_N"):  # nothing else changes: the state carries no loss
        assert torch.equal(getattr(with_final, name), getattr(without, name))
    for e, outcome in enumerate(with_final.outcomes):
        grown = int(with_final.length_S[e] - without.length_S[e])
        if e in truncated:
            assert outcome.turns == 3
            assert with_final.final[e] == (e, int(with_final.length_S[e]) - 1)
            assert with_final.ids_ST[e, with_final.length_S[e] - 1] == 3  # <act>: where the next action would begin
            assert grown >= 3
        else:
            assert grown == 0


class Fixed(torch.nn.Module):
    """A policy whose logits (uniform) and values at the generated tokens are parameters."""

    def __init__(self, values: list[float]) -> None:
        super().__init__()
        self.values = torch.nn.Parameter(torch.tensor(values))

    def output(self) -> Output:
        return Output(torch.zeros(len(self.values), 10), self.values)


def gae_mix(**settings) -> InterpolatedMix:
    given = {
        "objective__distill_weight": 0.0,
        "objective__advantage__kind": "gae",
        "objective__advantage__gamma": 0.9,
        "objective__advantage__lam": 0.5,
        "objective__advantage__whiten": False,
    }
    config = tiny(**given | settings)
    return InterpolatedMix(config, None, None)


def test_value_loss_by_hand():
    """c_v = 0.5, clip 0.2; value after the old one: +0.5, +0.1, -0.5 at the first tokens of three turns, 0 at the last.

    turn  old  return  new   (new - return)^2  (clipped - return)^2   tokens
    0     0.5  0.685   1.0   0.099225          0.000225               2
    1     0.3  1.0     0.4   0.36              0.36                   1
    2     0.4  0.558   -0.1  0.432964          0.128164               1
    3     0.2  1.04    0.2   0.7056            0.7056                 2
    """
    mix = gae_mix(objective__advantage__value_coef=0.5)
    batch, _ = mix.prepare(TenthOfTheId(), episodes(), 0, 1.0, 10**6)
    policy = Fixed([1.0, 123.0, 0.4, -0.1, 0.2, -123.0])
    term = mix.terms(policy.output(), batch)["value"]
    assert term.item() == pytest.approx(0.5 * (2 * 0.099225 + 0.36 + 0.432964 + 2 * 0.7056) / 2, abs=1e-6)
    (gradient,) = torch.autograd.grad(term, policy.values)
    want = [0.5 * 2 * (1.0 - 0.685), 0.0, 0.5 * (0.4 - 1.0), 0.5 * (-0.1 - 0.558), 0.5 * 2 * (0.2 - 1.04), 0.0]
    assert close(gradient, want)
    doubled = gae_mix(objective__advantage__value_coef=1.0)
    terms = doubled.terms(policy.output(), doubled.prepare(TenthOfTheId(), episodes(), 0, 1.0, 10**6)[0])
    assert terms["value"].item() == pytest.approx(2 * term.item())
    assert terms["reward"].item() == mix.terms(policy.output(), batch)["reward"].item()


@pytest.mark.parametrize("level", ["turn", "token"])
def test_k1_goes_into_the_reward_with_its_coefficient(level):
    settings = {"objective__kl_penalty__kind": "k1", "objective__kl_penalty__coef": 0.5}
    mix = gae_mix(objective__advantage__level=level, **settings)
    reference_logp = torch.tensor([-1.2, -2.4, -1.1, -0.5, -0.2, -0.3])
    mix.reference = Reference(reference_logp)
    played = episodes()
    batch, metrics = mix.prepare(TenthOfTheId(), played, 0, 1.0, 10**6)
    assert close(batch["advantage"], estimate(level, (0.1, 0.2, 0.3, 0.2, 0.0, 0.0))["advantage"].tolist())
    assert metrics["kl/reference"] == pytest.approx((0.2 + 0.4 + 0.6 + 0.4) / 6)
    assert "kl" not in mix.terms(Fixed([0.0] * 6).output(), batch)


class Reference(torch.nn.Module):
    """Gives word 1, which is what was generated everywhere, the stated log-probs."""

    folded = None
    at_once = sys.maxsize

    def __init__(self, logp_N: torch.Tensor) -> None:
        super().__init__()
        self.logp_N = logp_N

    def forward(self, ids_ST: torch.Tensor, index_N: torch.Tensor) -> Output:
        p_N1 = self.logp_N.exp()[:, None]
        return Output(torch.cat([1 - p_N1, p_N1], 1).log(), None)
