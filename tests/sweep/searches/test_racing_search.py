"""Racing: who earns the next seed, and a search that spends its trials so, also after it was killed."""

from __future__ import annotations

import math

import fake_training
import optuna
import pytest
import yaml
from fake_training import FAKE
from optuna.storages.journal import JournalFileBackend

from atod_sweep.errors import UserError
from atod_sweep.evidence.analysis.reading import load
from atod_sweep.evidence.analysis.searches import searched
from atod_sweep.evidence.tables.searches import configurations
from atod_sweep.records import ledger
from atod_sweep.sweep.resume import resume_run
from atod_sweep.sweep.searches.racing import earner, ranked
from atod_sweep.sweep.searches.run_search import run_search

pytestmark = pytest.mark.usefixtures("no_mlflow")


# ---- the rule --------------------------------------------------------------------------------------------------------

# Two seeds each with spread sd 0.1/sqrt(2) = 0.0707 per configuration, as pooled. At n = 2 and level 0.9 the interval
# reaches 1.645 * 0.0707 * 1 = 0.1163, at n = 1 it reaches 0.1645.
LEADER = [0.55, 0.45]
EARNERS = {
    "nobody": ({}, None),
    "one alone has nobody to race": ({"a": [0.5]}, None),
    "without any spread two that differ are one standard deviation apart": ({"a": [0.5], "b": [0.1]}, "b"),
    "equal ones may both be best": ({"a": LEADER, "b": LEADER}, "b"),
    "just within reach": ({"a": LEADER, "b": [0.434, 0.334]}, "b"),
    "just out of reach": ({"a": LEADER, "b": [0.433, 0.333]}, None),
    "a first seed is compared with the leader's first": ({"a": LEADER, "b": [0.386]}, "b"),
    "and given up just as well": ({"a": LEADER, "b": [0.385]}, None),
    "those that came first come first": ({"a": LEADER, "b": LEADER, "c": [0.5]}, "b"),
    "the leader keeps up with the longest": ({"a": [0.9], "b": LEADER}, "a"),
    "enough is enough": ({"a": [0.5, 0.6, 0.5], "b": [0.5, 0.6, 0.4]}, None),
}


@pytest.mark.parametrize("case", EARNERS)
def test_a_configuration_earns_its_next_seed_while_it_may_still_be_best(case):
    scores, wanted = EARNERS[case]
    assert earner(scores, most=3, level=0.9) == wanted
    assert wanted is None or earner(scores, most=3, level=0.9, under_way={wanted}) != wanted


def test_a_wider_interval_gives_up_later():
    scores = {"a": LEADER, "b": [0.42, 0.32]}
    assert earner(scores, most=3, level=0.9) is None
    assert earner(scores, most=3, level=0.95) == "b"


def test_nobody_else_moves_up_before_the_leader_it_is_compared_with():
    assert earner({"a": [0.9], "b": LEADER, "c": [0.9]}, most=3, level=0.9, under_way={"a"}) is None


def test_one_lucky_seed_does_not_lead():
    # Spread 0.0707 as above: 0.52 - 0.0707 = 0.449 is behind 0.5 - 0.0707 / sqrt(2) = 0.45.
    assert ranked({"a": [0.52], "b": LEADER}) == ["b", "a"]
    assert ranked({"a": [0.522], "b": LEADER}) == ["a", "b"]
    assert math.isclose(0.5 - 0.1 / 2, 0.45)


# ---- the search ------------------------------------------------------------------------------------------------------

SEARCH = {
    "name": "race",
    "base": {"steps": 40, "evaluation.every": 10, "optimiser.lr": 0.01},
    "parameters": {"optimiser.lr": {"float": [0.001, 0.02]}},
    "sampler": {"kind": "random", "seed": 3},
    "budget": {
        "configurations": 6,
        "seeds": 2,
        "racing": {"max_seeds": 4},
        "confirm": {"top": 2, "seeds": 3, "first_seed": 10},
    },
}
TPE = {"kind": "tpe", "startup": 2}


