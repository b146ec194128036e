"""A user's own text environment, in a package of its own: by class, by Gymnasium id, in this process and in workers."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from atod_sweep.config.train import Env
from atod_sweep.envs.batch import Batch
from atod_sweep.envs.pool import open_batch
from atod_sweep.envs.registry import make

SOURCE = textwrap.dedent(
    '''
    """Guess a colour; "warm" or "cold" tells whether the first letter is right."""

    import random

    import gymnasium

    COLOURS = ["red", "rose", "blue", "black", "green", "grey"]


    class Colours(gymnasium.Env):
        observation_space = gymnasium.spaces.Text(40)
        action_space = gymnasium.spaces.Text(40)

        def __init__(self, horizon, hint=True):
            self.horizon, self.hint = horizon, hint

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.colour, self.turn = random.Random(seed).choice(COLOURS), 0
            return "guess", {}

        def step(self, action):
            self.turn += 1
            right = action.strip().lower() == self.colour
            warm = self.hint and action[:1] == self.colour[0]
            observation = "yes" if right else "warm" if warm else "cold"
            return observation, float(right), right, self.turn == self.horizon and not right, {}


    class Taught(Colours):
        slow = True

        def demonstrator_action(self):
            return self.colour

        def actions(self):
            return COLOURS


    gymnasium.register("colours/Guess-v0", entry_point="colour_game:Colours")
    '''
)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "colour_game.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize("env_id", ["colour_game:Colours", "colour_game:colours/Guess-v0"])
def test_by_class_and_by_id(package: None, env_id: str) -> None:
    batch = Batch(Env(id=env_id, horizon=3, kwargs={"hint": False}), 2)
    assert not hasattr(make(Env(id=env_id, horizon=3)).unwrapped, "demonstrator_action")
    assert batch.reset([0, 1], "train") == ["guess", "guess"]
    right = batch.envs[0].unwrapped.colour
    first, second = batch.step([right, "purple"])
    assert tuple(first) == ("yes", 1.0, True, False, {"success": 1.0, "metrics": {}})
    assert tuple(second) == ("cold", 0.0, False, False, {})
    assert batch.step([None, "purple"])[1].truncated is False
    assert batch.step([None, "purple"])[1].truncated is True


def test_with_a_demonstrator_in_workers(package: None) -> None:
    batch = open_batch(Env(id="colour_game:Taught", horizon=3), 3, workers=2)
    batch.reset([0, 1, 2], "train")
    steps = batch.step(batch.demonstrator_actions([0, 1, 2]))
    assert [step.info["success"] for step in steps] == [1.0, 1.0, 1.0]
    batch.close()


def test_a_plain_script_can_use_workers(tmp_path: Path) -> None:
    """Nothing is left running, and nothing is printed, when a script ends without closing its batch."""
    (tmp_path / "colour_game.py").write_text(SOURCE)
    (tmp_path / "script.py").write_text(
        textwrap.dedent(
            """
            from atod_sweep.config.train import Env
            from atod_sweep.envs.pool import open_batch

            if __name__ == "__main__":
                batch = open_batch(Env(id="colour_game:Taught", horizon=3), 2, workers=1)
                print(batch.reset([0, 1], "train"))
            """
        )
    )
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "['guess', 'guess']\n", "")
