"""What every native family must do, whatever its rules."""

import random
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import pytest
from env_answers import check_answers
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

from atod_sweep.config.train import Env
from atod_sweep.envs.contract import EVAL_SEEDS
from atod_sweep.envs.families.planner import next_action
from atod_sweep.envs.registry import make
from atod_sweep.errors import UserError


def repaired(env: Any) -> str:
    if env._failure is None or env._prompt == env.wording.edited:
        return "run"
    return env._task.intended[env._failure.line].op


def planned(env: Any) -> str:
    recipes = [env._recipe(order) for order in env._task.orders[env._delivered :]]
    return next_action(recipes, env._tool, env._energy, frozenset(env._held))


# Family -> (horizons to try, the right action in the current state: the oracle knows what the reward knows).
ORACLES: dict[str, tuple[list[int], Callable[[Any], str]]] = {
    "support_desk": ([4, 8, 16], lambda env: env._required[env._done]),
    "code_debug": ([4, 8, 24], repaired),
    "planner": ([8, 16, 40], planned),
    "tool_use": ([4, 8, 16], lambda env: " ".join(env._right_call())),
}
STYLES = ("compact", "natural")
CASES = [(family, horizon, style) for family, (hs, _) in ORACLES.items() for horizon in hs for style in STYLES]
FAMILY_STYLES = [(family, style) for family in ORACLES for style in STYLES]


def family_env(family: str, style: str = "compact", horizon: int | None = None) -> Any:
    return make(Env(id=family, horizon=horizon or ORACLES[family][0][1], kwargs={"style": style}))


def play(env: Any, choose: Callable[[Any], str], seed: int, split: str = "train") -> Iterator[tuple]:
    observation, info = env.reset(seed=seed, options={"split": split})
    yield observation, info
    over = False
    while not over:
        result = env.step(choose(env))
        over = result[2] or result[3]
        yield result


@pytest.mark.parametrize(("family", "style"), FAMILY_STYLES)
def test_gymnasium_checker(family: str, style: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*(render|spec).*")  # text has nothing to render, no id to remake
        check_env(family_env(family, style), skip_render_check=True)


@pytest.mark.parametrize("family", ORACLES)
def test_optional_methods_are_all_there(family: str) -> None:
    env = family_env(family)
    for name in ("actions", "card", "demonstrator_action", "vocabulary"):
        assert hasattr(env, name)
    card = env.card()
    for heading in (f"# {family}", "**Rules.**", "**Reward.**", "**Demonstrator.**", "**Limits.**"):
        assert heading in card


@pytest.mark.parametrize(("family", "horizon", "style"), CASES)
def test_oracle_always_succeeds(family: str, horizon: int, style: str) -> None:
    env = family_env(family, style, horizon)
    for seed in range(100):
        for split in ("train", "eval"):
            *_, (_, reward, terminated, truncated, info) = play(env, ORACLES[family][1], seed, split)
            assert (reward, terminated, truncated, info["success"]) == (1.0, True, False, 1.0), (seed, split)


@pytest.mark.parametrize("family", ORACLES)
def test_splits_share_no_task(family: str) -> None:
    for horizon in ORACLES[family][0]:
        env = family_env(family, horizon=horizon)
        train = {repr(env.reset(seed=seed, options={"split": "train"})[1]["task"]) for seed in range(500)}
        held_out = {repr(env.reset(seed=seed, options={"split": "eval"})[1]["task"]) for seed in range(500)}
        assert not train & held_out
        assert len(held_out) > 100


@pytest.mark.parametrize("family", ORACLES)
def test_seed_range_decides_the_split_unless_told(family: str) -> None:
    env = family_env(family)
    seed = EVAL_SEEDS.start + 7
    assert env.reset(seed=seed) == env.reset(seed=seed, options={"split": "eval"})
    assert env.reset(seed=seed) != env.reset(seed=seed, options={"split": "train"})
    with pytest.raises(UserError, match="'test'"):
        env.reset(seed=0, options={"split": "test"})


@pytest.mark.parametrize(("family", "style"), FAMILY_STYLES)
def test_same_seed_same_episode(family: str, style: str) -> None:
    for seed in range(20):
        runs = []
        for env in (family_env(family, style), family_env(family, style)):
            rng = random.Random(seed)
            env.reset(seed=99)  # an episode left half-way leaves no trace
            env.step(env.demonstrator_action())
            runs.append(list(play(env, lambda env, rng=rng: rng.choice(env.actions()), seed)))
        assert runs[0] == runs[1]


@pytest.mark.parametrize(("family", "horizon", "style"), CASES)
def test_perturbed_play_stays_inside_vocabulary_and_actions(family: str, horizon: int, style: str) -> None:
    env = family_env(family, style, horizon)
    vocabulary, actions, rng = set(env.vocabulary()), set(env.actions()), random.Random(0)
    assert all(set(action.split()) <= vocabulary for action in actions)

    def perturbed(env: Any) -> str:
        wanted = env.demonstrator_action()
        assert wanted in actions
        return rng.choice(env.actions()) if rng.random() < 0.3 else wanted

    for seed in range(60):
        turns = list(play(env, perturbed, seed))
        assert len(turns) <= horizon + 1
        for observation, *_ in turns:
            assert set(observation.split()) <= vocabulary
            assert observation == " ".join(observation.split())


@pytest.mark.parametrize(("family", "style"), FAMILY_STYLES)
@settings(max_examples=25, deadline=None)
@given(texts=st.lists(st.text(st.characters(), max_size=300), min_size=1, max_size=16))
def test_any_text_is_answered(family: str, style: str, texts: list[str]) -> None:
    check_answers(family_env(family, style), texts)


@pytest.mark.parametrize("family", ORACLES)
@pytest.mark.parametrize(
    "text", ["", " ", "\x00\x1b[31m\x7f\u202e", "a" * 100_000, "verify " * 20_000, "\ud800", "{0}%s{code}", "(" * 150]
)
def test_hostile_text_is_answered(family: str, text: str) -> None:
    check_answers(family_env(family), [text] * 5)


@pytest.mark.parametrize("family", ORACLES)
def test_stepping_outside_an_episode_is_an_error(family: str) -> None:
    env = family_env(family)
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step("")
    *_, last = play(env, ORACLES[family][1], 0)
    assert last[2]
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step("")


@pytest.mark.parametrize("family", ORACLES)
def test_twenty_thousand_steps_a_second(family: str) -> None:
    """CPU time, best of five short runs: a loaded machine must not fail it."""
    env = family_env(family)
    best = 0.0
    for start in range(5):
        began, steps = time.process_time(), 0
        for seed in range(start * 100, start * 100 + 100):
            steps += sum(1 for _ in play(env, lambda env: env.demonstrator_action(), seed)) - 1
        best = max(best, steps / (time.process_time() - began))
    assert best >= 20_000