@pytest.fixture
def go(tmp_path):
    def go(name="race", changes=None, **options):
        return run_search(
            {**SEARCH, **(changes or {}), "name": name}, out=tmp_path, backend="local", trainer=FAKE, **options
        )

    return go


def budget(**changes):
    return {"budget": {**SEARCH["budget"], **changes}}


def rows(run_dir, event):
    return [row for row in ledger.read(run_dir) if row["event"] == event]


def decisions(run_dir):
    """Every decision, in order, without its time."""
    kinds = ("configuration", "told", "earned", "selection")
    kept = [row for row in ledger.read(run_dir) if row["event"] in kinds]
    return [{key: value for key, value in row.items() if key not in ("time", "definition_hash")} for row in kept]


def ran(run_dir):
    """Seeds by configuration, of the search phase."""
    last = ledger.fold(ledger.read(run_dir)).trials.values()
    found = {}
    for row in last:
        if row["phase"] == "search":
            found.setdefault(row["arm"], []).append(row["seed"])
    return found


def test_good_configurations_earn_the_seeds_that_bad_ones_do_not(go):
    outcome = go()
    folder = outcome.run_dir
    assert outcome.ok
    rate = {row["arm"]: row["values"]["optimiser.lr"] for row in rows(folder, "configuration")}
    seeds = ran(folder)
    assert sum(map(len, seeds.values())) <= 6 * 2
    assert all(own == list(range(len(own))) and len(own) <= 4 for own in seeds.values())
    assert len({len(own) for own in seeds.values()}) > 1
    best = sorted(rate, key=lambda arm: -rate[arm])  # the fake trainer's success grows with lr
    assert len(seeds[best[0]]) == max(map(len, seeds.values()))
    (selection,) = rows(folder, "selection")
    assert [top["arm"] for top in selection["top"]] == best[:2]
    told = {row["arm"]: row["values"][0] for row in rows(folder, "told")}
    for arm, own in seeds.items():  # the last row counts: the mean over all its seeds
        assert told[arm] == pytest.approx(0.1 + 40 * rate[arm] + sum(own) / len(own) / 1000)


def test_the_report_says_how_many_seeds_each_has(go):
    folder = go().run_dir
    found, seeds = searched(load(folder)), ran(folder)
    assert found.racing
    assert {c.arm: c.seeds for c in found.configurations} == {arm: len(own) for arm, own in seeds.items()}
    few, most = min(map(len, seeds.values())), max(map(len, seeds.values()))
    assert found.over_seeds == f"{few} to {most} seeds"
    table = configurations(found)
    column = table.header.index("seeds")
    assert [row[column].value for row in table.rows] == [len(seeds[row[0].text]) for row in table.rows]
    assert "raced" in table.caption
    assert found.quote.first == rows(folder, "selection")[0]["top"][0]["arm"]


QUICK = [(8, SEARCH["sampler"]), (22, TPE)]
MORE = [(n, sampler) for n in (*range(1, 20, 3), 8, 22) for sampler in (SEARCH["sampler"], TPE)]


@pytest.mark.parametrize(
    ("stop_after", "sampler"),
    [*QUICK, *(pytest.param(*case, marks=pytest.mark.slow) for case in MORE if case not in QUICK)],
)
def test_a_race_killed_anywhere_ends_as_if_undisturbed(go, monkeypatch, sampler, stop_after):
    whole = go("whole", {"sampler": sampler}).run_dir

    class Killed(BaseException):
        pass

    appended, count = ledger.Ledger.append, 0

    def append(self, row):
        nonlocal count
        appended(self, row)
        count += row["event"] != "study"
        if count == 2 * stop_after:  # after any row: a proposal, a decision, the beginning or the end of a trial
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(ledger.Ledger, "append", append)
        with pytest.raises(Killed):
            go("race", {"sampler": sampler})
    folder = whole.parent / "race"
    outcome = resume_run(folder, backend="local", trainer=FAKE)
    assert outcome.ok
    assert decisions(folder) == decisions(whole)
    assert ran(folder) == ran(whole)
    complete = [row["trial"] for row in rows(folder, "trial") if row["state"] == "COMPLETE"]
    assert len(complete) == len(set(complete))  # none ran twice
    before = len(rows(folder, "trial"))
    resume_run(folder, backend="local", trainer=FAKE)
    assert len(rows(folder, "trial")) == before


