"""Weights of little precision learn through their masters; rates follow the config; roundings are measured."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from interruptions import Recorder, same, stopped_run, weights
from small import make_model, tiny, tokenizer

from atod_sweep.config.train import Optimiser
from atod_sweep.training.loop.build import assemble
from atod_sweep.training.loop.optimiser import MasterAdamW, adamw, rate
from atod_sweep.training.loop.trainer import train

SLOW_RATE = 1e-6  # the published one: a weight of 0.3 would need an update of 1e-3 to move in bfloat16


@pytest.fixture
def half(tmp_path, monkeypatch) -> dict:
    """A student in bfloat16 that takes the general path."""
    monkeypatch.setenv("ATOD_SWEEP_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "qwen3"
    make_model("qwen3").save_pretrained(path)
    tokenizer().save_pretrained(path)
    student = {"student__kind": "pretrained", "student__path": str(path), "student__dtype": "bfloat16"}
    alone = {"teacher__kind": "none", "objective__distill_weight": 0.0, "objective__entropy_coef": 0.1}
    return student | alone | {"optimiser__warmup_steps": 0}


# ---- masters -----------------------------------------------------------------------------------------------------


def test_small_updates_add_up():
    """1000 updates of 1e-5 move a weight of 1 by 1e-2; alone, each would round away."""
    weight = torch.nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
    plain = torch.nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
    ours = MasterAdamW([weight], lr=1e-5, weight_decay=0.0)
    theirs = torch.optim.AdamW([plain], lr=1e-5, weight_decay=0.0)
    for _ in range(1000):
        weight.grad, plain.grad = torch.ones_like(weight), torch.ones_like(plain)
        ours.collect()
        ours.step()
        ours.zero_grad()
        theirs.step()
    assert torch.equal(plain, torch.ones_like(plain))
    assert torch.allclose(ours.masters[0], torch.full((3,), 0.99), atol=1e-5)
    assert torch.equal(weight, ours.masters[0].bfloat16())


def test_gradients_of_many_parts_add_up_in_float32():
    """256 + 1 + 1 + ... in bfloat16 stays 256."""
    weight = torch.nn.Parameter(torch.ones(1, dtype=torch.bfloat16))
    optimiser = MasterAdamW([weight], lr=1.0)
    for part in (256.0, *[1.0] * 8):
        weight.grad = torch.full_like(weight, part)
        optimiser.collect()
        assert weight.grad is None
    assert optimiser.masters[0].grad.item() == 264.0
    optimiser.zero_grad()
    assert optimiser.masters[0].grad is None


def test_weights_in_float32_are_their_own_masters():
    weight = torch.nn.Parameter(torch.randn(5))
    other = torch.nn.Parameter(weight.detach().clone())
    config = Optimiser(lr=0.1, weight_decay=0.1)
    ours = adamw(config, [weight])
    theirs = torch.optim.AdamW([other], lr=0.1, betas=config.betas, weight_decay=0.1, fused=True)
    for _ in range(3):
        for p, optimiser in ((weight, ours), (other, theirs)):
            p.grad = p.detach() ** 2
            optimiser.step()
    assert torch.equal(weight, other)
    assert ours.masters == []
    assert ours.state_dict().keys() == theirs.state_dict().keys()


def test_a_student_in_bf16_moves_at_the_published_rate(half, tmp_path):
    run = assemble(tiny(optimiser__lr=SLOW_RATE, **half), tmp_path, resume=False)
    optimiser = run.updater.optimiser.optimizer
    before = [master.detach().clone() for master in optimiser.masters]
    metrics = [
        run.updater.apply(run.algorithm.collect(run.stage, i).batch, run.algorithm.terms, i, 1.0) for i in range(3)
    ]
    moved = [(master != old).float().mean().item() for master, old in zip(optimiser.masters, before, strict=True)]
    assert min(moved) > 0.5  # rows of words that were not said have no gradient
    assert sum(moved) / len(moved) > 0.9
    for weight, master in zip(optimiser.rounded, optimiser.masters, strict=True):
        assert torch.equal(weight, master.bfloat16())
    assert metrics[0]["lost_updates"] < 0.01
    assert 0 < metrics[0]["logp_gap"] < 0.05


def test_bf16_resumes_bit_for_bit(half, tmp_path):
    config = tiny(optimiser__lr=SLOW_RATE, **half)
    whole, after = Recorder(), Recorder()
    train(config, tmp_path / "whole", whole)
    stopped_run(config, tmp_path / "stopped", 2)
    train(config, tmp_path / "stopped", after, resume=True)
    rows = whole.by_step()
    assert after.by_step() == {key: rows[key] for key in after.by_step()}
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "stopped"))


def test_a_checkpoint_from_before_there_were_masters_goes_on(half):
    weight = torch.nn.Parameter(torch.ones(2, dtype=torch.bfloat16))
    plain = torch.optim.AdamW([weight], lr=0.1)
    weight.grad = torch.ones_like(weight)
    plain.step()
    optimiser = MasterAdamW([torch.nn.Parameter(torch.zeros(2, dtype=torch.bfloat16))], lr=0.1)
    with torch.no_grad():
        optimiser.rounded[0].copy_(weight)  # weights are restored first
    optimiser.load_state_dict(plain.state_dict())
    assert torch.equal(optimiser.masters[0], weight.float())


# ---- what is measured --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("epochs", [1, 2])
def test_the_ratio_of_later_passes_is_one_of_policies_not_of_roundings(half, tmp_path, epochs, monkeypatch):
    run = assemble(tiny(update__epochs=epochs, **half), tmp_path, resume=False)
    batch = run.algorithm.collect(run.stage, 0).batch
    ratios = []

    def terms(output, part):
        logp = output.logits_NV.log_softmax(-1).gather(1, part.target_N[:, None])[:, 0]
        ratios.append(float((logp.detach() - part["old_logp"]).abs().max()))
        return run.algorithm.terms(output, part)

    metrics = run.updater.apply(batch, terms, 0, 1.0)
    assert metrics["logp_gap"] > 0
    assert (ratios[0] == 0) == (epochs > 1)


def test_updates_that_round_away_are_told_once(half, tmp_path, caplog):
    run = assemble(tiny(optimiser__lr=1e-12, diagnostics_every=1, **half), tmp_path, resume=False)
    batch = run.algorithm.collect(run.stage, 0).batch
    for step in range(2):
        assert run.updater.apply(batch, run.algorithm.terms, step, 1.0)["lost_updates"] > 0.5
    (told,) = [record.getMessage() for record in caplog.records if "round away" in record.getMessage()]
    assert "raise optimiser.lr (1e-12)" in told


def test_compact_students_pay_for_no_measurement(built, tmp_path):
    run = assemble(tiny(), tmp_path, resume=False)
    collected = run.algorithm.collect(run.stage, 0)
    assert "logp_gap" not in run.updater.apply(collected.batch, run.algorithm.terms, 0, 1.0)


# ---- rates -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("decay", "want"),
    [
        ("constant", [0.5, 1.0, 1.0, 1.0, 1.0, 1.0]),
        ("linear", [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]),
        ("cosine", [0.5, 1.0, 1.0, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2]),
    ],
)
def test_rates_by_step(decay, want):
    """Two steps of warm-up, four of decay, which a seventh would end at 0."""
    config = Optimiser(lr=1.0, warmup_steps=2, decay=decay)
    assert [rate(config, step, 6) for step in range(6)] == pytest.approx(want)
    assert rate(config, 6, 6) == pytest.approx(1.0 if decay == "constant" else 0.0)


@pytest.mark.parametrize("decay", ["linear", "cosine"])
def test_a_warm_up_as_long_as_the_run(decay):
    assert rate(Optimiser(lr=1.0, warmup_steps=5, decay=decay), 4, 5) == 1.0
    assert rate(Optimiser(lr=1.0, warmup_steps=0, decay=decay), 0, 1) == 1.0


def test_the_decay_reaches_the_rows(built, tmp_path: Path):
    recorder = Recorder()
    train(tiny(optimiser__decay="linear", optimiser__warmup_steps=0), tmp_path, recorder)
    rates = [row["lr"] for row in recorder.rows if row["phase"] == "train"]
    assert rates == pytest.approx([0.01, 0.0075, 0.005, 0.0025])
