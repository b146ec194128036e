"""Both forms of the objective on a case that can be worked by hand.

Three words, two rollouts of one task. Probabilities of the words 0, 1, 2 where an action is generated:

    token  episode  turn  word  student p         teacher q         reward of the episode
    A      0        0     1     (0.5, 0.3, 0.2)   (0.2, 0.7, 0.1)   1
    B      0        1     2     (0.6, 0.3, 0.1)   (0.1, 0.1, 0.8)   1
    C      1        0     2     (0.5, 0.3, 0.2)   (0.2, 0.7, 0.1)   0

The derivative of log p(word) by the logits is onehot(word) - p, that of KL(q || p) is p - q. The group-relative
advantage is +-0.5 / (sqrt(0.5) + 1e-4) = +-0.7070068.
"""

from __future__ import annotations

import math
import sys

import pytest
import torch
from small import scored_by, tiny

from atod_sweep.errors import UserError
from atod_sweep.objective import turn_weights
from atod_sweep.training.algorithms.hybrid import HybridMix
from atod_sweep.training.algorithms.interpolated import InterpolatedMix
from atod_sweep.training.batch import TokenBatch
from atod_sweep.training.failures import TeacherFailed
from atod_sweep.training.models.policy import Output
from atod_sweep.training.play.outcomes import Act, Episodes, Outcome

P = torch.tensor([[0.5, 0.3, 0.2], [0.6, 0.3, 0.1], [0.5, 0.3, 0.2]])
Q = torch.tensor([[0.2, 0.7, 0.1], [0.1, 0.1, 0.8], [0.2, 0.7, 0.1]])
R = torch.tensor([[0.5, 0.2, 0.3], [0.4, 0.4, 0.2], [0.5, 0.2, 0.3]])  # the initial student
WORD = [1, 2, 2]
ADVANTAGE = 0.5 / (math.sqrt(0.5) + 1e-4)
GAP = [math.log(0.7 / 0.3), math.log(0.8 / 0.1), math.log(0.1 / 0.2)]  # log q - log p of the sampled words


class EpisodeBook(torch.nn.Module):
    """A policy whose logits at the generated tokens are parameters; counts its forward passes."""

    folded = None
    at_once = sys.maxsize

    def __init__(self, probabilities: torch.Tensor, shift: float = 0.7) -> None:
        super().__init__()
        self.logits = torch.nn.Parameter(probabilities.log() + shift)  # logits are log-probs up to a constant
        self.calls = 0

    def forward(self, ids_ST: torch.Tensor, index_N: torch.Tensor) -> Output:
        self.calls += 1
        assert index_N.tolist() == [0, 2, 4]
        return Output(self.logits, None)


def episodes(rewards=(1.0, 0.0), logp=P) -> Episodes:
    return Episodes(
        ids_ST=torch.tensor([[0, 1, 0, 2], [0, 2, 0, 0]]),
        length_S=torch.tensor([4, 2]),
        episode_S=torch.tensor([0, 1]),
        sequence_N=torch.tensor([0, 0, 1]),
        column_N=torch.tensor([1, 3, 1]),
        turn_N=torch.tensor([0, 1, 0]),
        logp_N=logp[torch.arange(3), WORD].log(),
        outcomes=[Outcome(0, [0.0, rewards[0]]), Outcome(0, [rewards[1]])],
        final={},
    )


class Case:
    """One objective on the episodes above: its batch, its terms and their gradients by the logits."""

    def __init__(self, form="interpolated", temperature=1.0, step=0, played=None, split=False, epochs=1, **objective):
        """`rollout__...`: settings of the rollout; others are the objective's."""
        settings = {k if k.startswith("rollout__") else f"objective__{k}": value for k, value in objective.items()}
        settings |= {"rollout__tasks": 1, "rollout__group_size": 2, "update__epochs": epochs}
        config = tiny(objective__kind=form, env__horizon=3, steps=10, **settings)
        self.student, self.teacher, self.reference = EpisodeBook(P), EpisodeBook(Q), EpisodeBook(R)
        mix = InterpolatedMix if form == "interpolated" else HybridMix
        self.mix = mix(config, scored_by(self.teacher), self.reference)
        played = played or episodes()
        self.batch, self.metrics = self.mix.prepare(self.student, played, step, temperature, 10**6)
        output = self.student(self.batch.ids_ST, self.batch.index_N)
        self.terms = self.mix.terms(output, self.batch, split)

    def gradient(self, name: str) -> torch.Tensor:
        (gradient,) = torch.autograd.grad(self.terms[name], self.student.logits, retain_graph=True)
        return gradient


