"""The control that is the best of a few constant weights: chosen first, on its own seeds, once and for all."""

from __future__ import annotations

from dataclasses import replace

import fake_training
import pytest
from fake_training import FAKE

from atod_sweep.errors import UserError
from atod_sweep.evidence.analysis.look import look
from atod_sweep.evidence.analysis.reading import load
from atod_sweep.evidence.report.glossary import terms
from atod_sweep.evidence.report.write import write
from atod_sweep.records import ledger
from atod_sweep.sweep.resume import resume_run
from atod_sweep.sweep.studies import tuned
from atod_sweep.sweep.studies.run_study import Rule, dry_run, run_study
from atod_sweep.training.failures import Diverged

BEST = {tuned.SEEDS[0]: 0.4, tuned.SEEDS[1]: 0.2}  # the weight at which each seed of the choice is best


def peaked(config, directory, report, resume=False):
    """The closer the weight is to 0.25, the better on the whole; single seeds have other tastes."""
    weight = config.objective.distill_weight.start
    error = 0.001 if weight == BEST.get(config.seed) else 0.0
    report([fake_training.row(config, 0), last := {**fake_training.row(config, config.steps)}])
    last["eval/success"] = 0.9 - abs(weight - 0.25) + error
    return fake_training.Result({"eval/success": last["eval/success"]}, {"env_steps": 1.0})


def failing(config, directory, report, resume=False):
    if config.objective.distill_weight.start == 0.2:
        raise Diverged("loss is nan at step 3")
    return peaked(config, directory, report, resume)


pytestmark = pytest.mark.usefixtures("no_mlflow")


OPTIONS = {"backend": "local", "trainer": replace(FAKE, train="test_tuned:peaked")}


@pytest.fixture
def go(tmp_path):
    return lambda path, **options: run_study(path, out=tmp_path / "runs", **{**OPTIONS, **options})


def test_it_is_chosen_first_on_seeds_of_its_own(write_study, go, blank_pictures):
    outcome = go(write_study(controls=["rl", "tuned_constant"], hypotheses=["slow > tuned_constant"]))
    assert outcome.ok
    assert outcome.complete == outcome.total == 3 * 2 + (2 + 2) * 2  # weights x seeds, then arms and controls x seeds
    ids = list(ledger.fold(ledger.read(outcome.run_dir)).trials)
    assert ids[:2] == [f"tuned_constant_at_0.1-s{seed}" for seed in tuned.SEEDS]
    assert ids[6:] == [f"{arm}-s{seed}" for seed in (0, 1) for arm in ("rl", "slow", "fast", "tuned_constant")]
    (row,) = [row for row in ledger.read(outcome.run_dir) if row["event"] == "selection"]
    assert row["top"][0]["values"] == {"objective.distill_weight": 0.2}
    results = load(outcome.run_dir)
    assert {t.seed for t in results.explored} == {*tuned.SEEDS}
    assert {t.seed for t in results.trials} == {0, 1}
    assert results.missing() == []
    assert [t.role for t in results.of("tuned_constant", {})] == ["control"] * 2
    assert "chosen on other seeds: 0.2" in terms(results)["tuned_constant"]
    text = write(outcome.run_dir).markdown.read_text()
    assert "8 complete trials, and 6 before on other seeds by which a control was chosen" in text


def test_a_run_that_is_stopped_anywhere_keeps_to_its_choice(write_study, go, tmp_path):
    """With another taste after the choice, it still stands; what it is made by is not run twice."""
    path = write_study(controls=["tuned_constant"], seeds=1)
    for most in (2, 5, 7):
        outcome = go(path, max_trials=most, name=f"after{most}")
        assert outcome.complete == most
        again = resume_run(outcome.run_dir, **OPTIONS)
        assert again.complete == again.total == 6 + 3
        whole = {t.id: t.config_hash for t in load(again.run_dir).trials}
        assert whole == {t.id: t.config_hash for t in load(go(path, name=f"whole{most}").run_dir).trials}
    grown = go(write_study(controls=["tuned_constant"], seeds=3), extend=True, name="after7")
    assert grown.complete == 6 + 9
    assert sum(row["event"] == "selection" for row in ledger.read(grown.run_dir)) == 1


