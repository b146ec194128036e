"""Making environments by family, module:Class and Gymnasium id."""

import subprocess
import sys

import gymnasium
import pytest

from atod_sweep.config.train import Env
from atod_sweep.envs import registry as envs
from atod_sweep.errors import UserError


class Echo(gymnasium.Env[str, str]):
    """A user's environment: no horizon argument, no end of its own, no success in info."""

    observation_space = gymnasium.spaces.Text(20)
    action_space = gymnasium.spaces.Text(20)

    def __init__(self, word: str = "hello") -> None:
        self.word = word

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.word, {}

    def step(self, action):
        right = action == self.word
        return "yes" if right else "no", float(right), right, False, {}


class Long(Echo):
    """The same with a horizon of its own."""

    def __init__(self, horizon: int) -> None:
        super().__init__()
        self.horizon = horizon


gymnasium.register("atod-test/Echo-v0", entry_point=Echo)
gymnasium.register("atod-test/Long-v0", entry_point=f"{__name__}:Long")


def test_every_family_can_be_made() -> None:
    for family in envs.FAMILIES.values():
        module, _, name = family.partition(":")
        assert module.startswith("atod_sweep.envs.")
        assert name.isidentifier()
    assert envs.make(Env(id="support_desk", horizon=6)).unwrapped.horizon == 6
    assert "support_desk" in envs.names()


@pytest.mark.parametrize("env_id", [f"{__name__}:Echo", "atod-test/Echo-v0", f"{__name__}:atod-test/Echo-v0"])
def test_a_users_environment_gets_the_turn_limit(env_id: str) -> None:
    env = envs.make(Env(id=env_id, horizon=3, kwargs={"word": "hi"}))
    assert env.reset(seed=1)[0] == "hi"
    assert [env.step("x")[3] for _ in range(3)] == [False, False, True]


@pytest.mark.parametrize("env_id", [f"{__name__}:Long", "atod-test/Long-v0"])
def test_a_constructor_with_a_horizon_gets_it_and_no_limit(env_id: str) -> None:
    env = envs.make(Env(id=env_id, horizon=3))
    env.reset(seed=1)
    assert env.unwrapped.horizon == 3
    assert not any(env.step("x")[3] for _ in range(5))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (Env(id="suport_desk"), r"'suport_desk'; did you mean 'support_desk'\?"),
        (Env(id="qqqqqq"), r"'qqqqqq'; shipped: .*support_desk"),
        (Env(id="no_such_module:Thing"), "'no_such_module'"),
        (Env(id="no_such_module:Thing-v0"), "'no_such_module'"),
        (Env(id=f"{__name__}:Nothing-v0"), "Nothing-v0'; shipped: "),
        (Env(id=f"{__name__}:Ecko"), r"no 'Ecko' \(.*test_registry.py\); did you mean 'Echo'\?"),
        (Env(id="support_desk", kwargs={"outdatd": 0.1}), r"'outdatd'; did you mean 'outdated'\?"),
        (Env(id="support_desk", kwargs={"horizon": 6}), "set env.horizon instead, got 6"),
        (Env(id=f"{__name__}:Echo", kwargs={"qqq": 1}), "'qqq'; it takes: word"),
    ],
)
def test_mistakes_are_named_in_one_line(config: Env, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        envs.make(config)
    assert "\n" not in str(caught.value)


def test_listing_names_imports_no_environment() -> None:
    code = "import sys; from atod_sweep.envs import registry; registry.names(); print('gymnasium' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
