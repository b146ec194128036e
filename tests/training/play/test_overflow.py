"""Conversations that outgrow the context: the task stays, turns behind it go, are counted, and nothing else changes."""

from __future__ import annotations

import pytest
import torch
from small import follow, full_forward_logp, make_model, play, tokenizer

from atod_sweep.config.train import Env
from atod_sweep.envs.batch import Batch
from atod_sweep.errors import UserError
from atod_sweep.training.batch import TokenBatch
from atod_sweep.training.models.policy import Policy
from atod_sweep.training.play import decoder
from atod_sweep.training.play.conversation import conversation_for
from atod_sweep.training.play.episodes import Player
from atod_sweep.training.play.outcomes import Limits
from atod_sweep.training.pretraining.demonstrations import DemonstratedTurn, encode

PAD, END, OBS, ACT, BLUE, GREEN, ONE, RED, SO, TWO, WELL = 0, 1, 2, 3, 6, 8, 9, 10, 11, 13, 14
SEEDS = [4, 9, 14, 19, 1, 2, 3]


def play_script(observations, context, terminates=True, bootstrap=False, action_tokens=2):
    kwargs = {"observations": observations, "rewards": [0.0] * (len(observations) - 1), "terminates": terminates}
    batch = Batch(Env(id="echo_env:Script", horizon=64, kwargs=kwargs), 1)
    conversation = conversation_for(tokenizer(), chat_template=True, stop_strings=[])
    player = Player(batch, conversation, Limits(action_tokens, context))
    return player.play(Policy(make_model("llama")), [0], "train", 1.0, torch.Generator(), bootstrap)


def test_the_first_turn_stays_and_those_after_it_go(monkeypatch):
    """Every turn is 3 prompt tokens and 2 of action; 12 tokens hold two turns but not three."""
    follow(monkeypatch, [[ONE], [END], [TWO], [END], [ONE], [END], [TWO], [END]])
    episodes = play_script(["red", "blue", "green", "well", "so"], context=12)
    red, blue = [OBS, RED, ACT, ONE, END], [OBS, BLUE, ACT, TWO, END]
    green, well = [OBS, GREEN, ACT, ONE, END], [OBS, WELL, ACT, TWO, END]
    assert episodes.ids_ST.tolist() == [red + blue, red + green, red + well]
    assert episodes.sequence_N.tolist() == [0, 0, 0, 0, 1, 1, 2, 2]  # every action carries loss once, when it is new
    assert episodes.column_N.tolist() == [3, 4, 8, 9, 8, 9, 8, 9]
    assert episodes.turn_N.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert episodes.episode_S.tolist() == [0, 0, 0]
    assert episodes.outcomes[0].dropped_turns == 2
    assert episodes.outcomes[0].turns == 4


def test_several_turns_go_at_once_for_a_long_observation(monkeypatch):
    follow(monkeypatch, [[ONE], [END]] * 4)
    long = "so so so so so red"  # 8 prompt tokens
    episodes = play_script(["red", "blue", "green", long, "so"], context=18)
    assert episodes.outcomes[0].dropped_turns == 2
    assert episodes.ids_ST[1].tolist() == [OBS, RED, ACT, ONE, END, OBS, *[SO] * 5, RED, ACT, ONE, END]


def test_what_is_dropped_makes_room_for_turns_to_come(monkeypatch):
    """Turns of 5 tokens in 40: the eighth finds 35, with 6 to come; 30 hold four turns beside its own 6, the first and
    the last three. Two more then fit, before it is the eleventh's turn."""
    follow(monkeypatch, [[ONE], [END]] * 16)
    words = ["red", "blue", "green", "well"] * 4
    episodes = play_script([*words, "so"], context=40)
    turns = [episodes.turn_N[episodes.sequence_N == s].unique().tolist() for s in range(len(episodes.ids_ST))]
    assert turns == [[0, 1, 2, 3, 4, 5, 6], [7, 8, 9], [10, 11, 12], [13, 14, 15]]
    assert all(ids[:5] == [OBS, RED, ACT, ONE, END] for ids in episodes.ids_ST.tolist())
    assert episodes.outcomes[0].dropped_turns == 9


def test_the_task_goes_where_nothing_else_is_left_to_go(monkeypatch):
    follow(monkeypatch, [[ONE], [END]] * 2)
    episodes = play_script(["red red red", "so so so so so so so", "so"], context=14)
    assert episodes.ids_ST[1, :11].tolist() == [OBS, *[SO] * 7, ACT, ONE, END]
    assert episodes.outcomes[0].dropped_turns == 1


def demonstrated(texts, context):
    conversation = conversation_for(tokenizer(), chat_template=True, stop_strings=[])
    episodes = [[DemonstratedTurn(observation, action) for observation, action in episode] for episode in texts]
    return encode(episodes, conversation, torch.device("cpu"), context)


