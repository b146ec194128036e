"""Searches run in this process: budget, learning once, confirmation, resuming, extension."""

from __future__ import annotations

import contextlib
import statistics

import fake_training
import pytest
import yaml
from fake_training import FAKE

from atod_sweep.config.search import layers
from atod_sweep.errors import UserError
from atod_sweep.evidence.analysis.front import front
from atod_sweep.evidence.analysis.reading import load
from atod_sweep.records import ledger
from atod_sweep.sweep import session
from atod_sweep.sweep.resume import resume_run
from atod_sweep.sweep.searches.run_search import run_search
from benchmarks.regret import RULES, recorded, regret

pytestmark = pytest.mark.usefixtures("no_mlflow")


LR = {"optimiser.lr": {"float": [0.001, 0.02]}}
BUDGET = {"configurations": 5, "seeds": 2, "confirm": {"top": 2, "seeds": 3}}


@pytest.fixture
def write_search(tmp_path):
    def write(**changes):
        search = {
            "base": {"steps": 40, "evaluation.every": 10, "optimiser.lr": 0.01},
            "parameters": LR,
            "sampler": {"kind": "random", "seed": 3},
            "budget": BUDGET,
            **changes,
        }
        path = tmp_path / "tiny.yaml"
        path.write_text(yaml.safe_dump(search, sort_keys=False))
        return path

    return write


@pytest.fixture
def go(tmp_path):
    def go(path, **options):
        return run_search(path, out=tmp_path / "runs", **{"backend": "local", "trainer": FAKE, **options})

    return go


def rows(run_dir, event):
    return [row for row in ledger.read(run_dir) if row["event"] == event]


def essence(run_dir):
    """(configuration, seed, phase) -> state, score; and what was learned, in order."""
    last = ledger.fold(ledger.read(run_dir)).trials.values()
    results = {(r["configuration"], r["seed"], r["phase"]): (r["state"], r.get("score")) for r in last}
    told = [(row["arm"], row["state"], row["values"]) for row in rows(run_dir, "told")]
    return results, told


def optuna_trials(run_dir):
    import optuna
    from optuna.storages.journal import JournalFileBackend

    storage = optuna.storages.JournalStorage(JournalFileBackend(str(run_dir / "optuna.journal")))
    return optuna.load_study(study_name=run_dir.name, storage=storage).get_trials()


def test_the_budget_is_spent_on_configurations_then_on_confirming_the_best(write_search, go):
    outcome = go(write_search())
    folder = outcome.run_dir
    assert (outcome.complete, outcome.total, outcome.ok) == (5 * 2 + 3 * 3, 19, True)
    proposed = {row["arm"]: row["values"]["optimiser.lr"] for row in rows(folder, "configuration")}
    assert list(proposed) == ["c000", "c001", "c002", "c003", "c004"]
    best = sorted(proposed, key=lambda arm: -proposed[arm])[:2]  # the fake trainer's success grows with lr
    (selection,) = rows(folder, "selection")
    assert [top["arm"] for top in selection["top"]] == best
    history = ledger.fold(ledger.read(folder))
    study = history.study
    assert study["arms"] == ["reference", *best]
    assert study["seeds"] == [1000, 1001, 1002]
    assert study["reference"] == "reference"
    confirm = [row for row in history.trials.values() if row["phase"] == "confirm"]
    assert {(row["arm"], row["seed"]) for row in confirm} == {(a, s) for a in study["arms"] for s in study["seeds"]}
    assert {row["seed"] for row in history.trials.values() if row["phase"] == "search"} == {0, 1}
    for row in rows(folder, "told"):
        assert row["values"] == [pytest.approx(0.1 + 40 * proposed[row["arm"]] + 0.0005)]
    stored = {t.user_attrs["arm"]: t.value for t in optuna_trials(folder)}
    assert stored == {row["arm"]: row["values"][0] for row in rows(folder, "told")}


def test_a_configuration_with_a_failed_seed_is_not_averaged_over_the_rest(write_search, go, monkeypatch):
    real = fake_training.train

    def train(config, directory, report, resume=False):
        if config.seed == 1 and config.optimiser.lr > 0.01:
            raise RuntimeError("seed 1 hates large steps")
        return real(config, directory, report, resume=resume)

    monkeypatch.setattr(fake_training, "train", train)
    outcome = go(write_search())
    told = {row["arm"]: row for row in rows(outcome.run_dir, "told")}
    large = {r["arm"] for r in rows(outcome.run_dir, "configuration") if r["values"]["optimiser.lr"] > 0.01}
    assert 0 < len(large) < 5
    assert {arm for arm, row in told.items() if row["state"] == "FAIL" and row["values"] is None} == large
    assert not large & set(ledger.fold(ledger.read(outcome.run_dir)).study["arms"])
    assert {t.user_attrs["arm"] for t in optuna_trials(outcome.run_dir) if t.state.name == "FAIL"} == large
    assert outcome.failed == len(large)


