"""From a prepared batch to new weights: epochs, minibatches, parts, early stop, clipping, divergence."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from kind_examples import SIGNALS
from small import make_model, play, scored_by, tiny

from atod_sweep.training.algorithms.interpolated import InterpolatedMix
from atod_sweep.training.batch import TokenBatch
from atod_sweep.training.failures import Diverged
from atod_sweep.training.loop.update import Updater
from atod_sweep.training.models import head
from atod_sweep.training.models.policy import Policy

COMPARING = [signal for signal in SIGNALS if signal["kind"] != "relabel"]  # others want a teacher that acts
SEEDS = [1, 1, 2, 2, 3, 3, 4, 4]
GAE = {
    "objective__distill_weight": 0.5,
    "objective__advantage__kind": "gae",
    "objective__entropy_coef": 0.01,
    "objective__clip_ratio": 0.2,
}
LARGE = {"optimiser__max_grad_norm": 1e9, "optimiser__warmup_steps": 0}


class Setting:
    """A student with a prepared batch of episodes on two tasks, and its updater."""

    def __init__(self, temperature: float = 1.0, value_head: bool = True, **settings) -> None:
        self.temperature = temperature
        self.config = tiny(rollout__tasks=4, rollout__group_size=2, env__horizon=4, **LARGE | settings)
        model = make_model("llama")
        episodes = play(model, SEEDS, temperature=temperature, bootstrap=value_head)
        for e, outcome in enumerate(episodes.outcomes):  # a random policy earns nothing: give the signal some spread
            outcome.rewards = [0.1 * ((3 * e + k) % 5) for k in range(outcome.turns)]
        self.policy = Policy(model, value_head=value_head)
        if self.policy.value_head is not None:
            torch.nn.init.normal_(self.policy.value_head.weight, 0.0, 0.3)
        self.algorithm = InterpolatedMix(
            self.config, scored_by(Policy(make_model("llama", seed=1))), Policy(make_model("llama", seed=2))
        )
        self.batch, _ = self.algorithm.prepare(self.policy, episodes, 0, temperature, 10**6)
        optimiser = torch.optim.AdamW(self.policy.parameters(), lr=1.0)
        accelerator = Accelerator(cpu=True)
        self.updater = Updater(accelerator, self.policy, optimiser, self.config, np.random.default_rng(0))

    def apply(self, terms=None, step: int = 0) -> dict[str, float]:
        return self.updater.apply(self.batch, terms or self.algorithm.terms, step, self.temperature)

    def gradients(self) -> list[torch.Tensor]:
        return [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in self.policy.parameters()]

    def weights(self) -> torch.Tensor:
        return torch.cat([p.detach().flatten() for p in self.policy.parameters()])


def relative(a: list[torch.Tensor], b: list[torch.Tensor]) -> float:
    return max(float((x - y).norm() / y.norm().clamp_min(1e-12)) for x, y in zip(a, b, strict=True))


REGULARISED = {
    "objective__distill_weight": 0.5,
    "objective__turns__kind": "t_dur",
    "objective__kl_penalty__kind": "k3",
    "objective__kl_penalty__coef": 0.1,
}


@pytest.mark.parametrize("settings", [REGULARISED, REGULARISED | GAE], ids=["group_relative", "gae"])
def test_parts_that_fit_into_memory_give_the_gradient_of_the_whole(settings):
    whole = Setting(**settings)
    metrics = whole.apply()
    for tokens in (64, 80):
        parts = Setting(update__micro_batch_tokens=tokens, **settings)
        assert len(list(parts.batch.parts(tokens))) >= 3
        in_parts = parts.apply()
        assert relative(parts.gradients(), whole.gradients()) < 1e-5
        assert in_parts == pytest.approx(metrics, rel=1e-4, abs=1e-6)


PORTION = 5  # tokens
EVERYWHERE = {
    "objective__entropy_coef": 0.01,
    "objective__kl_penalty__kind": "full",
    "objective__kl_penalty__coef": 0.1,
}


def in_portions(monkeypatch, **settings) -> Setting:
    """With logits of a few tokens at a time."""
    monkeypatch.setattr(head, "elements_at_once", lambda device: PORTION * 15)
    return Setting(**settings)


@pytest.mark.parametrize("signal", COMPARING, ids=lambda signal: "-".join(map(str, signal.values())))
@pytest.mark.parametrize("temperature", [pytest.param(1.0, marks=pytest.mark.slow), 0.7])
def test_logits_in_portions_give_the_loss_and_the_gradient_of_the_whole(signal, temperature, monkeypatch):
    mixed = {"objective__distill_weight": 0.5, "objective__distill": signal, "temperature": temperature} | EVERYWHERE
    whole = Setting(**mixed)
    parts = in_portions(monkeypatch, **mixed)
    assert "reference_full" not in parts.batch.fields
    assert parts.batch.tokens > 4 * PORTION
    want, have = whole.apply(), parts.apply()
    assert have == pytest.approx(want, rel=1e-6, abs=1e-6)
    assert relative(parts.gradients(), whole.gradients()) < 1e-6


@pytest.mark.parametrize(
    "more",
    [
        GAE,
        {"update__micro_batch_tokens": 64},
        {"update__epochs": 2, "update__minibatches": 2, "update__target_kl": 1e9},
        {"runtime__precision": "bf16"},
    ],
    ids=["gae", "parts", "epochs", "autocast"],
)
def test_logits_in_portions_with(more, monkeypatch):
    settings = REGULARISED | EVERYWHERE | more
    whole, parts = Setting(**settings), in_portions(monkeypatch, **settings)
    exact = "runtime__precision" not in more
    assert parts.apply() == pytest.approx(whole.apply(), rel=1e-5 if exact else 0.02, abs=1e-6 if exact else 1e-3)
    if exact:
        assert relative(parts.gradients(), whole.gradients()) < 1e-5


def test_no_more_logits_than_a_portion_s_are_made_at_a_time(monkeypatch):
    parts = in_portions(monkeypatch, **REGULARISED | EVERYWHERE)
    widths = []
    original = Policy.logits

    def counted(self, hidden_NC):
        widths.append(len(hidden_NC))
        return original(self, hidden_NC)

    monkeypatch.setattr(Policy, "logits", counted)
    parts.apply()
    assert max(widths) == PORTION
    assert len(widths) >= 4 * parts.batch.tokens // PORTION  # student's twice, teacher's and reference's twice


def test_the_loss_is_a_sum_over_generated_tokens_divided_by_their_number():
    setting = Setting(**REGULARISED | GAE)
    output = setting.policy(setting.batch.ids_ST, setting.batch.index_N)
    terms = setting.algorithm.terms(output, setting.batch)
    want = torch.autograd.grad(sum(terms.values()) / setting.batch.tokens, list(setting.policy.parameters()))
    metrics = setting.apply()
    assert relative(setting.gradients(), list(want)) < 1e-6
    assert set(terms) == {"reward", "distill", "kl", "value", "entropy"}
    for name, value in terms.items():
        assert metrics[f"loss/{name}"] == pytest.approx(value.item() / setting.batch.tokens, rel=1e-5)
    assert metrics["loss"] == pytest.approx(sum(metrics[f"loss/{name}"] for name in terms))
    norm = torch.stack([g.norm() for g in want]).norm()
    assert metrics["grad_norm"] == pytest.approx(norm.item(), rel=1e-5)


def test_epochs_and_minibatches_visit_every_sequence_once_per_epoch():
    setting = Setting(update__epochs=3, update__minibatches=3, **GAE)
    seen = []

    def terms(output, batch):
        seen.append(batch.ids_ST.sum().item())
        sizes.append((len(batch.ids_ST), batch.tokens))
        return setting.algorithm.terms(output, batch)

    sizes: list[tuple[int, int]] = []
    metrics = setting.apply(terms)
    assert metrics["epochs"] == 3
    assert [rows for rows, _ in sizes] == [3, 3, 2] * 3
    for epoch in range(3):
        assert sum(tokens for _, tokens in sizes[3 * epoch : 3 * epoch + 3]) == setting.batch.tokens
    assert seen[:3] != seen[3:6]  # another order every time
    state = setting.updater.optimiser.state_dict()["state"]
    assert {int(s["step"]) for s in state.values()} == {9}


def test_more_minibatches_than_sequences_are_as_many_as_sequences():
    setting = Setting(update__minibatches=100, **GAE)
    setting.apply()
    state = setting.updater.optimiser.state_dict()["state"]
    assert {int(s["step"]) for s in state.values()} == {len(setting.batch.ids_ST)}


def test_the_second_epoch_is_measured_against_the_rollout_policy():
    """The first update of two is on-policy; in the second the ratio has moved."""
    setting = Setting(update__epochs=2, optimiser__lr=0.01, **GAE)
    ratios = []

    def terms(output, batch):
        logp = output.logits_NV.log_softmax(-1).gather(1, batch.target_N[:, None])[:, 0]
        ratios.append((logp - batch["old_logp"]).exp().detach())
        return setting.algorithm.terms(output, batch)

    setting.apply(terms)
    assert torch.allclose(ratios[0], torch.ones_like(ratios[0]), rtol=0, atol=1e-4)
    assert (ratios[1] - 1).abs().max() > 0.01


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_target_kl_stops_after_the_update_that_went_too_far(temperature):
    """The approximate KL is measured before each update, at the temperature of the rollouts: 0 before the first."""
    many = {"update__epochs": 5, "optimiser__lr": 0.02, "objective__distill_weight": 0.0}
    far = Setting(temperature, update__target_kl=1e-3, **many | GAE)
    metrics = far.apply()
    assert metrics["epochs"] == 2
    assert metrics["kl/update"] > 1e-3
    near = Setting(temperature, update__target_kl=1e9, **many | GAE)
    assert near.apply()["epochs"] == 5
    one = Setting(temperature, update__target_kl=1e-3, **many | GAE | {"update__epochs": 1})
    assert one.apply()["kl/update"] < 1e-6


def test_the_approximate_kl_by_hand():
    """k3 of KL(rollout || now) over the tokens: mean of exp(d) - 1 - d with d = log p_now - log p_old."""
    setting = Setting(update__target_kl=1e9, **GAE)
    drift = torch.linspace(-0.5, 0.5, setting.batch.tokens)
    setting.batch = setting.batch.having(old_logp=setting.batch["old_logp"] - drift)
    want = (drift.exp() - 1 - drift).mean().item()
    assert setting.apply()["kl/update"] == pytest.approx(want, rel=1e-3)


def test_without_a_target_no_kl_is_claimed():
    assert "kl/update" not in Setting(**GAE).apply()


def test_gradients_are_clipped_to_the_norm_and_reported_before():
    setting = Setting(**GAE)
    free = setting.apply()["grad_norm"]
    clipped = Setting(**GAE | {"optimiser__max_grad_norm": free / 10})
    assert clipped.apply()["grad_norm"] == pytest.approx(free)
    norm = torch.stack([g.norm() for g in clipped.gradients()]).norm()
    assert norm.item() == pytest.approx(free / 10, rel=1e-3)


@pytest.mark.parametrize(
    ("warmup", "step", "want"), [(4, 0, 0.25), (4, 2, 0.75), (4, 3, 1.0), (4, 9, 1.0), (0, 0, 1.0)]
)
def test_warm_up(warmup, step, want):
    setting = Setting(optimiser__lr=0.01, **LARGE | GAE | {"optimiser__warmup_steps": warmup})
    setting.apply(step=step)
    assert [g["lr"] for g in setting.updater.optimiser.param_groups] == [pytest.approx(0.01 * want)]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_ends_the_trial_before_the_weights_change(value):
    setting = Setting(**GAE)
    before = setting.weights()

    def terms(output, batch):
        return {"reward": output.logits_NV.sum() * value}

    with pytest.raises(Diverged, match=r"loss is (nan|inf|-inf) at step 7; lower optimiser.lr"):
        setting.apply(terms, step=7)
    assert torch.equal(setting.weights(), before)


def test_a_gradient_that_is_no_number_ends_the_trial_too():
    setting = Setting(**GAE)
    before = setting.weights()

    def terms(output, batch):
        return {"reward": (output.logits_NV - output.logits_NV).sqrt().sum()}  # 0, with the slope inf - inf

    with pytest.raises(Diverged, match=r"grad_norm is nan at step 0"):
        setting.apply(terms)
    assert torch.equal(setting.weights(), before)


def test_gradient_norms_of_single_terms_leave_everything_untouched():
    setting = Setting(update__micro_batch_tokens=64, **REGULARISED | GAE)
    before = setting.weights()
    norms = setting.updater.gradient_norms(setting.batch, setting.algorithm.terms)
    assert torch.equal(setting.weights(), before)
    assert all(p.grad is None for p in setting.policy.parameters())
    output = setting.policy(setting.batch.ids_ST, setting.batch.index_N)
    terms = setting.algorithm.terms(output, setting.batch)
    assert norms.keys() == {f"grad_norm/{name}" for name in terms}
    for name, value in terms.items():
        want = torch.autograd.grad(
            value / setting.batch.tokens, list(setting.policy.parameters()), retain_graph=True, allow_unused=True
        )
        norm = torch.stack([g.norm() for g in want if g is not None]).norm().item()
        assert norms[f"grad_norm/{name}"] == pytest.approx(norm, rel=1e-4), name


# ---- batches -----------------------------------------------------------------------------------------------------


def numbered() -> TokenBatch:
    """Three sequences of 3, 5 and 2 ids; the tokens' field `name` tells them apart."""
    ids = torch.tensor([[10, 11, 12, 0, 0], [20, 21, 22, 23, 24], [30, 31, 0, 0, 0]])
    sequence, column = torch.tensor([0, 0, 1, 1, 2]), torch.tensor([1, 2, 2, 4, 1])
    fields = {"name": torch.tensor([11, 12, 22, 24, 31]), "episode": sequence}
    return TokenBatch(ids, torch.tensor([3, 5, 2]), sequence, column, fields)