def close(have, want, tolerance: float = 2e-6) -> bool:
    have, want = torch.as_tensor(have).detach(), torch.as_tensor(want, dtype=torch.float32)
    return have.shape == want.shape and bool(torch.allclose(have, want, rtol=0, atol=tolerance))


THRESHOLDS = {
    "turns__kind": "thresholds",
    "turns__early": 1.0,
    "turns__late": 0.5,
    "turns__early_turns": 1,
    "turns__late_turns": 2,
}

# ---- interpolated ------------------------------------------------------------------------------------------------


def test_interpolated_values_and_gradients_by_hand():
    """lambda = 0.6 on turn 0 and 0.3 on turn 1, so the reward has 0.4 and 0.7."""
    case = Case(distill_weight=0.6, distill__kind="forward_kl", **THRESHOLDS)
    assert case.metrics["weight/distill"] == 0.6
    assert close(case.batch["distill_weight"], [0.6, 0.3, 0.6])
    assert close(case.batch["reward_weight"], [0.4, 0.7, 0.4])
    assert case.metrics["weight/applied_teacher"] == pytest.approx(0.5)
    assert case.metrics["turn_weight"] == [1.0, 0.5, None]  # nobody played turn 2
    # KL(q || p) of A and C: 0.2 ln 0.4 + 0.7 ln 7/3 + 0.1 ln 0.5 = 0.3405359
    # of B: 0.1 ln 1/6 + 0.1 ln 1/3 + 0.8 ln 8 = 1.3745153; 0.6 * 2 * 0.3405359 + 0.3 * 1.3745153 = 0.8209977
    assert close(case.terms["distill"], 0.8209977)
    assert close(case.gradient("distill"), [[0.18, -0.24, 0.06], [0.15, 0.06, -0.21], [0.18, -0.24, 0.06]])
    # -(0.4 + 0.7 - 0.4) * 0.7070068
    assert close(case.terms["reward"], -0.4949048)
    # A: -0.4 * 0.7070068 * (-0.5, 0.7, -0.2); B: -0.7 * 0.7070068 * (-0.6, -0.3, 0.9)
    # C: +0.4 * 0.7070068 * (-0.5, -0.3, 0.8)
    assert close(
        case.gradient("reward"),
        [[0.1414014, -0.1979619, 0.0565605], [0.2969429, 0.1484714, -0.4454143], [-0.1414014, -0.0848408, 0.2262422]],
    )
    assert set(case.terms) == {"distill", "reward"}
    assert case.metrics["kl/teacher"] == pytest.approx(-sum(GAP) / 3, abs=1e-6)


def test_sampled_reverse_kl_is_a_policy_gradient_on_the_gap():
    case = Case(distill_weight=0.5, distill__kind="sampled_reverse_kl")
    assert close(case.terms["distill"], -0.5 * sum(GAP))
    onehot = torch.eye(3)[WORD]
    assert close(case.gradient("distill"), -0.5 * torch.tensor(GAP)[:, None] * (onehot - P))


def test_the_other_divergences():
    """Reverse KL: sum p ln p/q; its derivative by the logits is p (ln p/q - KL)."""
    case = Case(distill_weight=1.0, distill__kind="reverse_kl")
    kl = (P * (P / Q).log()).sum(1)
    assert close(case.terms["distill"], kl.sum())
    assert close(case.gradient("distill"), P * ((P / Q).log() - kl[:, None]))
    # beta KL(q || m) + (1 - beta) KL(p || m) with m = beta q + (1 - beta) p
    case = Case(distill_weight=1.0, distill__kind="jsd", distill__beta=0.3)
    m = 0.3 * Q + 0.7 * P
    assert close(case.terms["distill"], 0.3 * (Q * (Q / m).log()).sum() + 0.7 * (P * (P / m).log()).sum())


