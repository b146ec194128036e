"""How a policy acts: shares of actions that were cut off, empty or not admitted, entropy, groups without spread."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from echo_env import Echo
from small import follow, make_model, play, tokenizer

from atod_sweep.config.train import Env
from atod_sweep.envs.batch import Batch
from atod_sweep.envs.checked import Checked, admitted
from atod_sweep.envs.failures import EnvironmentFailed
from atod_sweep.envs.pool import Pool
from atod_sweep.records.metric_names import HABITS, check_reported, direction, unit
from atod_sweep.training.models.policy import Policy
from atod_sweep.training.play.conversation import conversation_for
from atod_sweep.training.play.episodes import Player
from atod_sweep.training.play.evaluate import habits
from atod_sweep.training.play.outcomes import Act, Limits, Outcome

NAN = math.nan


class Telling(Echo):
    """Echo that says whether it likes an action, in the word and form of somebody else."""

    def step(self, action: str) -> Any:
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward, terminated, truncated, info | {"is_action_valid": int("red" in action)}


class Rambling(Echo):
    def step(self, action: str) -> Any:
        *answer, info = super().step(action)
        return (*answer, info | {"is_admissible": "perhaps"})


def outcome(seed: int, rewards: list[float], *acts: tuple[str, int, float, bool, bool | None]) -> Outcome:
    made = Outcome(seed, rewards)
    for action, tokens, surprisal, cut, admissible in acts:
        made.transcript.append(("", action))
        made.acts.append(Act(tokens, surprisal, cut, admissible=admissible))
    return made


def test_shares_by_hand():
    found = habits(
        [
            outcome(1, [1.0], ("go", 2, 3.0, False, True), ("", 1, 0.5, False, False)),
            outcome(1, [1.0], ("wander", 4, 2.5, True, None)),
            outcome(2, [0.0], ("go", 1, 2.0, False, True)),
            outcome(2, [1.0], ("go", 2, 0.0, True, True)),
            outcome(3, [1.0], ("go", 1, 0.0, False, True), ("", 1, 0.0, False, True)),
        ]
    )
    assert found == {
        "action_cut": pytest.approx(2 / 7),
        "action_empty": pytest.approx(2 / 7),
        "action_inadmissible": pytest.approx(1 / 6),
        "token_entropy": pytest.approx(8.0 / 12),
        "group_flat": 0.5,  # of tasks 1 and 2; one episode is no group
    }
    assert found.keys() == set(HABITS) - {"action_unmarked"}  # there are no marks


def test_what_nobody_can_tell_is_left_out():
    assert habits([]) == {}
    assert habits([outcome(1, [0.0], ("a", 1, 1.0, False, None))], sampled=False).keys() == {
        "action_cut",
        "action_empty",
    }


def test_as_played(monkeypatch):
    """Rows that stop, say nothing, and go on to the limit; 1 is the end, 12 a word."""
    follow(monkeypatch, [[12, 1, 12], [1, 12, 12]])
    outcomes = play(make_model("llama"), [0, 1, 2], horizon=1, action_tokens=2).outcomes
    assert [o.acts[0].cut for o in outcomes] == [False, False, True]
    assert [o.acts[0].tokens for o in outcomes] == [2, 1, 2]
    assert [o.transcript[0][1] == "" for o in outcomes] == [False, True, False]
    assert all(o.acts[0].surprisal > 0 for o in outcomes)


def test_entropy_is_that_of_the_policy():
    """Uniform over 15 ids at any temperature: log 15 nats a token, estimated without error."""
    model = make_model("llama")
    with torch.no_grad():
        model.get_output_embeddings().weight.zero_()
        model.get_output_embeddings().bias.zero_()
    for temperature in (1.0, 0.4):
        found = habits(play(model, list(range(8)), temperature=temperature).outcomes)
        assert found["token_entropy"] == pytest.approx(math.log(15), abs=1e-5)


@pytest.mark.parametrize("make", [Batch, lambda env, size: Pool(env, size, 1)], ids=["here", "worker"])
def test_what_environments_say_of_actions(make):
    batch = make(Env(id="test_habits:Telling", horizon=3), 2)
    player = Player(batch, conversation_for(tokenizer(), True, []), Limits(4, 256))
    played = player.play(Policy(make_model("llama")), [0, 1], "train", 1.0, torch.Generator().manual_seed(0))
    batch.close()
    told = [act.admissible for o in played.outcomes for act in o.acts]
    assert told == ["red" in action for o in played.outcomes for _, action in o.transcript]
    assert all(type(one) is bool for one in told)


def test_what_is_no_answer_to_that_is_refused():
    game = Checked(Env(id="test_habits:Rambling", horizon=3))
    game.reset(0, "train")
    with pytest.raises(
        EnvironmentFailed, match=r"step\(\) returned info\['is_admissible'\] 'perhaps' \(str\); expected"
    ):
        game.step("red")


@pytest.mark.parametrize("family", ["support_desk", "tool_use", "code_debug", "planner"])
def test_shipped_families_tell(family):
    game = Checked(Env(id=family, horizon=8))
    game.reset(0, "train")
    assert admitted(game.step("nonsense")) is False
    assert admitted(game.step(f"{game.actions()[0].upper()}.")) is True


def test_names():
    for name in HABITS:
        check_reported(f"eval/{name}", [], 1)
        assert unit(f"rollout/{name}") == ("nats" if name == "token_entropy" else "share")
        assert direction(f"eval/{name}") == (None if name == "token_entropy" else "min")
    with pytest.raises(ValueError, match="no trial reports 'final/action_cut'"):
        check_reported("final/action_cut", [], 1)