def test_taking_sequences_renumbers_them_and_cuts_the_padding():
    part = numbered().take(torch.tensor([0, 2]))
    assert part.ids_ST.tolist() == [[10, 11, 12], [30, 31, 0]]
    assert part.length_S.tolist() == [3, 2]
    assert part.sequence_N.tolist() == [0, 0, 1]
    assert part.target_N.tolist() == part["name"].tolist() == [11, 12, 31]
    assert part.ids_ST.flatten()[part.index_N].tolist() == [10, 11, 30]


@pytest.mark.parametrize(
    ("tokens", "sizes"), [(None, [3]), (15, [3]), (14, [2, 1]), (6, [2, 1]), (5, [1, 1, 1]), (1, [1, 1, 1])]
)
def test_parts_hold_every_token_once_and_stay_within_their_size(tokens, sizes):
    """Shortest first: 2 and 3 ids fit into 6 with their padding, the 5 stand alone."""
    parts = list(numbered().parts(tokens))
    assert [len(part.ids_ST) for part in parts] == sizes
    assert sorted(name for part in parts for name in part["name"].tolist()) == [11, 12, 22, 24, 31]
    for part in parts:
        assert part.target_N.tolist() == part["name"].tolist()


def test_joined_batches_keep_their_tokens_apart():
    other = numbered().take(torch.tensor([1]))
    both = numbered().take(torch.tensor([0, 2])).joined(other)
    assert both.ids_ST.tolist() == [[10, 11, 12, 0, 0], [30, 31, 0, 0, 0], [20, 21, 22, 23, 24]]
    assert both.target_N.tolist() == both["name"].tolist() == [11, 12, 31, 22, 24]
    assert both["episode"].tolist() == [0, 0, 2, 4, 4]
