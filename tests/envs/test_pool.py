"""Worker processes: same episodes as in this process, crashes and hangs marked, everyone else unharmed."""

import os
import time
import traceback

import gymnasium
import pytest

from atod_sweep.config.train import Env
from atod_sweep.envs.batch import Batch
from atod_sweep.envs.failures import EnvironmentFailed
from atod_sweep.envs.pool import LOST, Pool, open_batch
from atod_sweep.errors import UserError


class Counter(gymnasium.Env[str, str]):
    """Counts its turns; does what it is told."""

    def __init__(self, horizon: int) -> None:
        self.horizon = horizon

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seed, self.turns, self.said = seed, 0, []
        if seed == 666:
            os._exit(3)
        return f"{options['split']} {seed}", {}

    def step(self, action):
        if action == "crash":
            os._exit(3)
        if action == "hang":
            time.sleep(60)
        if action == "raise":
            raise ZeroDivisionError("in the environment")
        if action == "slow":
            time.sleep(0.3)
        self.turns += 1
        self.said.append(action)
        over = self.turns == self.horizon
        return f"{self.seed} {' '.join(self.said)}", 0.0, False, over, {"pid": os.getpid(), "game": lambda: self}

    def demonstrator_action(self):
        return f"turn {self.turns}"


class Slow(Counter):
    """The same, by its own word."""

    slow = True


COUNTER = Env(id=f"{__name__}:Counter", horizon=5)
MARKED = {"success": 0.0, "metrics": {}}


@pytest.fixture(scope="module")
def pool():
    """Three slots on two workers: 0 and 2 share one."""
    pool = Pool(COUNTER, 3, 2, timeout=2.0)
    yield pool
    pool.close()


def pids(pool: Pool) -> list[int | None]:
    """The process behind each slot."""
    return [pool._worker(slot).process.pid for slot in range(pool.size)]


@pytest.mark.parametrize("workers", [1, 2])
def test_episodes_do_not_depend_on_the_number_of_workers(workers: int) -> None:
    config = Env(id="support_desk", horizon=5)
    seeds, actions = [4, 5, 6], ["greet", None, "nonsense"]
    serial = Batch(config, 3)
    parallel = Pool(config, 3, workers)
    assert parallel.reset(seeds, "eval") == serial.reset(seeds, "eval")
    for _ in range(5):
        assert parallel.demonstrator_actions([2, 0]) == serial.demonstrator_actions([2, 0])
        assert parallel.step(actions) == serial.step(actions)
    parallel.close()


@pytest.mark.parametrize(("action", "why"), [("crash", "crash"), ("hang", "timeout")])
def test_a_lost_episode_is_marked_and_its_neighbours_go_on(pool: Pool, action: str, why: str) -> None:
    assert pool.reset([1, 2, 3], "train") == ["train 1", "train 2", "train 3"]
    pool.step(["a", "b", "c"])
    before = pids(pool)
    assert before[0] == before[2] != before[1]
    lost, other, neighbour = pool.step([action, "bb", "cc"])
    assert lost == ("", 0.0, False, True, {**MARKED, LOST: why})
    assert other.observation == "2 b bb"
    assert neighbour.observation == "3 c cc"  # brought back in a new process
    assert pids(pool)[1] == before[1]
    assert pids(pool)[2] != before[2]
    assert pool.demonstrator_actions([2]) == ["turn 2"]
    assert pool.step([None, "bbb", "ccc"])[2].observation == "3 c cc ccc"
    assert pool.reset([7, 8, 9], "eval") == ["eval 7", "eval 8", "eval 9"]  # the slot plays again
    assert pool.step(["x", None, None])[0].observation == "7 x"


def test_a_neighbour_not_asked_at_once_is_brought_back_later(pool: Pool) -> None:
    pool.reset([1, 2, 3], "train")
    pool.step(["a", "b", "c"])
    pool.step(["crash", None, None])
    assert pool.step([None, None, "cc"])[2].observation == "3 c cc"


def test_two_losses_in_one_batch(pool: Pool) -> None:
    pool.reset([1, 2, 3], "train")
    steps = pool.step(["crash", "b", "crash"])
    assert [step.info.get(LOST) for step in steps] == ["crash", None, "crash"]
    assert pool.step([None, "bb", None])[1].observation == "2 b bb"


def test_a_slow_step_within_the_limit_is_no_hang(pool: Pool) -> None:
    pool.reset([1, 2, 3], "train")
    assert all(LOST not in step.info for step in pool.step(["slow"] * 3))


def test_a_task_that_cannot_be_started_is_an_error(pool: Pool) -> None:
    with pytest.raises(EnvironmentFailed, match=r"seed 666 .*crash"):
        pool.reset([1, 666, 3], "train")
    assert pool.reset([1], "train") == ["train 1"]


def test_exceptions_come_through_with_their_traceback() -> None:
    pool = Pool(COUNTER, 1, 1)
    pool.reset([1], "train")
    with pytest.raises(
        EnvironmentFailed, match=r"step\('raise'\) raised ZeroDivisionError: in the .* \(test_pool.py:"
    ) as it:
        pool.step(["raise"])
    assert "raise ZeroDivisionError" in "".join(traceback.format_exception(it.value))
    pool.close()


def test_slow_classes_and_timeouts_ask_for_workers() -> None:
    assert isinstance(open_batch(Env(id="support_desk"), 2), Batch)
    pools = [
        open_batch(Env(id=f"{__name__}:Slow", horizon=2), 2, workers=1),
        open_batch(Env(id="support_desk"), 2, workers=1, timeout=5.0),
    ]
    for pool in pools:
        assert isinstance(pool, Pool)
        assert len(pool.reset([0, 1], "train")) == 2
        pool.close()


def test_bad_arguments_are_reported_before_a_worker_starts() -> None:
    with pytest.raises(UserError, match="got 99"):
        open_batch(Env(id="support_desk", horizon=99), 2, timeout=1.0)


@pytest.mark.parametrize("make", [Batch, lambda config, size: Pool(config, size, 1)])
def test_more_episodes_than_slots_are_refused(make) -> None:
    batch = make(Env(id="support_desk"), 2)
    with pytest.raises(ValueError, match="2 environments cannot play 3"):
        batch.reset([1, 2, 3], "train")
    batch.close()