@pytest.mark.parametrize("trials", [1, 5, 11])
def test_the_race_keeps_within_its_trials(go, trials):
    folder = go("small", max_trials=9 + max(trials, 2)).run_dir
    assert sum(map(len, ran(folder).values())) <= max(trials, 2)


def test_what_fails_is_out_of_the_race(go, monkeypatch):
    real = fake_training.train

    def train(config, directory, report, resume=False):
        if config.seed == 1 and config.optimiser.lr > 0.015:
            raise RuntimeError("seed 1 hates large steps")
        return real(config, directory, report, resume=resume)

    monkeypatch.setattr(fake_training, "train", train)
    folder = go("failing", budget(min_complete=0.0)).run_dir
    rate = {row["arm"]: row["values"]["optimiser.lr"] for row in rows(folder, "configuration")}
    told = {row["arm"]: row["state"] for row in rows(folder, "told")}
    seeds = ran(folder)
    failed = {arm for arm in rate if rate[arm] > 0.015 and len(seeds[arm]) > 1}
    assert failed
    assert {arm for arm, state in told.items() if state == "FAIL"} == failed
    assert all(len(seeds[arm]) == 2 for arm in failed)
    assert not failed & {top["arm"] for top in rows(folder, "selection")[0]["top"]}


def test_more_configurations_go_on_with_the_race(go):
    folder = go().run_dir
    first = [row["configuration"] for row in rows(folder, "configuration")]
    spent = sum(map(len, ran(folder).values()))
    outcome = go(configurations=9, extend=True)
    assert outcome.ok
    assert [row["configuration"] for row in rows(folder, "configuration")][: len(first)] == first
    assert spent < sum(map(len, ran(folder).values())) <= 18


def test_the_copy_for_optuna_has_every_configuration_once(go):
    folder = go().run_dir
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(folder / "optuna.journal")))
    stored = {t.user_attrs["arm"]: t.values for t in optuna.load_study(study_name="race", storage=storage).get_trials()}
    assert stored == {row["arm"]: row["values"] for row in rows(folder, "told")}


REFUSED = {
    "a second objective": (
        {"second": {"name": "cost/env_steps", "mode": "min"}},
        "budget.racing: is decided by one objective, and second is 'cost/env_steps'",
    ),
    "early stopping": (
        {"early_stopping": {"kind": "median"}},
        "budget.racing: compares whole trials, and early_stopping.kind: 'median' ends some",
    ),
    "fewer seeds than the mean": (
        budget(seeds=3, racing={"max_seeds": 2}),
        r"budget.racing.max_seeds: 2 is below the mean, budget.seeds \(3\); use 7",
    ),
    "a confirmation on seeds of the race": (
        budget(confirm={"top": 2, "seeds": 3, "first_seed": 3}),
        r"first_seed: 3 is one of the search's own seeds \(0 .. 3\); use 1000",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_go_with_racing_is_refused(go, case):
    changes, message = REFUSED[case]
    with pytest.raises(UserError, match=message):
        go(changes=changes)


def test_a_search_without_racing_is_the_search_that_it_was(tmp_path):
    plain = {**SEARCH, "budget": {"configurations": 2, "seeds": 1, "confirm": {"top": 1, "seeds": 2}}}
    explicit = {**plain, "budget": {**plain["budget"], "racing": None}}
    folders = [
        run_search({**one, "name": name}, out=tmp_path, backend="local", trainer=FAKE).run_dir
        for name, one in (("plain", plain), ("explicit", explicit))
    ]
    hashes = {ledger.fold(ledger.read(folder)).study["definition_hash"] for folder in folders}
    assert len(hashes) == 1
    assert "racing" not in yaml.safe_load((folders[0] / "search.yaml").read_text())["budget"]
    assert not rows(folders[0], "earned")