@pytest.mark.parametrize("kind", ["forward_kl", "reverse_kl", "jsd"])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_top_k_of_the_whole_vocabulary_is_the_whole_vocabulary(kind, temperature):
    full = Case(distill_weight=1.0, distill__kind=kind, distill__temperature=temperature)
    settings = {"distill__kind": kind, "distill__temperature": temperature}
    top = Case(distill_weight=1.0, distill__top_k=3, **settings)
    assert close(top.terms["distill"], full.terms["distill"].item())
    assert close(top.gradient("distill"), full.gradient("distill"))
    fewer = Case(distill_weight=1.0, distill__top_k=1, **settings)
    assert fewer.terms["distill"] < full.terms["distill"] - 1e-3  # telling less apart never adds to a divergence


def test_top_1_and_its_tail_by_hand():
    """A, C: q = (0.7, rest 0.3) on word 1 against p = (0.3, 0.7); B: (0.8, 0.2) on word 2 against (0.1, 0.9)."""
    case = Case(distill_weight=1.0, distill__kind="forward_kl", distill__top_k=1)
    a = 0.7 * math.log(7 / 3) + 0.3 * math.log(3 / 7)
    b = 0.8 * math.log(8) + 0.2 * math.log(2 / 9)
    assert close(case.terms["distill"], 2 * a + b)


def test_distillation_temperature_softens_both_sides():
    """At temperature 2 probabilities go with their square roots; the sampling temperature stays out of it."""
    p, q = P.sqrt() / P.sqrt().sum(1, keepdim=True), Q.sqrt() / Q.sqrt().sum(1, keepdim=True)
    for sampling in (1.0, 0.5):
        case = Case(distill_weight=0.5, distill__kind="forward_kl", distill__temperature=2.0, temperature=sampling)
        assert close(case.terms["distill"], 0.5 * (q * (q / p).log()).sum())
        assert close(case.gradient("distill"), 0.5 * (p - q) / 2.0)


def test_the_reward_term_is_at_the_sampling_temperature():
    """At temperature 0.5 probabilities go with their squares."""
    case = Case(distill_weight=0.0, temperature=0.5)
    p = P.square() / P.square().sum(1, keepdim=True)
    sign = torch.tensor([1.0, 1.0, -1.0])[:, None]
    assert close(case.gradient("reward"), -ADVANTAGE * sign * (torch.eye(3)[WORD] - p) / 0.5)


# ---- settings, not code paths ------------------------------------------------------------------------------------


def test_distillation_only_is_a_weight_of_one():
    case = Case(distill_weight=1.0, distill__kind="forward_kl")
    assert torch.equal(case.gradient("reward"), torch.zeros(3, 3))
    assert close(case.gradient("distill"), P - Q)


@pytest.mark.parametrize("form", ["interpolated", "hybrid"])
def test_reward_only_spends_no_forward_pass_on_the_teacher(form):
    case = Case(form, distill_weight=0.0, turns__kind="t_dur")
    assert case.teacher.calls == case.reference.calls == 0
    assert "kl/teacher" not in case.metrics
    assert "teacher_tokens" not in case.metrics
    assert case.metrics["weight/applied_teacher"] == 0.0
    (term,) = case.terms
    onehot = torch.eye(3)[WORD]
    assert close(case.gradient(term), -ADVANTAGE * torch.tensor([1.0, 1.0, -1.0])[:, None] * (onehot - P))


def test_a_weight_that_has_reached_zero_stops_the_teacher_and_an_adaptive_one_does_not():
    decay = {"distill_weight__kind": "linear", "distill_weight__start": 1.0, "distill_weight__end": 0.0}
    decay["distill_weight__anneal_steps"] = 5
    assert Case(step=4, **decay).teacher.calls == 1
    assert Case(step=5, **decay).teacher.calls == 0
    assert Case(distill_weight__kind="adaptive", distill_weight__start=0.0).teacher.calls == 1


@pytest.mark.parametrize("coef", [0.0, 0.1])
@pytest.mark.parametrize("kind", ["k2", "k3", "full"])
def test_a_penalty_of_zero_spends_no_forward_pass_on_the_reference(kind, coef):
    case = Case(distill_weight=0.5, kl_penalty__kind=kind, kl_penalty__coef=coef)
    assert case.reference.calls == (coef > 0)
    assert ("kl" in case.terms) == (coef > 0)
    assert ("kl/reference" in case.metrics) == (coef > 0)