def test_it_can_be_added_to_a_study(write_study, go):
    go(write_study(seeds=1))
    grown = go(write_study(controls=["tuned_constant"], seeds=1), extend=True)
    assert grown.complete == grown.total == 2 + 6 + 1
    assert load(grown.run_dir).missing() == []


def test_every_combination_of_levels_has_its_own(write_study, go):
    factors = {"length": {"short": {"steps": 20}, "long": {"steps": 40}}}
    outcome = go(write_study(factors=factors, controls=["tuned_constant"], seeds=1))
    assert outcome.complete == outcome.total == 2 * 6 + 2 * 3
    tops = [row["top"][0] for row in ledger.read(outcome.run_dir) if row["event"] == "selection"]
    assert [top["levels"] for top in tops] == ["short", "long"]
    (trial,) = load(outcome.run_dir).of("tuned_constant", {"length": "long"})
    assert (trial.config["steps"], trial.config["objective"]["distill_weight"]["start"]) == (40, 0.2)


def test_it_stands_beside_factors_and_arms_of_the_same_weight(write_study, go):
    """Like other controls it has its own weight whatever the level says, and arms may be matched to those."""
    levels = {kind: {"objective.distill_weight.kind": kind} for kind in ("cosine", "linear")}
    outcome = go(write_study(factors={"decay": levels}, controls=["opd", "tuned_constant"], seeds=1))
    assert outcome.complete == outcome.total == 2 * 6 + 2 * 4
    for trial in load(outcome.run_dir).of("tuned_constant", {}):
        assert trial.config["objective"]["distill_weight"]["kind"] == "constant"
    mean = {"kind": "constant", "start": {"match_mean_of": "fixed_mix"}}
    arms = {"slow": {}, "matched": {"objective.distill_weight": mean}}
    matched = go(write_study(arms=arms, controls=["fixed_mix", "tuned_constant"], seeds=1), overwrite=True)
    assert matched.complete == matched.total == 6 + 4


def test_a_weight_that_fails_is_not_chosen(write_study, go):
    trainer = replace(FAKE, train="test_tuned:failing")
    outcome = go(write_study(controls=["tuned_constant"], seeds=1), trainer=trainer)
    (row,) = [row for row in ledger.read(outcome.run_dir) if row["event"] == "selection"]
    assert row["top"][0]["values"] == {"objective.distill_weight": 0.4}  # as far from 0.25 as 0.1; a seed likes it


def test_seeds_are_added_beside_it(write_study, go):
    path = write_study(controls=["tuned_constant"], hypotheses=["slow > tuned_constant by 0.5"], seeds=3)
    outcome = go(path, until_decided=Rule(6, 3), judge=look)
    assert outcome.complete == outcome.total
    assert len(load(outcome.run_dir).of("tuned_constant", {})) >= 3


def test_a_dry_run_counts_what_it_is_chosen_by(write_study):
    path = write_study(controls=["tuned_constant"])
    assert dry_run(path, **{**OPTIONS, "trainer": FAKE}).trials == 6 + 3 * 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"base": {"objective.kind": "sft"}}, "controls.tuned_constant: .*'sft'"),
        ({"seeds": [5, tuned.SEEDS[1]]}, "seeds: 1000000001 is one that tuned_constant is chosen on; use others"),
        (
            {"arms": {"slow": {"objective.distill_weight.end": {"match_mean_of": "tuned_constant"}}}},
            "match_mean_of 'tuned_constant' is not an arm",
        ),
    ],
)
def test_it_is_refused_where_it_cannot_be(write_study, go, changes, words):
    with pytest.raises(UserError, match=words):
        go(write_study(controls=["tuned_constant"], **changes))
