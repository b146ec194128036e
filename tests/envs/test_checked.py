"""Whatever an environment answers is what the contract says, or one line that quotes it."""

from __future__ import annotations

import pytest
from odd_env import BROKEN, TAKEN

from atod_sweep.config.train import Env
from atod_sweep.envs.batch import Batch
from atod_sweep.envs.checked import Checked
from atod_sweep.envs.failures import EnvironmentFailed
from atod_sweep.envs.pool import Pool
from atod_sweep.errors import Stopped, UserError


def odd(name: str = "Base", **kwargs: str) -> Env:
    return Env(id=f"odd_env:{name}", horizon=3, kwargs=kwargs)


def episode(game: Batch | Pool) -> list[tuple]:
    game.reset([0], "train")
    return [tuple(game.step(["look"])[0]) for _ in range(3)]


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_no_answer_is_quoted_in_one_line(case: str) -> None:
    with pytest.raises(EnvironmentFailed) as caught:
        episode(Batch(odd(case=case), 1))
    said = str(caught.value)
    assert said.startswith("env.id: 'odd_env:Base', task seed 0")
    assert BROKEN[case][1] in said
    assert "\n" not in said
    assert len(said) < 400
    said.encode()
    assert caught.value.status == "environment_failed"


@pytest.fixture(scope="module")
def pool_of():
    """A worker that plays one case after another is too much to ask: one process per case, started by need."""
    pools: list[Pool] = []

    def start(case: str) -> Pool:
        pools.append(Pool(odd(case=case), 1, 1))
        return pools[-1]

    yield start
    for pool in pools:
        pool.close()


@pytest.mark.parametrize("case", ["dict observation", "old step", "half a character", "metric word", "exits"])
def test_and_in_workers_alike(pool_of, case: str) -> None:
    with pytest.raises(EnvironmentFailed) as caught:
        episode(pool_of(case))
    assert BROKEN[case][1] in str(caught.value)
    if case == "exits":
        assert "SystemExit: 0" in "".join(caught.value.__notes__)


@pytest.mark.parametrize("case", TAKEN)
def test_what_is_meant_is_understood(case: str) -> None:
    *before, last = episode(Batch(odd(case=case), 1))
    observation, reward, info = TAKEN[case][1]
    assert last == (observation, reward, False, True, info)
    assert [step[2:4] for step in before] == [(False, False)] * 2
    for step in (*before, last):
        assert [type(part) for part in step] == [str, float, bool, bool, dict]
    assert {type(value) for value in [last[4]["success"], *last[4]["metrics"].values()]} == {float}


def test_of_info_success_and_metrics_reach_the_driver(pool_of) -> None:
    assert [step[4] for step in episode(pool_of("an error of its own"))] == [{}, {}, {"success": 1.0, "metrics": {}}]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (odd("NoSeed"), r"reset\(\) takes no argument 'seed'; expected reset\(self, \*, seed=None, options=None\)"),
        (odd("NoOptions"), r"reset\(\) takes no argument 'options'; expected reset\("),
        (odd("OnlyByPlace"), r"reset\(\) takes no argument 'seed'"),
        (odd("Needy"), r"its constructor raised TypeError: .*missing 1 required positional argument: 'path'"),
        (odd("Unbuilt"), r"its constructor raised SystemExit: no display \(odd_env.py:\d+\)"),
        (odd("Stepless"), r"builds .*Stepless object.* \(Stepless\), which has no step\(\); expected a gymnasium.Env"),
        (odd("nothing"), r"builds None \(NoneType\), which has no reset\(\); expected a gymnasium.Env"),
    ],
)
def test_what_is_no_environment_is_told_before_the_first_task(config: Env, message: str) -> None:
    with pytest.raises(EnvironmentFailed, match=f"^env.id: {config.id!r}: {message}"):
        Checked(config)


@pytest.mark.parametrize("name", ["AnyWords", "Duck"])
def test_other_ways_to_write_one(name: str) -> None:
    assert episode(Batch(odd(name), 1))[2] == ("more", 0.1, False, True, {"success": 1.0, "metrics": {}})


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("word", r"actions\(\) returned 'open' \(str\); expected a list of texts"),
        ("nothing", r"actions\(\) returned None \(NoneType\); expected a list of texts"),
        ("numbers", r"actions\(\) returned the text 1 \(int\); expected text"),
        ("none", r"actions\(\) returned none; expected at least one legal action"),
        ("no words", r"vocabulary\(\) returned none; expected the words of the environment"),
        ("bytes", r"vocabulary\(\) returned the text b'open' \(bytes\); expected text"),
        ("undecided", r"demonstrator_action\(\) returned the action None \(NoneType\); expected text"),
        ("cut", r"demonstrator_action\(\) returned the action '\\ud83d', in which"),
    ],
)
def test_the_optional_methods_are_checked_too(method: str, message: str) -> None:
    game = Checked(odd("Helpful", method=method))
    with pytest.raises(EnvironmentFailed, match=message):
        (game.actions(), game.vocabulary(), game.demonstrator_action())


def test_a_vocabulary_may_be_any_series_of_texts() -> None:
    assert Checked(odd("Helpful", method="generator")).vocabulary() == ["open"]


@pytest.mark.parametrize("error", [UserError("renew the key"), KeyboardInterrupt(), MemoryError(), Stopped()])
def test_what_is_not_the_environments_doing_passes(monkeypatch, error: BaseException) -> None:
    game = Checked(odd())

    def step(action: str) -> None:
        raise error

    monkeypatch.setattr(game, "_step", step)
    game.reset(0, "train")
    with pytest.raises(type(error)) as caught:
        game.step("look")
    assert caught.value is error


@pytest.mark.parametrize(
    ("told", "metrics"),
    [
        (2, {"violations": 2.0, "restraint": 0.0}),
        (0.0, {"violations": 0.0, "restraint": 1.0}),
        ({"limit": 1, "identity": 2}, {"violations": 3.0, "restraint": 0.0, "violations_limit": 1.0}),
        ({}, {"violations": 0.0, "restraint": 1.0}),
        (-1, "none below 0"),
        ({"limit": -1, "identity": 2}, "none below 0"),
        ("many", "expected a finite number"),
        ({"limit": None}, "expected a finite number"),
    ],
)
def test_broken_rules_are_metrics(told: object, metrics: dict[str, float] | str) -> None:
    game = Checked(odd())
    if isinstance(metrics, str):
        with pytest.raises(EnvironmentFailed, match=metrics):
            game._outcome({"violations": told}, 1.0)
    else:
        assert metrics.items() <= game._outcome({"violations": told}, 1.0)["metrics"].items()


def test_whether_success_is_reported_is_known() -> None:
    for case, reported in (("as it should be", False), ("not solved", True), ("half solved", True)):
        batch = Batch(odd(case=case), 1)
        episode(batch)
        assert batch.envs[0].reports_success is reported