@pytest.mark.parametrize("form", ["interpolated", "hybrid"])
def test_equal_rewards_give_exactly_no_gradient(form):
    """0.1 three times is where float32 means would leave rounding behind."""
    for reward in (0.1, 1.0 / 3.0):
        case = Case(form, distill_weight=0.3, split=True, played=episodes((reward, reward)))
        assert torch.equal(case.batch["advantage"], torch.zeros(3))
        assert torch.equal(case.gradient("reward"), torch.zeros(3, 3))
        assert case.gradient("distill").abs().sum() > 0


# ---- every term is a sum over tokens of its own ------------------------------------------------------------------

REGULARISED = {"distill_weight": 0.5, "kl_penalty__kind": "k3", "kl_penalty__coef": 0.1, "entropy_coef": 0.01}


@pytest.mark.parametrize("form", ["interpolated", "hybrid"])
@pytest.mark.parametrize(("scaled", "term"), [("kl_penalty__coef", "kl"), ("entropy_coef", "entropy")])
def test_scaling_one_coefficient_leaves_the_other_gradients_alone(form, scaled, term):
    before = Case(form, **REGULARISED)
    after = Case(form, **REGULARISED | {scaled: 10 * REGULARISED[scaled]})
    assert close(after.gradient(term), 10 * before.gradient(term))
    assert before.gradient(term).abs().max() > 1e-3
    for other in set(before.terms) - {term}:
        assert torch.equal(after.gradient(other), before.gradient(other))


def test_hybrid_weights_scale_their_own_share_of_the_first_on_policy_update():
    def policy(kappa: float, rho: float) -> torch.Tensor:
        return Case("hybrid", distill_weight=kappa, reward_weight=rho).gradient("policy")

    teacher, reward = policy(1.0, 0.0), policy(0.0, 1.0)
    for kappa, rho in ((1.0, 1.0), (10.0, 1.0), (0.3, 2.0)):
        assert close(policy(kappa, rho), kappa * teacher + rho * reward, 1e-5)
    case = Case("hybrid", distill_weight=0.3, reward_weight=2.0, split=True)
    assert close(case.gradient("distill"), 0.3 * teacher)
    assert close(case.gradient("reward"), 2.0 * reward)


def test_turn_weights_do_not_change_the_number_that_everything_is_divided_by():
    """Halving the teacher's weight on every turn halves its term: a weighted mean would leave it as it was."""
    whole = Case(distill_weight=0.5, turns__kind="uniform", turns__value=1.0)
    half = Case(distill_weight=0.5, turns__kind="uniform", turns__value=0.5)
    assert close(half.gradient("distill"), whole.gradient("distill") / 2)


# ---- hybrid ------------------------------------------------------------------------------------------------------


def test_hybrid_values_and_gradients_by_hand():
    """kappa = 0.5, rho = 2: A_t = 0.5 gap + 2 * +-0.7070068."""
    case = Case("hybrid", distill_weight=0.5, reward_weight=2.0)
    assert set(case.terms) == {"policy"}
    a_t = [0.5 * 0.8472979 + 1.4140136, 0.5 * 2.0794415 + 1.4140136, 0.5 * -0.6931472 - 1.4140136]
    assert close(case.terms["policy"], -sum(a_t))
    onehot = torch.eye(3)[WORD]
    assert close(case.gradient("policy"), -torch.tensor(a_t)[:, None] * (onehot - P))
    assert case.metrics["weight/reward"] == 2.0


def test_rho_has_a_schedule_of_its_own():
    """Linear 1 -> 2 over 8 of 10 steps: 1.5 at step 4, whatever kappa does."""
    settings = {"reward_weight__kind": "linear", "reward_weight__start": 1.0, "reward_weight__end": 2.0}
    settings["reward_weight__anneal_steps"] = 8
    for kappa in (0.0, 1.0):
        case = Case("hybrid", distill_weight=kappa, step=4, **settings)
        assert case.metrics["weight/reward"] == pytest.approx(1.5)
        assert close(case.batch["reward_weight"], [1.5, 1.5, 1.5])