def test_demonstrations_in_another_vocabulary_may_outgrow_it_too():
    """The same episode as above, as text, and one before it that fits."""
    short, long = [("so", "one")], [("red", "one"), ("blue", "two"), ("green", "one"), ("well", "two")]
    batch, dropped = demonstrated([short, long], context=12)
    red, blue = [OBS, RED, ACT, ONE, END], [OBS, BLUE, ACT, TWO, END]
    green, well = [OBS, GREEN, ACT, ONE, END], [OBS, WELL, ACT, TWO, END]
    rows = [[OBS, SO, ACT, ONE, END] + [PAD] * 5, red + blue, red + green, red + well]
    assert batch.ids_ST.tolist() == rows
    assert batch.length_S.tolist() == [5, 10, 10, 10]
    assert batch.sequence_N.tolist() == [0, 0, 1, 1, 1, 1, 2, 2, 3, 3]
    assert batch.column_N.tolist() == [3, 4, 3, 4, 8, 9, 8, 9, 8, 9]
    assert batch["turn"].tolist() == [0, 0, 0, 0, 1, 1, 2, 2, 3, 3]
    assert batch["episode"].tolist() == [0, 0] + [1] * 8
    assert dropped == 2
    assert demonstrated([short, long], context=20)[0].ids_ST.shape == (2, 20)


def test_a_long_demonstrated_observation_drops_several_turns():
    batch, dropped = demonstrated(
        [[("red", "one"), ("blue", "one"), ("green", "one"), ("so so so so so red", "one")]], 18
    )
    assert batch.ids_ST[1].tolist()[:15] == [OBS, RED, ACT, ONE, END, OBS, *[SO] * 5, RED, ACT, ONE, END]
    assert dropped == 2


def test_a_demonstrated_turn_that_fits_nowhere():
    with pytest.raises(
        UserError, match=r"a demonstrated turn needs 7 tokens of the student's vocabulary.* of 6; raise"
    ):
        demonstrated([[("red", "one"), ("so so red", "one")]], context=6)


@pytest.mark.parametrize("context", [17, 18, 24, 30])
@pytest.mark.parametrize("name", ["llama-gqa", "gpt2"])
def test_log_probs_equal_a_full_forward_of_the_shortened_sequences(name, context):
    model = make_model(name)
    episodes = play(model, SEEDS, horizon=8, action_tokens=3, context=context)
    long = play(model, SEEDS, horizon=8, action_tokens=3)
    assert sum(o.dropped_turns for o in long.outcomes) == 0
    assert sum(o.dropped_turns for o in episodes.outcomes) > 0
    assert int(long.length_S.max()) > context >= int(episodes.length_S.max())
    assert torch.allclose(episodes.logp_N, full_forward_logp(model, episodes), rtol=0, atol=1e-4)
    # every turn of every episode was learned from exactly once, in order
    batch = TokenBatch.of(episodes)
    for e, outcome in enumerate(episodes.outcomes):
        turns = batch["turn"][batch["episode"] == e]
        assert turns.unique_consecutive().tolist() == list(range(outcome.turns))


def test_no_sequence_is_longer_than_a_model_with_learned_positions_allows():
    """Also where an action is cut off with its last token in the last place, and still gets its end."""
    model = make_model("gpt2")
    for context in range(14, 30):
        episodes = play(model, [4, 9, 14], horizon=4, action_tokens=2, context=context)
        assert int(episodes.length_S.max()) <= context


@pytest.mark.parametrize("observations", [["so so so so so red", "so"], ["red", "so so so so so red", "so"]])
def test_an_observation_that_never_fits_is_an_error(observations):
    """8 tokens of prompt, 2 of action and the end of an action that was cut off make 11."""
    for context in (9, 10):
        said = rf"8 tokens.*max_action_tokens = 2.*context of {context}; raise rollout.max_context_tokens"
        with pytest.raises(UserError, match=said):
            play_script(observations, context)
    play_script(observations, context=11)


def test_the_state_after_a_truncated_episode_overflows_too(monkeypatch):
    """The bootstrap state is read off a shortened sequence without any loss on it."""
    follow(monkeypatch, [[ONE], [END], [TWO], [END]])
    episodes = play_script(["red", "blue", "green"], context=12, terminates=False, bootstrap=True)
    red, blue, green = [OBS, RED, ACT, ONE, END], [OBS, BLUE, ACT, TWO, END], [OBS, GREEN, ACT]
    assert episodes.ids_ST.tolist() == [red + blue, [*red, *green, PAD, PAD]]
    assert episodes.length_S.tolist() == [10, 8]
    assert episodes.final == {0: (1, 7)}
    assert episodes.sequence_N.tolist() == [0, 0, 0, 0]


def test_the_cache_stays_in_proportion_to_the_context(monkeypatch):
    grown = []
    monkeypatch.setattr(decoder.FoldedDecoder, "grow", lambda self: grown.append(self.slots))
    episodes = play_script(["so red"] * 41, context=60, action_tokens=3)
    assert episodes.outcomes[0].dropped_turns > 20
    assert grown == []  # what a decoder starts with is enough