def test_a_search_in_which_nothing_completes_ends_without_a_confirmation(write_search, go):
    outcome = go(write_search(base={"steps": 40, "evaluation.every": 10, "env.kwargs": {"fault": "diverge"}}))
    assert (outcome.complete, outcome.failed, outcome.total, outcome.ok) == (0, 10, 10, False)


TPE = {"kind": "tpe", "startup": 2}
MOMENTS = [(TPE, 9), ({"kind": "random"}, 1), ({"kind": "grid"}, 13)]
MORE = [(sampler, after) for sampler in (TPE, {"kind": "qmc"}) for after in (1, 2, 4, 6, 10, 11, 14, 18)]


@pytest.mark.parametrize(
    ("sampler", "stop_after"), [*MOMENTS, *(pytest.param(*case, marks=pytest.mark.slow) for case in MORE)]
)
def test_a_search_killed_anywhere_ends_as_if_undisturbed(write_search, go, monkeypatch, sampler, stop_after):
    parameters = {"optimiser.lr": {"float": [0.001, 0.021], "step": 0.002}} if sampler["kind"] == "grid" else LR
    path = write_search(sampler=sampler, parameters=parameters)
    whole = go(path, name="whole").run_dir

    class Killed(BaseException):
        pass

    appended = ledger.Ledger.append
    count = 0

    def append(self, row):
        nonlocal count
        appended(self, row)
        count += row.get("state") in ("COMPLETE", "RUNNING")
        if count == 2 * stop_after:
            raise Killed

    monkeypatch.setattr(ledger.Ledger, "append", append)
    with pytest.raises(Killed):
        go(path)
    monkeypatch.setattr(ledger.Ledger, "append", appended)
    folder = whole.parent / "tiny"
    before = {row["trial"] for row in rows(folder, "trial") if row["state"] == "COMPLETE"}
    outcome = resume_run(folder, backend="local", trainer=FAKE)
    assert outcome.ok
    assert essence(folder) == essence(whole)
    complete = [row["trial"] for row in rows(folder, "trial") if row["state"] == "COMPLETE"]
    assert len(complete) == len(set(complete))  # none ran twice
    assert before <= set(complete)
    assert [(t.user_attrs["arm"], t.values, t.params) for t in optuna_trials(folder)] == [
        (t.user_attrs["arm"], t.values, t.params) for t in optuna_trials(whole)
    ]
    rerun = resume_run(folder, backend="local", trainer=FAKE)  # nothing left to do
    assert (rerun.complete, len(rows(folder, "trial"))) == (outcome.complete, len(rows(folder, "trial")))


@pytest.mark.parametrize("finished", [True, False])
def test_a_search_resumed_at_another_revision_keeps_its_selection(write_search, go, monkeypatch, finished):
    path = write_search()

    class Killed(BaseException):
        pass

    appended = ledger.Ledger.append

    def append(self, row):
        appended(self, row)
        if row.get("phase") == "confirm":
            raise Killed

    with monkeypatch.context() as patch, contextlib.suppress(Killed):
        if not finished:
            patch.setattr(ledger.Ledger, "append", append)
        go(path)
    folder = path.parent / "runs" / "tiny"
    before = ledger.fold(ledger.read(folder)).study
    monkeypatch.setattr(session.provenance, "git_revision", lambda: "another")
    assert resume_run(folder, backend="local", trainer=FAKE).ok
    after = ledger.fold(ledger.read(folder)).study
    assert (after["git"], len(after["arms"])) == ("another", 3)
    assert (after["arms"], after["seeds"]) == (before["arms"], before["seeds"])
    assert set(load(folder).arms) == set(before["arms"])


def test_a_finished_search_tells_what_early_stopping_would_have_cost(write_search, go):
    outcome = go(write_search())
    trials, metric = recorded(outcome.run_dir)
    assert {(t.configuration, t.seed) for t in trials} == {(f"c{i:03d}", seed) for i in range(5) for seed in (0, 1)}
    for rule in RULES.values():
        found = regret(trials, rule, metric, orders=5)
        assert (found.dropped_best, found.loss) == (0.0, 0.0)  # success grows in a straight line: the best leads early