def test_the_clip_sees_the_sum_after_the_first_update():
    """Rolled out with p / 1.5 and p / 0.5 of the sampled word: ratios 1.5 and 0.5 lie outside 1 +- 0.2."""
    settings = {"distill_weight": 0.5, "reward_weight": 2.0, "clip_ratio": 0.2}
    old = P.clone()
    old[0, 1], old[1, 2], old[2, 2] = 0.3 / 1.5, 0.1 / 0.5, 0.2 / 1.5
    case = Case("hybrid", played=episodes(logp=old), epochs=2, **settings)
    gradient = case.gradient("policy")
    # A: A_t > 0 and ratio 1.5: clipped, flat. B: A_t > 0, ratio 0.5 and C: A_t < 0, ratio 1.5: not clipped.
    gap_b, gap_c = math.log(0.8 / 0.2), math.log(0.1 / (0.2 / 1.5))
    a_b, a_c = 0.5 * gap_b + 2 * ADVANTAGE, 0.5 * gap_c - 2 * ADVANTAGE
    onehot = torch.eye(3)[WORD]
    assert torch.equal(gradient[0], torch.zeros(3))
    assert close(gradient[1], -0.5 * a_b * (onehot - P)[1])
    assert close(gradient[2], -1.5 * a_c * (onehot - P)[2])
    a_a = 0.5 * math.log(0.7 / 0.2) + 2 * ADVANTAGE
    assert close(case.terms["policy"], -(1.2 * a_a + 0.5 * a_b + 1.5 * a_c), 1e-5)


# ---- turn weights ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["interpolated", "hybrid"])
def test_t_dur_reaches_the_distillation_term_only(form):
    """Of two turns the one that is worse in both counts has weight 1, the other 0; a single turn has 1 - 0.5^2."""
    case = Case(form, distill_weight=0.8, turns__kind="t_dur")
    assert close(case.batch["distill_weight"], [0.0, 0.8, 0.6])
    assert close(case.batch["reward_weight"], [0.2] * 3 if form == "interpolated" else [1.0] * 3)
    assert case.metrics["turn_weight"] == pytest.approx([0.375, 1.0, None])
    assert case.metrics["weight/applied_teacher"] == pytest.approx(1.4 / 3)


def test_product_is_thresholds_times_t_dur_and_the_reward_sees_thresholds_alone():
    case = Case(distill_weight=0.8, **THRESHOLDS | {"turns__kind": "product"})
    assert close(case.batch["distill_weight"], [0.0, 0.8 * 0.5 * 1.0, 0.8 * 1.0 * 0.75])
    assert close(case.batch["reward_weight"], [1 - 0.8, 1 - 0.4, 1 - 0.8])


def scattered() -> TokenBatch:
    """Two episodes, one of them in two sequences after an overflow; 2, 1, 3 and 3, 1 tokens a turn."""
    turn = torch.tensor([0, 0, 1, 2, 2, 2, 0, 0, 0, 1])
    generator = torch.Generator().manual_seed(0)
    fields = {"turn": turn, "episode": torch.tensor([0] * 6 + [1] * 4)}
    fields |= {name: -torch.rand(10, generator=generator) for name in ("old_logp", "teacher_logp")}
    sequence = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2, 2])
    column = torch.tensor([2, 3, 6, 8, 9, 10, 2, 3, 4, 7])
    return TokenBatch(torch.zeros(3, 12, dtype=torch.long), torch.tensor([7, 11, 8]), sequence, column, fields)


@pytest.mark.parametrize("kind", ["t_dur", "token_level"])
def test_weights_arrive_at_the_tokens_that_they_belong_to(kind):
    config = tiny(objective__distill_weight=0.5, objective__turns__kind=kind)
    mix = InterpolatedMix(config, None, None)
    batch = scattered()
    have = mix.weigh(batch, 0.5, 0.5, {})["distill_weight"]
    want = []
    for rows in (slice(0, 6), slice(6, 10)):  # each episode on its own, without padding
        student, teacher = batch["old_logp"][rows][None], batch["teacher_logp"][rows][None]
        turn, mask = batch["turn"][rows], torch.ones_like(student)
        if kind == "token_level":
            want.append(turn_weights.token_level(student, teacher, turn[None], mask)[0])
        else:
            want.append(turn_weights.t_dur(student, teacher, turn[None], mask)[0][turn])
    assert close(have, 0.5 * torch.cat(want))
    assert len(have.unique()) >= 4


