"""Episodes of which somebody else plays turns: which tokens are whose, what is heard, what is billed, where it ends."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from small import follow, full_forward_logp, make_model, tokenizer

from atod_sweep.config.train import Env
from atod_sweep.envs.batch import Batch
from atod_sweep.training.batch import TokenBatch
from atod_sweep.training.models.policy import Policy
from atod_sweep.training.play.conversation import conversation_for
from atod_sweep.training.play.episodes import Player
from atod_sweep.training.play.evaluate import habits
from atod_sweep.training.play.outcomes import Episodes, Limits
from atod_sweep.training.play.wheel import Wheel
from atod_sweep.training.teachers.teacher import Action, State

# Ids of the Echo environment: <end> 1, <obs> 2, <act> 3, and 5, the others in the order of the alphabet.
BLUE, GREEN, ONE, RED, SO, THREE, TWO, WELL = 6, 8, 9, 10, 11, 12, 13, 14
AND, BYE, END, OBS, ACT, ANY = 5, 7, 1, 2, 3, 7
SCRIPT = {"observations": ["red", "blue", "green", "red"], "rewards": [0.0, 0.0, 1.0]}
SAID = {
    0: [Action("so and one", (SO, AND, ONE, END), 9)],  # of two episodes, the second one's first turn
    1: [Action("three", (THREE, END), 2)],  # the first one's second turn
}


class Asked:
    """Whoever takes turns over, and in which states."""

    def __init__(self) -> None:
        self.states: dict[int, Sequence[State]] = {}

    def __call__(self, states: Sequence[State], turn: int) -> list[Action]:
        self.states[turn] = states
        return SAID[turn]


def played(wheel: Wheel | None, seeds: int = 2, limit: int = 4, bootstrap: bool = False) -> Episodes:
    conversation = conversation_for(tokenizer(), chat_template=True, stop_strings=[])
    batch = Batch(Env(id="echo_env:Script", horizon=3, kwargs=SCRIPT), seeds)
    player = Player(batch, conversation, Limits(limit, 64))
    generator = torch.Generator().manual_seed(0)
    model = Policy(make_model("llama"))
    return player.play(model, list(range(seeds)), "train", 1.0, generator, bootstrap, wheel=wheel)


def test_the_loss_mask_of_mixed_episodes_token_by_token(monkeypatch):
    """Rows of the script are decoding steps; what stands there for a turn that is taken, or over, is not used."""
    first = [[ONE, ANY], [END, ANY], [ANY, ANY], [ANY, ANY]]  # the answer that is given has four tokens
    second = [[ANY, THREE], [ANY, END]]
    third = [[TWO, TWO], [WELL, TWO], [END, TWO], [ANY, TWO]]  # the second episode's is cut off at four
    follow(monkeypatch, [*first, *second, *third])
    asked = Asked()
    taken = np.array([[False, True, False], [True, False, False]])
    episodes = played(Wheel(taken, asked))
    a = [OBS, RED, ACT, ONE, END, OBS, BLUE, ACT, THREE, END, OBS, GREEN, ACT, TWO, WELL, END]
    b = [OBS, RED, ACT, SO, AND, ONE, END, OBS, BLUE, ACT, THREE, END, OBS, GREEN, ACT, TWO, TWO, TWO, TWO, END]
    # generated    ^ of the first answer               and so on; the last <end> was appended, and carries no loss
    assert [episodes.ids_ST[e, :n].tolist() for e, n in enumerate(episodes.length_S.tolist())] == [a, b]
    tokens = TokenBatch.of(episodes)
    rows = [
        *zip(*(x.tolist() for x in (tokens.sequence_N, tokens.column_N, tokens["turn"], tokens["taken"])), strict=True)
    ]
    assert rows == [
        (0, 3, 0, False), (0, 4, 0, False),
        (0, 8, 1, True), (0, 9, 1, True),
        (0, 13, 2, False), (0, 14, 2, False), (0, 15, 2, False),
        (1, 3, 0, True), (1, 4, 0, True), (1, 5, 0, True), (1, 6, 0, True),
        (1, 10, 1, False), (1, 11, 1, False),
        (1, 15, 2, False), (1, 16, 2, False), (1, 17, 2, False), (1, 18, 2, False),
    ]  # fmt: skip
    # the log-probs are the student's own, of what it was made to say, too
    assert torch.allclose(episodes.logp_N, full_forward_logp(make_model("llama"), episodes), atol=1e-5)
    assert [text for _, text in episodes.outcomes[1].transcript] == ["so and one", "three", "two two two two"]
    assert asked.states[1] == [State(episodes.outcomes[0].exchanges[:1], "blue", 0)]
    assert asked.states[0] == [State([], "red", 1)]
    # 11 tokens of its own; the teacher's came at a price of their own, which their places here are not
    assert episodes.cost["generated_tokens"] == 11
    assert episodes.cost["teacher_generated_tokens"] == 9 + 2
    assert episodes.cost["env_steps"] == 6
    assert habits(episodes.outcomes)["action_cut"] == 1 / 4  # of the four actions of its own


def test_an_answer_longer_than_the_students_may_be_is_cut_where_its_own_would_be(monkeypatch):
    """And so it is heard; what is appended behind it carries no loss."""
    follow(monkeypatch, [[ONE, ANY], [TWO, ANY], *[[ANY, ANY]] * 2, *[[TWO, TWO]] * 2])
    taken = np.array([[False] * 3, [True, False, False]])
    episodes = played(Wheel(taken, Asked()), limit=2)
    assert [(act.tokens, act.cut) for outcome in episodes.outcomes for act in outcome.acts] == [(2, True)] * 6
    assert episodes.outcomes[1].transcript[0][1] == "so and"
    assert episodes.ids_ST[1, :6].tolist() == [OBS, RED, ACT, SO, AND, END]


def test_who_has_nothing_to_say_leaves_the_turn_to_the_student(monkeypatch):
    follow(monkeypatch, [[ONE, TWO], [END, END]] * 3)
    silent = Wheel(np.ones((2, 3), bool), lambda states, turn: [Action("", (), 0) for _ in states])
    episodes = played(silent)
    assert [text for outcome in episodes.outcomes for _, text in outcome.transcript] == ["one"] * 3 + ["two"] * 3
    assert episodes.taken_N is None


@pytest.mark.parametrize(("depth", "turns"), [(1, 1), (2, 2), (3, 3), (9, 3)])
@pytest.mark.parametrize("bootstrap", [False, True])
def test_an_episode_ends_at_its_depth(depth, turns, bootstrap):
    episodes = played(Wheel(np.zeros((2, 3), bool), Asked(), depth), bootstrap=bootstrap)
    assert [outcome.turns for outcome in episodes.outcomes] == [turns] * 2
    assert [outcome.cut for outcome in episodes.outcomes] == [turns < 3] * 2
    assert [outcome.truncated for outcome in episodes.outcomes] == [turns < 3] * 2  # the script ends by itself
    assert episodes.final.keys() == ({0, 1} if bootstrap and turns < 3 else set())
    assert "teacher_generated_tokens" not in episodes.cost
    assert "taken" not in TokenBatch.of(episodes).fields


def test_a_wheel_that_nobody_takes_changes_nothing():
    alone = played(None)
    beside = played(Wheel(np.zeros((2, 3), bool), Asked()))
    assert torch.equal(alone.ids_ST, beside.ids_ST)
    assert torch.equal(alone.logp_N, beside.logp_N)
