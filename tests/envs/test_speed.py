"""The speed measurement counts what was played."""

import gymnasium
import pytest

from atod_sweep.config.train import Env
from atod_sweep.envs.speed import measure
from atod_sweep.errors import UserError


class Bare(gymnasium.Env[str, str]):
    """No optional method at all."""


def test_whole_episodes_are_counted() -> None:
    speed = measure(Env(id="planner", horizon=8, kwargs={"outdated": 0.0}), seconds=0.02)
    assert speed.success == 1.0
    assert speed.episodes <= speed.steps <= 7 * speed.episodes
    assert speed.seconds >= 0.02
    assert speed.steps_per_second == speed.steps / speed.seconds
    assert measure(Env(id="planner", horizon=8), "random", seconds=0.0).episodes == 1


@pytest.mark.parametrize(("player", "method"), [("demonstrator", "demonstrator_action"), ("random", "actions")])
def test_a_missing_method_is_named(player, method: str) -> None:
    with pytest.raises(UserError, match=rf"Bare' has no {method}\(\)"):
        measure(Env(id=f"{__name__}:Bare"), player)