# ---- penalties ---------------------------------------------------------------------------------------------------


def test_penalties_by_hand():
    """d = log p - log r of the sampled words: ln 3/2, ln 1/2, ln 2/3."""
    d = torch.tensor([math.log(1.5), math.log(0.5), math.log(2 / 3)])
    onehot = torch.eye(3)[WORD]
    settings = {"distill_weight": 0.0, "kl_penalty__coef": 0.1}
    k2 = Case(kl_penalty__kind="k2", **settings)
    assert close(k2.terms["kl"], 0.1 * d.square().sum() / 2)
    assert close(k2.gradient("kl"), 0.1 * d[:, None] * (onehot - P))
    k3 = Case(kl_penalty__kind="k3", **settings)  # exp(-d) - 1 + d: 2/3 - 1 + ln 3/2, ...
    assert close(k3.terms["kl"], 0.1 * (2 / 3 + 2 + 3 / 2 - 3 + float(d.sum())))
    assert close(k3.gradient("kl"), 0.1 * (1 - (-d).exp())[:, None] * (onehot - P))
    full = Case(kl_penalty__kind="full", **settings)
    kl = (P * (P / R).log()).sum(1)
    assert close(full.terms["kl"], 0.1 * kl.sum())
    assert close(full.gradient("kl"), 0.1 * P * ((P / R).log() - kl[:, None]))
    for case in (k2, k3, full):
        assert case.metrics["kl/reference"] == pytest.approx(float(d.mean()), abs=1e-6)
        assert case.metrics["weight/kl"] == 0.1


def test_entropy_bonus_by_hand():
    """-c_e H; the derivative of H by the logits is -p (ln p + H)."""
    case = Case(distill_weight=0.0, entropy_coef=0.2)
    h = -(P * P.log()).sum(1)
    assert close(case.terms["entropy"], -0.2 * h.sum())
    assert close(case.gradient("entropy"), 0.2 * P * (P.log() + h[:, None]))


def test_a_target_kl_coefficient_and_an_adaptive_weight_follow_the_step_they_belong_to():
    """kl/reference here is ln(1/2) / 3 < 0.05, so the coefficient falls by its rate, 10 %."""
    case = Case(
        distill_weight__kind="adaptive",
        distill_weight__threshold=0.1,
        distill_weight__levels=2,
        kl_penalty__kind="k3",
        kl_penalty__coef__kind="target_kl",
        kl_penalty__coef__start=0.2,
    )
    assert (case.metrics["weight/distill"], case.metrics["weight/kl"]) == (1.0, 0.2)
    case.mix.measured(case.metrics)
    assert case.mix.kl_weight.at(1) == pytest.approx(0.18)
    assert case.mix.distill_weight.at(1) == pytest.approx(0.55)  # one of two levels from 1.0 to 0.1
    fresh = Case(distill_weight__kind="adaptive", distill_weight__levels=2, kl_penalty__kind="k3").mix
    fresh.kl_weight = type(case.mix.kl_weight)(case.mix.objective.kl_penalty.coef, 10)
    fresh.load_state_dict(case.mix.state_dict())
    assert fresh.distill_weight.at(1) == case.mix.distill_weight.at(1)
    assert fresh.kl_weight.at(1) == case.mix.kl_weight.at(1)


# ---- teachers that fail ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [-math.inf, math.nan])
def test_a_teacher_without_a_probability_for_a_sampled_token_is_named(value):
    config = tiny(objective__distill_weight=0.5, rollout__tasks=1, rollout__group_size=2)
    teacher = EpisodeBook(Q)
    with torch.no_grad():
        teacher.logits[1, 2] = value
    mix = InterpolatedMix(config, scored_by(teacher), None)
    with pytest.raises(TeacherFailed, match=rf"the teacher gives a sampled token the log-probability {value}"):
        mix.prepare(EpisodeBook(P), episodes(), 0, 1.0, 10**6)