def test_the_optuna_file_is_rebuilt_from_the_ledger(write_search, go):
    folder = go(write_search()).run_dir
    before = [(t.user_attrs["arm"], t.values) for t in optuna_trials(folder)]
    (folder / "optuna.journal").write_text("torn {")
    resume_run(folder, backend="local", trainer=FAKE)
    assert [(t.user_attrs["arm"], t.values) for t in optuna_trials(folder)] == before


def test_extension_adds_configurations_and_changes_are_refused(write_search, go):
    folder = go(write_search()).run_dir
    first = [row["configuration"] for row in rows(folder, "configuration")]
    path = write_search(parameters={"optimiser.lr": {"float": [0.001, 0.03]}})
    for options in ({"resume": True}, {"extend": True}):
        with pytest.raises(UserError, match=r"parameters.optimiser.lr.float: \[0.001, 0.02\] → \[0.001, 0.03\]"):
            go(path, **options)
    path = write_search()
    with pytest.raises(UserError, match=r"budget.configurations: 5 → 8.*--extend"):
        go(path, configurations=8, resume=True)
    outcome = go(path, configurations=8, extend=True)
    proposed = rows(folder, "configuration")
    assert [row["configuration"] for row in proposed][:5] == first
    assert len({row["configuration"] for row in proposed}) == 8
    best = sorted(proposed, key=lambda row: -row["values"]["optimiser.lr"])[:2]
    assert ledger.fold(ledger.read(folder)).study["arms"] == ["reference", *[row["arm"] for row in best]]
    assert outcome.ok
    with pytest.raises(UserError, match=r"budget.configurations: 8 → 5"):
        go(path, extend=True)
    assert resume_run(folder, backend="local", trainer=FAKE).ok


def test_a_setting_of_the_environment_can_be_searched(write_search, go):
    outcome = go(write_search(parameters=LR | {"env.kwargs.style": {"choice": ["terse", "natural"]}}))
    assert outcome.failed == 0
    tried = rows(outcome.run_dir, "configuration")
    assert {row["params"]["env.kwargs.style"] for row in tried} == {"terse", "natural"}


def test_overrides_change_the_base_and_never_a_parameter(write_search, go):
    path = write_search()
    folder = go(path, overrides={"steps": 20}).run_dir
    assert {row["values"][0] < 0.1 + 20 * 0.02 + 0.01 for row in rows(folder, "told")} == {True}
    assert yaml.safe_load((folder / "search.yaml").read_text())["base"]["steps"] == 20
    assert resume_run(folder, backend="local", trainer=FAKE).ok
    with pytest.raises(UserError, match="steps: 20 → 40"):
        go(path, resume=True)
    with pytest.raises(UserError, match=r"'optimiser\.lr' is a parameter of the space"):
        go(path, overrides={"optimiser": {"lr": 0.1}}, name="other")


def test_twins_are_run_once_and_a_small_space_ends_the_search(write_search, go):
    outcome = go(write_search(parameters={"optimiser.lr": {"choice": [0.005, 0.01, 0.02]}}, sampler={"kind": "tpe"}))
    proposed = rows(outcome.run_dir, "configuration")
    assert sorted(row["values"]["optimiser.lr"] for row in proposed) == [0.005, 0.01, 0.02]
    # 0.01 is the base config itself: it is confirmed as the reference, not as one of the best
    assert len(ledger.fold(ledger.read(outcome.run_dir)).study["arms"]) == 3
    assert outcome.total == outcome.complete == 3 * 2 + 3 * 3


def test_max_trials_leaves_room_for_the_confirmation(write_search, go):
    outcome = go(write_search(), max_trials=14)
    assert outcome.complete == 2 * 2 + 9
    with pytest.raises(UserError, match="--max-trials 10: the confirmation alone takes 9 trials"):
        go(write_search(), max_trials=10, overwrite=True)


def test_time_budget_stops_proposing_and_still_confirms(write_search, go):
    outcome = go(write_search(), time_budget=0.0)
    assert (outcome.total, outcome.complete) == (0, 0)
    slow = {"steps": 20, "evaluation.every": 10, "env.kwargs": {"sleep": 0.05}}
    budget = {**BUDGET, "configurations": 50, "confirm": {"top": 1, "seeds": 2}}
    outcome = go(write_search(base=slow, budget=budget), time_budget=2.0, overwrite=True)
    proposed = len(rows(outcome.run_dir, "configuration"))
    assert 1 <= proposed < 50
    assert outcome.complete == outcome.total == 2 * proposed + 4


