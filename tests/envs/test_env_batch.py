"""Batches: slots, finished slots, filled-in info."""

import gymnasium
import pytest

from atod_sweep.config.train import Env
from atod_sweep.envs.batch import Batch
from atod_sweep.envs.registry import make


class Guess(gymnasium.Env[str, str]):
    """Ends at once; tells nothing in info."""

    def __init__(self, horizon: int) -> None: ...

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return "guess", {}

    def step(self, action):
        return "end", 2.5 if action == "right" else -1.0, True, False, {"extra": 7}


def test_slots_play_as_single_environments_do() -> None:
    config = Env(id="support_desk", horizon=6)
    batch = Batch(config, 4)
    seeds = [11, 3, 11]
    singles = [make(config) for _ in seeds]
    first = [env.reset(seed=seed, options={"split": "eval"})[0] for env, seed in zip(singles, seeds, strict=True)]
    assert batch.reset(seeds, "eval") == first
    actions = [env.demonstrator_action() for env in singles]
    steps = batch.step([actions[0], None, "nonsense"])
    assert steps[1] is None
    assert tuple(steps[0]) == singles[0].step(actions[0])
    assert tuple(steps[2]) == singles[2].step("nonsense")
    batch.close()


@pytest.mark.parametrize(("action", "success"), [("right", 1.0), ("wrong", 0.0)])
def test_success_is_a_positive_last_reward_where_the_environment_is_silent(action: str, success: float) -> None:
    batch = Batch(Env(id=f"{__name__}:Guess"), 1)
    assert batch.reset([0], "train") == ["guess"]
    (step,) = batch.step([action])
    assert step.info == {"success": success, "metrics": {}, "extra": 7}
