"""Seeds added in blocks until the claims are decided: when it stops, what the ledger holds, and kills on the way."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import fake_training
import pytest
from fake_training import FAKE

from atod_sweep.errors import UserError
from atod_sweep.evidence.analysis.comparisons import summaries
from atod_sweep.evidence.analysis.look import look
from atod_sweep.evidence.analysis.reading import load
from atod_sweep.evidence.analysis.verdicts import judge
from atod_sweep.evidence.report.write import write
from atod_sweep.export.schedule.best import choose
from atod_sweep.records import ledger
from atod_sweep.sweep import session
from atod_sweep.sweep.resume import resume_run
from atod_sweep.sweep.studies.run_study import Rule, dry_run, run_study

NOISY = replace(FAKE, train="test_until_decided:noisy")


def noisy(config, directory, report, resume=False):
    """The fake trainer, whose result has a normal error of 0.05 per trial."""
    fake_training.train(config, directory, lambda rows: None, resume=resume)
    error = random.Random(f"{config.seed} {config.optimiser.lr}").gauss(0, 0.05)
    first, last = fake_training.row(config, 0), fake_training.row(config, config.steps)
    last["eval/success"] += error
    report([first, last])
    return fake_training.Result({"eval/success": last["eval/success"]}, {"env_steps": 1.0})


pytestmark = pytest.mark.usefixtures("no_mlflow")


OPTIONS = {"backend": "local", "trainer": NOISY, "judge": look}


@pytest.fixture
def go(tmp_path):
    def go(path, most=40, block=5, **options):
        return run_study(path, out=tmp_path / "runs", until_decided=Rule(most, block), **{**OPTIONS, **options})

    return go


def looks(run_dir):
    return [row for row in ledger.read(run_dir) if row["event"] == "look"]


def seeds_of_looks(run_dir):
    return [len(row["seeds"]) for row in looks(run_dir)]


@pytest.fixture
def study(write_study):
    """`slow` ends at 0.5; `fast` lies 0.04 above it, `fine` 0.4, with an error of 0.07 in either difference."""
    arms = {"slow": {}, "fast": {"optimiser.lr": 0.011}, "fine": {"optimiser.lr": 0.02}}
    return lambda **changes: write_study(arms=arms, seeds=3, **changes)


def test_it_stops_at_the_look_that_decides_the_last_claim(study, go):
    outcome = go(study(hypotheses=["fine > slow", "fast > slow"], controls=["teacher"]))
    assert outcome.ok
    last = len(load(outcome.run_dir).seeds)
    assert 8 < last < 40  # with one standard deviation in 0.57, later than fine, before the end
    assert seeds_of_looks(outcome.run_dir) == list(range(3, last + 1, 5))
    assert outcome.complete == outcome.total == 3 * 8 + 2 * (last - 8) + 1  # fine rests once its claim is decided
    told = [[v["outcome"] for v in row["verdicts"]] for row in looks(outcome.run_dir)]
    assert told[0] == ["undecided", "undecided"]  # three seeds exclude nothing
    assert told[1] == ["supported", "undecided"]
    assert told[-1] == ["supported", "supported"]
    assert [row["decided"] for row in looks(outcome.run_dir)] == [False] * (len(told) - 1) + [True]
    assert all("anytime-valid" in row["rule"] for row in looks(outcome.run_dir))
    studies = ledger.fold(ledger.read(outcome.run_dir)).studies
    assert [len(row["seeds"]) for row in studies] == seeds_of_looks(outcome.run_dir)
    assert all(row["sequential"] for row in studies)


def test_arms_of_decided_claims_rest_and_nothing_of_theirs_is_missing(study, go):
    run_dir = go(study(hypotheses=["fine > slow", "fast > slow"], controls=["teacher"])).run_dir
    results = load(run_dir)
    assert results.missing() == []
    first, second = judge(results)
    assert (first.n, first.outcome, first.marks) == (8, "supported", [])  # slow went on without fine
    assert second.n == len(results.seeds) > 8
    assert {s.arm: (len(s.scores), s.missing) for s in summaries(results)} == {
        "slow": (second.n, 0), "fast": (second.n, 0), "fine": (8, 0)
    }  # fmt: skip
    best = choose(results)
    assert best.arm == "fine"  # by the eight seeds that all arms have


def test_a_run_of_the_time_before_goes_on_with_all_arms_where_it_stood(study, go, monkeypatch):
    """Its looks name no open claims: what was begun for all arms is finished for all."""
    path = study(hypotheses=["fine > slow"])
    before = lambda run_dir: {key: value for key, value in look(run_dir).items() if key != "open"}  # noqa: E731
    outcome = go(path, judge=before)
    assert outcome.complete == outcome.total == 3 * 8
    assert load(outcome.run_dir).missing() == []
    assert resume_run(outcome.run_dir, **OPTIONS).complete == 3 * 8


def test_it_gives_up_at_the_most_seeds_and_can_go_on_from_there(study, go):
    path = study(hypotheses=["fast > slow by 0.06"])  # too close to the observed difference
    outcome = go(path, most=9, block=4)
    assert seeds_of_looks(outcome.run_dir) == [3, 7, 9]
    assert not looks(outcome.run_dir)[-1]["decided"]
    assert outcome.complete == outcome.total == 3 * 3 + 2 * 6  # nothing is claimed of fine, which rests from then on
    with pytest.raises(UserError, match=r"sequential.max_seeds: 9 → 12.*--extend"):
        go(path, most=12, block=4, resume=True)
    assert go(path, most=12, block=4, extend=True).complete == 3 * 3 + 2 * 9
    assert seeds_of_looks(outcome.run_dir) == [3, 7, 9, 12]


def test_a_run_stopped_anywhere_ends_as_if_it_had_not_been(study, go, monkeypatch):
    path = study(hypotheses=["fast > slow"])
    whole = go(path, name="whole").run_dir

    def essence(run_dir):
        trials = ledger.fold(ledger.read(run_dir)).trials
        scores = {trial: (row["state"], row.get("score")) for trial, row in trials.items()}
        return scores, [{**row, "time": 0} for row in looks(run_dir)]

    rows = len(ledger.read(whole))
    real, left = ledger.Ledger.append, 0

    class Killed(BaseException):
        pass

    def append(self, row):
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        real(self, row)

    kills = 0
    monkeypatch.setattr(ledger.Ledger, "append", append)
    folder = whole.parent / "small"
    while True:
        left = rows // 4 + 3  # another row of the block every time
        try:
            if not folder.exists():
                go(path)
            else:
                resume_run(folder, **OPTIONS)
            break
        except Killed:
            kills += 1
    assert kills >= 3
    assert essence(folder) == essence(whole)


@pytest.mark.parametrize("row", ["look", "study"])
def test_a_kill_at_a_look_costs_nothing(study, go, monkeypatch, row):
    """After the look's row but before the block that follows from it, and after that block's row."""
    path = study(hypotheses=["fast > slow"])
    whole = go(path, name="whole").run_dir
    real, seen = ledger.Ledger.append, []

    class Killed(BaseException):
        pass

    def append(self, found):
        real(self, found)
        seen.append(found["event"])
        if seen.count(row) == 2:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(ledger.Ledger, "append", append)
        with pytest.raises(Killed):
            go(path)
    outcome = resume_run(whole.parent / "small", **OPTIONS)
    assert seeds_of_looks(outcome.run_dir) == seeds_of_looks(whole)
    assert outcome.complete == len(ledger.fold(ledger.read(whole)).trials)
    before = (outcome.run_dir / "ledger.jsonl").read_bytes()
    assert resume_run(outcome.run_dir, **OPTIONS).ok  # nothing is left to do, and nothing is written
    assert (outcome.run_dir / "ledger.jsonl").read_bytes() == before


def test_seeds_added_before_are_kept_by_another_revision_that_is_killed_at_once(study, go, monkeypatch):
    folder = go(study(hypotheses=["fine > slow"])).run_dir
    monkeypatch.setattr(session.provenance, "git_revision", lambda: "another")
    real = ledger.Ledger.append

    class Killed(BaseException):
        pass

    def append(self, row):
        real(self, row)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(ledger.Ledger, "append", append)
        with pytest.raises(Killed):
            resume_run(folder, **OPTIONS)
    assert resume_run(folder, **OPTIONS).complete == 3 * 3 + 2 * 5
    assert seeds_of_looks(folder) == [3, 8]
    assert ledger.fold(ledger.read(folder)).study["seeds"] == list(range(8))


def test_no_seeds_are_added_that_could_not_run(study, go):
    outcome = go(study(hypotheses=["fast > slow by 0.06"]), max_trials=9)
    assert (outcome.complete, outcome.total) == (9, 9)
    assert load(outcome.run_dir).seeds == [0, 1, 2]
    assert seeds_of_looks(outcome.run_dir) == [3]
    assert resume_run(outcome.run_dir, max_trials=10, **OPTIONS).complete == 3 * 3 + 2 * 5
    assert load(outcome.run_dir).seeds == list(range(8))  # whole blocks


@pytest.mark.slow  # that workers give what this process gives: backends/test_local_workers.py
def test_worker_processes_look_at_the_same_seeds(study, go):
    path = study(hypotheses=["fine > slow"])
    alone, beside = go(path, name="alone"), go(path, name="beside", concurrency=2)
    assert seeds_of_looks(alone.run_dir) == seeds_of_looks(beside.run_dir)
    assert looks(alone.run_dir)[-1]["verdicts"] == looks(beside.run_dir)[-1]["verdicts"]


@pytest.mark.usefixtures("blank_pictures")
def test_the_report_says_so_and_judges_by_the_rule(study, go):
    run_dir = go(study(hypotheses=["fine > slow"])).run_dir
    (verdict,) = judge(load(run_dir))
    assert verdict.sequential
    (last,) = looks(run_dir)[-1]["verdicts"]
    assert (last["low"], last["high"]) == (verdict.interval.low, verdict.interval.high)
    text = write(run_dir).documents["md"].read_text()
    assert "Seeds were added until the claims were decided (looks after 3 and 8 seeds)" in text
    assert "anytime-valid t confidence sequence (Wang and Ramdas 2023)" in text
    assert "95 % anytime-valid interval" in text


def test_a_study_of_fixed_size_can_go_on_by_the_rule_and_the_other_way_round(study, go, tmp_path):
    path = study(hypotheses=["fine > slow"])
    fixed = run_study(path, out=tmp_path / "runs", **OPTIONS).run_dir
    assert not load(fixed).study.sequential
    assert len(load(go(path, extend=True).run_dir).seeds) == 8
    assert load(fixed).study.sequential
    grown = run_study(path, out=tmp_path / "runs", seeds=10, extend=True, **OPTIONS)
    assert len(load(grown.run_dir).seeds) == 10
    assert load(grown.run_dir).study.sequential  # it stays a study that looked


def test_seeds_that_a_study_lists_are_followed_by_new_ones(study, go):
    path = study(hypotheses=["fine > slow"])
    path.write_text(path.read_text().replace("seeds: 3", "seeds: [7, 2, 4]"))
    assert looks(go(path).run_dir)[-1]["seeds"] == [7, 2, 4, 8, 9, 10, 11, 12]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"most": 3}, "--max-seeds 3: the study begins with 3 seeds"),
        ({"block": 0}, "--block 0"),
        ({"hypotheses": []}, "states no hypotheses"),
    ],
)
def test_refusals(study, go, options, said):
    path = study(hypotheses=options.pop("hypotheses", ["fine > slow"]))
    with pytest.raises(UserError, match=said):
        go(path, **options)
    assert not Path(path.parent / "runs").exists()


def test_a_dry_run_counts_the_most_seeds(study, monkeypatch):
    monkeypatch.setattr("atod_sweep.sweep.estimate._timed", lambda *_: (1.0, {"env_steps": 1.0, "tokens": 1.0}))
    found = dry_run(study(hypotheses=["fine > slow"]), until_decided=Rule(10, 5), **OPTIONS)
    assert found.trials == 30