def test_two_objectives_choose_from_the_pareto_front():
    scores = {"a": (0.9, -5.0), "b": (0.8, -1.0), "c": (0.7, -4.0), "d": (0.9, -6.0), "e": (0.9, -5.0)}
    # b costs least, a and e score best; c is beaten by b, d by a
    assert layers(scores) == {"a": 0, "b": 0, "e": 0, "c": 1, "d": 1}
    assert layers({"a": (1.0,), "b": (3.0,), "c": (2.0,)}) == {"b": 0, "c": 1, "a": 2}
    assert layers({}) == {}


def test_a_cost_can_be_an_objective(write_search, go):
    second = {"name": "cost/env_steps", "mode": "min"}
    parameters = {**LR, "steps": {"int": [20, 40], "step": 10}}
    outcome = go(write_search(second=second, parameters=parameters, sampler={"kind": "tpe", "startup": 2}))
    for proposed, told in zip(rows(outcome.run_dir, "configuration"), rows(outcome.run_dir, "told"), strict=True):
        assert told["values"][1] == 64.0 * proposed["values"]["steps"]
    values = [t.values for t in optuna_trials(outcome.run_dir)]
    assert all(len(v) == 2 for v in values)


@pytest.mark.parametrize("sampler", [{"kind": "tpe", "startup": 2}, {"kind": "random"}])
def test_two_objectives_give_a_front_also_with_early_stopping(write_search, go, sampler):
    outcome = go(
        write_search(
            second={"name": "cost/env_steps", "mode": "min"},
            parameters={**LR, "steps": {"int": [20, 60], "step": 10}},
            sampler=sampler,
            early_stopping={"kind": "median", "peers": 2, "grace": 0.4},
            budget={**BUDGET, "configurations": 12},
        )
    )
    assert outcome.ok
    told = {row["arm"]: row for row in rows(outcome.run_dir, "told")}
    assert {row["state"] for row in told.values()} == {"COMPLETE", "PRUNED"}
    found = front(ledger.read(outcome.run_dir))
    assert {p.arm for p in found.searched} == {arm for arm, row in told.items() if row["state"] == "COMPLETE"}
    best = {p.arm for p in found.searched if p.on_front}
    for name, row in told.items():
        beaten = [
            b for b in best if told[b]["values"][0] > row["values"][0] and told[b]["values"][1] < row["values"][1]
        ]
        assert not (name in best and beaten)
    arms = ledger.fold(ledger.read(outcome.run_dir)).study["arms"]
    assert {p.arm for p in found.confirmed} == set(arms)
    chosen = [arm for arm in arms if arm != "reference"]
    assert set(chosen) <= best or best <= set(chosen)  # the front comes first
    stored = {t.user_attrs["arm"]: t for t in optuna_trials(outcome.run_dir)}
    assert {arm: t.state.name for arm, t in stored.items()} == {arm: row["state"] for arm, row in told.items()}


def test_a_metric_over_more_evaluations_than_there_are_is_refused(write_search, go):
    with pytest.raises(UserError, match=r"tiny.yaml: metric.last: 6 is more than the 5 evaluations"):
        go(write_search(metric={"last": 6}))


def test_stopped_trials_are_pruned_never_complete(write_search, go):
    stopping = {"kind": "median", "peers": 2, "grace": 0.4}
    budget = {**BUDGET, "configurations": 8}
    outcome = go(write_search(early_stopping=stopping, budget=budget))
    history = ledger.fold(ledger.read(outcome.run_dir))
    search = [row for row in history.trials.values() if row["phase"] == "search"]
    stopped = [row for row in search if row["state"] == "PRUNED"]
    assert 0 < len(stopped) < len(search)
    assert outcome.total == len(search) + 9  # seeds that were not started are not missing
    assert outcome.ok
    for row in stopped:
        assert row["cost"]["env_steps"] < 64 * 40  # it did not reach the end
        assert row["metrics"]["eval/success"] > 0.1
        other = history.trials.get(f"{row['arm']}-s1") if row["seed"] == 0 else None
        assert other is None or other["state"] == "PRUNED"  # the second seed is not started any more
    told = {row["arm"]: row["state"] for row in rows(outcome.run_dir, "told")}
    assert {arm for arm, state in told.items() if state == "PRUNED"} == {row["arm"] for row in stopped}
    assert {t.user_attrs["arm"] for t in optuna_trials(outcome.run_dir) if t.state.name == "PRUNED"} == {
        row["arm"] for row in stopped
    }
    lr = {row["arm"]: row["values"]["optimiser.lr"] for row in rows(outcome.run_dir, "configuration")}
    best = max(lr, key=lambda arm: lr[arm])
    assert told[best] == "COMPLETE"
    assert all(row["state"] == "COMPLETE" for row in history.trials.values() if row["phase"] == "confirm")
    assert statistics.fmean(row["score"] for row in search if row["arm"] == best) > 0.1