def test_a_teacher_may_rule_out_what_nobody_sampled():
    for kind in ("forward_kl", "reverse_kl", "jsd"):
        signal = {"objective__distill_weight": 1.0, "objective__distill__kind": kind}
        config = tiny(rollout__tasks=1, rollout__group_size=2, **signal)
        teacher, student = EpisodeBook(Q), EpisodeBook(P)
        with torch.no_grad():
            teacher.logits[1, 0] = -math.inf
        mix = InterpolatedMix(config, scored_by(teacher), None)
        batch, _ = mix.prepare(student, episodes(), 0, 1.0, 10**6)
        term = mix.terms(student(batch.ids_ST, batch.index_N), batch)["distill"]
        (gradient,) = torch.autograd.grad(term, student.logits)
        assert torch.isfinite(term)
        assert torch.isfinite(gradient).all()


# ---- null controls -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["interpolated", "hybrid"])
def test_a_shuffled_teacher_speaks_of_another_turn(form):
    own = Case(form, distill_weight=0.6)
    case = Case(form, distill_weight=0.6, stand_in__kind="shuffled_teacher")
    said, moved = own.batch["teacher_logp"], case.batch["teacher_logp"]
    assert sorted(moved.tolist()) == sorted(said.tolist()) == pytest.approx(sorted(map(math.log, [0.7, 0.8, 0.1])))
    assert all(a != b for a, b in zip(said.tolist(), moved.tolist(), strict=True))  # three turns of one token
    if form == "interpolated":  # whole rows, with the sampled token's entry
        rows = [Q[[math.log(q) for q in (0.7, 0.8, 0.1)].index(pytest.approx(logp))].log() for logp in moved.tolist()]
        assert close(case.batch["teacher_full"], torch.stack(rows))
    assert case.metrics["kl/teacher"] == own.metrics["kl/teacher"]  # of the teacher itself
    assert case.metrics["turns_alone"] == 0
    assert case.teacher.calls == 1


def test_turns_without_a_partner_have_no_weight_and_are_counted():
    """Turns of two, one and one token: the first is alone of its length."""
    played = Episodes(
        ids_ST=torch.tensor([[0, 1, 0, 2], [0, 2, 0, 0]]),
        length_S=torch.tensor([4, 2]),
        episode_S=torch.tensor([0, 1]),
        sequence_N=torch.tensor([0, 0, 1]),
        column_N=torch.tensor([1, 3, 1]),
        turn_N=torch.tensor([0, 0, 0]),
        logp_N=P[torch.arange(3), WORD].log(),
        outcomes=[Outcome(0, [1.0]), Outcome(0, [0.0])],
        final={},
    )
    case = Case(distill_weight=0.6, stand_in__kind="shuffled_teacher", played=played)
    assert case.metrics["turns_alone"] == 2
    assert close(case.batch["distill_weight"], [0.0, 0.0, 0.0])
    assert close(case.batch["reward_weight"], [0.4, 0.4, 0.4])


def test_a_constant_push_by_hand():
    """The least likely of the three sampled words is B, of 0.1: 40 % of three tokens are one. No teacher is asked."""
    null = {"kind": "constant_push", "push": 0.5, "lowest": 0.4}
    case = Case(distill_weight=0.6, distill__kind="forward_kl", stand_in=null)
    assert close(case.terms["distill"], 0.6 * 0.5)
    assert close(case.gradient("distill"), [[0, 0, 0], [0.3 * -0.6, 0.3 * -0.3, 0.3 * 0.9], [0, 0, 0]])
    assert (case.teacher.calls, "kl/teacher" in case.metrics, "teacher_tokens" in case.metrics) == (0, False, False)
    case = Case("hybrid", distill_weight=0.6, reward_weight=2.0, stand_in=null)
    assert close(case.terms["policy"], -(2.0 * ADVANTAGE * (1 + 1 - 1) - 0.6 * 0.5))
    silent = Case("hybrid", distill_weight=0.0, reward_weight=2.0, stand_in=null)
    assert close(silent.terms["policy"], -2.0 * ADVANTAGE)


@pytest.mark.parametrize("given", [{"turns": {"kind": "t_dur"}}, {"distill_weight": {"kind": "adaptive"}}])
def test_a_constant_push_refuses_weights_that_follow_a_teacher(given):
    with pytest.raises(UserError, match=r"objective.stand_in.kind: 'constant_push' asks no teacher.*turns.kind"):
        Case(stand_in={"kind": "constant_push"}, **given)


# ---- turns that the teacher played -------------------------------------------------------------------------------


