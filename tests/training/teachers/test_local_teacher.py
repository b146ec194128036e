"""A teacher whose weights are here: what it would do in a state is what it does when it plays."""

from __future__ import annotations

import pytest
import torch
from small import tiny, tokenizer

from atod_sweep.training.loop.build import assemble
from atod_sweep.training.play.conversation import conversation_for
from atod_sweep.training.play.episodes import Player
from atod_sweep.training.play.outcomes import Outcome
from atod_sweep.training.play.talk import Exchange
from atod_sweep.training.teachers.local import LocalTeacher
from atod_sweep.training.teachers.teacher import State


def states(outcome: Outcome) -> list[State]:
    """Those in which the episode's actions were taken."""
    turns = [
        Exchange(observation, act.ids) for (observation, _), act in zip(outcome.transcript, outcome.acts, strict=True)
    ]
    return [State(turns[:k], turn.observation) for k, turn in enumerate(turns)]


@pytest.fixture
def stage(built, tmp_path):
    return assemble(tiny(), tmp_path, resume=False).stage


def test_it_acts_as_it_plays(stage):
    generator = torch.Generator().manual_seed(0)
    shown = stage.teacher.play([3, 4, 5], 0.0, generator)
    for outcome in shown.outcomes:
        actions = stage.teacher.act(states(outcome), 0.0, generator)
        assert [action.text for action in actions] == [action for _, action in outcome.transcript]
        assert [action.ids for action in actions] == [act.ids for act in outcome.acts]
        assert [action.tokens for action in actions] == [act.tokens for act in outcome.acts]
    assert shown.cost["teacher_tokens"] == shown.cost["tokens"] > shown.cost["generated_tokens"] > 0


def test_in_states_that_others_got_into(stage):
    """What it says there depends on the turns before, and at a temperature on the generator alone."""
    outcome = stage.play(stage.policy, 0).outcomes[0]
    where = states(outcome)
    first, again, other = (stage.teacher.act(where * 8, 1.0, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert first == again != other
    assert {action.ids[-1] for action in first} <= stage.player.conversation.stop_ids


def test_one_that_is_talked_to_otherwise_is_told_and_tells_in_text(stage):
    """As one of another vocabulary is; ids come back as the student would have said them."""
    teacher = stage.teacher
    where = states(teacher.play([3], 0.0, torch.Generator()).outcomes[0])
    direct = teacher.act(where, 0.0, torch.Generator())
    own = conversation_for(tokenizer(), True, [])
    apart = LocalTeacher(teacher.policy, Player(stage.player.batch, own, stage.player.limits), stage.player, False)
    assert apart.act(where, 0.0, torch.Generator()) == direct
