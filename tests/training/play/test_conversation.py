"""From a conversation's text to ids and a loss mask, for chat templates and plain text."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from chat import CHATML, characters
from small import follow, make_model, tokenizer
from transformers import PreTrainedTokenizerFast

from atod_sweep.config.train import Env
from atod_sweep.envs.batch import Batch
from atod_sweep.errors import UserError
from atod_sweep.training.batch import TokenBatch
from atod_sweep.training.models.policy import Policy
from atod_sweep.training.play import talk
from atod_sweep.training.play.conversation import conversation_for
from atod_sweep.training.play.episodes import Player
from atod_sweep.training.play.outcomes import Limits
from atod_sweep.training.pretraining.demonstrations import DemonstratedTurn, encode

PAD, END, OBS, ACT, BLUE, GREEN, ONE, RED, SO, TWO = 0, 1, 2, 3, 6, 8, 9, 10, 11, 13  # ids of small.tokenizer()


def play_script(monkeypatch, conversation, observations, tokens, action_tokens, vocabulary=15):
    """One scripted episode; `tokens` are the ids sampled."""
    follow(monkeypatch, [[token] for token in tokens])
    rewards = [0.0] * (len(observations) - 1)
    batch = Batch(Env(id="echo_env:Script", kwargs={"observations": observations, "rewards": rewards}), 1)
    policy = Policy(make_model("llama", vocabulary=vocabulary))
    player = Player(batch, conversation, Limits(action_tokens, 256))
    episodes = player.play(policy, [0], "train", 1.0, torch.Generator())
    return episodes, batch.envs[0].unwrapped.heard


def mask(episodes_or_batch) -> list[int]:
    """0/1 per column of the first sequence: where loss is."""
    row = [0] * int(episodes_or_batch.length_S[0])
    for sequence, column in zip(episodes_or_batch.sequence_N, episodes_or_batch.column_N, strict=True):
        assert sequence == 0
        row[column] = 1
    return row


# ---- the mask ----------------------------------------------------------------------------------------------------


def test_loss_mask_of_three_turns_by_hand(monkeypatch):
    """The first action ends itself, the second is cut off after two tokens, the third is empty."""
    conversation = conversation_for(tokenizer(), chat_template=True, stop_strings=[])
    observations = ["red", "so blue", "green", "so"]
    episodes, heard = play_script(monkeypatch, conversation, observations, [ONE, END, TWO, TWO, END], action_tokens=2)
    assert heard == ["one", "two two", ""]
    # fmt: off
    assert episodes.ids_ST.tolist() == [[
        OBS, RED, ACT,      ONE, END,
        OBS, SO, BLUE, ACT, TWO, TWO, END,
        OBS, GREEN, ACT,    END,
    ]]
    assert mask(episodes) == [
        0, 0, 0,            1, 1,
        0, 0, 0, 0,         1, 1, 0,
        0, 0, 0,            1,
    ]
    # fmt: on
    assert episodes.turn_N.tolist() == [0, 0, 1, 1, 2]
    assert episodes.outcomes[0].transcript == [("red", "one"), ("so blue", "two two"), ("green", "")]
    batch = TokenBatch.of(episodes)
    assert batch.target_N.tolist() == [ONE, END, TWO, TWO, END]
    assert episodes.ids_ST.flatten()[batch.index_N].tolist() == [ACT, ONE, ACT, TWO, ACT]  # what predicts them


def test_demonstrations_have_the_same_ids_and_perturbed_actions_no_loss():
    conversation = conversation_for(tokenizer(), chat_template=True, stop_strings=[])
    turns = [
        DemonstratedTurn("red", "one"),
        DemonstratedTurn("so blue", "two", learn=False),
        DemonstratedTurn("green", "two one"),
    ]
    batch, dropped = encode([turns], conversation, torch.device("cpu"))
    assert dropped == 0
    # fmt: off
    assert batch.ids_ST.tolist() == [[
        OBS, RED, ACT,      ONE, END,
        OBS, SO, BLUE, ACT, TWO, END,
        OBS, GREEN, ACT,    TWO, ONE, END,
    ]]
    assert mask(batch) == [
        0, 0, 0,            1, 1,
        0, 0, 0, 0,         0, 0,
        0, 0, 0,            1, 1, 1,
    ]
    # fmt: on
    assert batch["turn"].tolist() == [0, 0, 2, 2, 2]


# ---- templates ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [tokenizer, lambda: characters(CHATML)], ids=["compact", "chatml"])
def test_pieces_equal_the_whole_conversation_rendered_at_once(make):
    tokens = make()
    conversation = conversation_for(tokens, chat_template=True, stop_strings=[])
    said = [("so red", "one"), ("blue", "two"), ("well green", "three")]
    pieces: list[int] = []
    messages = []
    for i, (observation, action) in enumerate(said):
        pieces += conversation.encode_turn(observation, first=i == 0)
        pieces += conversation.encode_action(action)
        messages += [{"role": "user", "content": observation}, {"role": "assistant", "content": action}]
    pieces += conversation.encode_turn("so", first=False)
    messages.append({"role": "user", "content": "so"})
    text = tokens.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert pieces == tokens(text, add_special_tokens=False)["input_ids"]


def test_what_is_read_off_a_chat_template():
    tokens = characters(CHATML)
    conversation = conversation_for(tokens, chat_template=True, stop_strings=[])
    assert conversation.opening == "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n"
    assert conversation.closing == "<|im_end|>\n<|im_start|>assistant\n"
    assert conversation.between == "\n<|im_start|>user\n"
    assert conversation.end_ids == (tokens.convert_tokens_to_ids("<|im_end|>"),)
    assert conversation.stop_ids == set(conversation.end_ids)


def test_the_end_of_text_token_stops_too():
    tokens = characters(CHATML, eos="<|endoftext|>")
    conversation = conversation_for(tokens, chat_template=True, stop_strings=[])
    assert conversation.stop_ids == {tokens.convert_tokens_to_ids("<|im_end|>"), tokens.eos_token_id}
    assert conversation.end_ids == (tokens.convert_tokens_to_ids("<|im_end|>"),)


# ---- plain text --------------------------------------------------------------------------------------------------


def ids_of(tokens, text: str) -> list[int]:
    return tokens(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("template", [None, CHATML])
def test_plain_text(monkeypatch, template):
    """Without a template, or with one that is not wanted. A line break ends an action."""
    tokens = characters(template)
    conversation = conversation_for(tokens, chat_template=template is None, stop_strings=[])
    sampled = [*ids_of(tokens, " one"), *ids_of(tokens, "\n"), *ids_of(tokens, " up"), *ids_of(tokens, " four")]
    episodes, heard = play_script(
        monkeypatch, conversation, ["hi", "go", "on", ""], [*sampled[:8], tokens.eos_token_id, *sampled[8:]], 5, 300
    )
    assert heard == ["one", "up", "four"]
    lines = "Observation: hi\nAction: one\nObservation: go\nAction: up<|im_end|>Observation: on\nAction: four\n"
    assert episodes.ids_ST[0].tolist() == ids_of(tokens, lines)


def test_a_stop_string_inside_a_longer_token_ends_the_action(monkeypatch):
    """Two line breaks in one token: the action ends there, and what follows in the context is still a line."""
    tokens = characters()
    conversation = conversation_for(tokens, chat_template=False, stop_strings=[])
    assert ids_of(tokens, "\n\n") == [256]
    sampled = [*ids_of(tokens, " a"), 256, *ids_of(tokens, " b"), *ids_of(tokens, "\n")]
    episodes, heard = play_script(monkeypatch, conversation, ["hi", "go", ""], sampled, 9, 300)
    assert heard == ["a", "b"]
    prompt = ids_of(tokens, "Observation: hi\nAction:")
    assert episodes.ids_ST[0, : len(prompt) + 4].tolist() == [*prompt, *sampled[:3], *ids_of(tokens, "\n")]
    assert mask(episodes)[len(prompt) : len(prompt) + 4] == [1, 1, 1, 0]


def test_stop_strings_of_the_config(monkeypatch):
    """Generated text up to the first stop string is the action; the stop string itself was generated, so it learns."""
    conversation = conversation_for(tokenizer(), chat_template=True, stop_strings=["two"])
    episodes, heard = play_script(monkeypatch, conversation, ["red", "so", ""], [ONE, TWO, END], 4)
    assert heard == ["one", ""]
    assert episodes.ids_ST.tolist() == [[OBS, RED, ACT, ONE, TWO, END, OBS, SO, ACT, END]]
    assert mask(episodes) == [0, 0, 0, 1, 1, 0, 0, 0, 0, 1]


def test_a_plain_conversation_needs_an_end_and_a_line_break():
    with pytest.raises(UserError, match=r"no end-of-text token; set its eos_token"):
        conversation_for(characters(eos=None), chat_template=False, stop_strings=[])
    with pytest.raises(UserError, match=r"no token for a line break"):
        conversation_for(tokenizer(), chat_template=False, stop_strings=[])


def test_texts_are_encoded_once(monkeypatch):
    tokens = tokenizer()
    conversation = conversation_for(tokens, chat_template=True, stop_strings=[])
    calls: list[str] = []
    original = talk.encode_all
    monkeypatch.setattr(talk, "encode_all", lambda t, texts: calls.extend(texts) or original(t, texts))
    assert conversation.encode_turn("red", True) == conversation.encode_turn("red", True) == (OBS, RED, ACT)
    assert conversation.encode_turn("red", False) == (OBS, RED, ACT)
    conversation.encode_turns([("red", True), ("so", False), ("so", False)])
    assert conversation.encode_turn("so", False) == (OBS, SO, ACT)
    assert len(calls) == 3
    conversation.tokenizer = SimpleNamespace(decode=lambda ids, **_: calls.append(str(ids)) or " one ")
    assert conversation.decode_action((ONE, END)) == conversation.decode_action((ONE, END)) == "one"
    assert calls[3:] == ["(9,)"]


def test_texts_beyond_the_cache_are_encoded_too(monkeypatch):
    monkeypatch.setattr(talk, "MAX_CACHED_TEXTS", 2)
    conversation = conversation_for(tokenizer(), chat_template=True, stop_strings=[])
    for text, word in (("red", RED), ("so", SO), ("blue", BLUE), ("red", RED)):
        assert conversation.encode_turn(text, True) == (OBS, word, ACT)
        assert len(conversation._encoded) <= 2
    conversation.encode_turns([(text, True) for text in ("red", "so", "blue", "green")])
    assert conversation.encode_turn("green", True) == (OBS, GREEN, ACT)


class Shouting(PreTrainedTokenizerFast):
    """A tokenizer that is more than its Rust part."""

    def _encode_plus(self, text, *args, **kwargs):
        return super()._encode_plus(
            [t.upper() for t in text] if isinstance(text, list) else text.upper(), *args, **kwargs
        )


@pytest.mark.parametrize("kind", ["words", "letters", "cut and padded", "split special", "shouting"])
def test_many_texts_have_the_ids_that_each_has_alone(kind):
    tokens = tokenizer() if kind == "words" else characters(CHATML)
    match kind:
        case "cut and padded":
            tokens.backend_tokenizer.enable_truncation(3)
            tokens.backend_tokenizer.enable_padding()
        case "split special":
            tokens.split_special_tokens = True
        case "shouting":
            tokens = Shouting(tokenizer_object=tokens.backend_tokenizer)
    texts = ["red so  blue", "", "<|im_start|>user\nÜber\n\n<|im_end|>", " so "]
    found = talk.encode_all(tokens, texts)
    assert found == [tuple(tokens(text, add_special_tokens=False)["input_ids"]) for text in texts]