def taken_over(cut=(False, False)) -> Episodes:
    """The episodes above, in which the teacher played the first one's second turn (B), and some were cut short."""
    found = episodes()
    for outcome, acts, is_cut in zip(found.outcomes, ([None, 3], [None]), cut, strict=True):
        outcome.acts = [Act(1, 0.0, False, taken=tokens) for tokens in acts]
        outcome.cut = is_cut
    return found


TAKEOVER = {"rollout__takeover": {"probability": 0.5}, "played": taken_over()}


def test_the_teachers_turns_are_imitated_and_the_others_scored_as_usual():
    """lambda g = 0.6 on A and C, 0.3 on B, of which nothing but its imitation is left."""
    case = Case(distill_weight=0.6, distill__kind="forward_kl", entropy_coef=0.1, **THRESHOLDS, **TAKEOVER)
    assert close(case.batch["distill_weight"], [0.6, 0.3, 0.6])
    assert close(case.batch["reward_weight"], [0.4, 0.0, 0.4])
    assert case.metrics["weight/applied_teacher"] == pytest.approx(0.5)
    assert case.metrics["kl/teacher"] == pytest.approx(-(GAP[0] + GAP[2]) / 2, abs=1e-6)
    assert close(case.terms["imitation"], -0.3 * math.log(0.1))
    assert close(case.gradient("imitation"), [[0, 0, 0], [0.3 * 0.6, 0.3 * 0.3, 0.3 * -0.9], [0, 0, 0]])
    assert close(case.terms["distill"], 0.6 * 2 * 0.3405359)
    assert close(case.terms["reward"], -(0.4 - 0.4) * ADVANTAGE)
    assert close(case.gradient("reward")[1], [0, 0, 0])
    assert close(case.terms["entropy"], -0.1 * -2 * (P[0] * P[0].log()).sum())
    assert set(case.terms) == {"distill", "reward", "imitation", "entropy"}


@pytest.mark.parametrize("form", ["interpolated", "hybrid"])
def test_or_by_the_teachers_distributions(form):
    signal = {} if form == "hybrid" else {"distill__kind": "sampled_reverse_kl"}
    how = {"rollout__teacher_turns": "forward_kl"}
    case = Case(form, distill_weight=0.6, **signal, **THRESHOLDS, **TAKEOVER, **how)
    assert close(case.terms["imitation"], 0.3 * 1.3745153)
    assert close(case.gradient("imitation")[1], 0.3 * (P[1] - Q[1]))
    if form == "interpolated":
        assert close(case.terms["distill"], -0.6 * (GAP[0] + GAP[2]))
    else:  # reward weight 1 at step 0
        assert close(case.terms["policy"], -(0.6 * (GAP[0] + GAP[2]) + ADVANTAGE - ADVANTAGE))
    silent = Case(form, distill_weight=0.0, **signal, **TAKEOVER, **how)
    assert "imitation" not in silent.terms


def test_or_masked():
    case = Case(distill_weight=0.6, **THRESHOLDS, **TAKEOVER, rollout__teacher_turns="masked")
    assert close(case.batch["distill_weight"], [0.6, 0.0, 0.6])
    assert close(case.batch["reward_weight"], [0.4, 0.0, 0.4])
    assert close(case.terms["distill"], 0.6 * 2 * 0.3405359)
    assert set(case.terms) == {"distill", "reward"}


def test_weights_from_log_probs_are_those_of_the_students_turns():
    """With B taken, the first episode has one turn left to compare: both parts are 1/2, so 1 - 1/4."""
    case = Case("hybrid", distill_weight=1.0, turns__kind="t_dur", **TAKEOVER)
    assert close(case.batch["distill_weight"], [0.75, 1.0, 0.75])  # what is imitated has the teacher's plain weight


@pytest.mark.parametrize("form", ["interpolated", "hybrid"])
def test_a_task_of_which_a_rollout_was_cut_has_no_reward(form):
    whole, cut = (Case(form, distill_weight=0.5, played=taken_over(cut)) for cut in ((False, False), (False, True)))
    assert (whole.batch["reward_weight"] > 0).tolist() == [True, False, True]
    assert close(cut.batch["reward_weight"], [0.0, 0.0, 0.0])
    assert close(cut.batch["distill_weight"], whole.batch["distill_weight"])
