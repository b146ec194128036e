"""How many episodes are played at a time changes nothing about any of them."""

from __future__ import annotations

import random
import weakref

import pytest
import torch
from small import ECHO, make_model, tokenizer
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

from atod_sweep.config.train import Env, Evaluation
from atod_sweep.envs.batch import Batch
from atod_sweep.training.models.policy import Policy
from atod_sweep.training.play.conversation import conversation_for
from atod_sweep.training.play.decoder import Decoder
from atod_sweep.training.play.decoders import decoder_for
from atod_sweep.training.play.episodes import Player, Sampling
from atod_sweep.training.play.evaluate import evaluate
from atod_sweep.training.play.outcomes import Episodes, Limits

TASKS = [1, 2, 3, 3, 3, 4, 5, 6, 7, 8, 8, 8, 9]
# Kernels for other instructions may round by the number of rows; what is drawn is the same but for ties.
BITWISE = torch.backends.cpu.get_cpu_capability() == "AVX512" and torch.backends.mkl.is_available()


def player(at_once: int, split: str = "train", context: int = 256) -> Player:
    conversation = conversation_for(tokenizer(), chat_template=True, stop_strings=[])
    batch = Batch(Env(id=ECHO, horizon=5), at_once)
    return Player(batch, conversation, Limits(4, context), at_once={split: at_once})


def play(model, at_once: int, **how) -> Episodes:
    mine = player(at_once, context=how.pop("context", 256))
    return mine.play(Policy(model), TASKS, "train", 1.0, torch.Generator().manual_seed(5), **how)


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.equal(a, b) if BITWISE else torch.allclose(a, b, rtol=0, atol=1e-5)


@pytest.mark.parametrize("at_once", [1, 3])
@pytest.mark.parametrize("how", [{}, {"bootstrap": True}, {"context": 24}], ids=str)
@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen3", "gpt2"])
def test_a_play_in_parts_is_the_whole_play(name, how, at_once):
    model = make_model(name)
    whole, parts = play(model, len(TASKS), **how), play(model, at_once, **how)
    assert len({o.turns for o in whole.outcomes}) > 2
    assert whole.outcomes == parts.outcomes
    assert whole.final == parts.final
    for field in ("ids_ST", "length_S", "episode_S", "sequence_N", "column_N", "turn_N"):
        assert torch.equal(getattr(whole, field), getattr(parts, field)), field
    assert close(whole.logp_N, parts.logp_N)


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_an_evaluation_in_parts_is_the_whole_one(temperature):
    config = Evaluation(tasks=12, temperature=temperature, attempts=1 if temperature == 0 else 3)
    policy = Policy(make_model("llama"))
    whole = evaluate(policy, player(12, "eval"), config)
    assert sum(n > 0 for n in whole["eval/ended_by_turn"]) > 1
    for at_once in (1, 5):
        parts = evaluate(policy, player(at_once, "eval"), config)
        entropy = "eval/token_entropy"
        assert {**parts, entropy: 0} == {**whole, entropy: 0}
        assert parts.get(entropy, 0) == pytest.approx(whole.get(entropy, 0), abs=0 if BITWISE else 1e-5)


def test_random_numbers_belong_to_play_episode_turn_and_token():
    def draw(sampling: Sampling, rows: list[int], turn: int) -> torch.Tensor:
        numbers = sampling.numbers(rows, turn, 4, torch.device("cpu"))
        assert numbers is not None
        return numbers

    generator = torch.Generator().manual_seed(3)
    first, second = (Sampling.of(1.0, None, generator, 5) for _ in range(2))
    again = Sampling.of(0.3, None, torch.Generator().manual_seed(3), 5)
    whole = draw(first, [0, 1, 2, 3, 4], 2)
    assert torch.equal(draw(first, [3, 1], 2), whole[[3, 1]])
    assert torch.equal(draw(again, [0, 1, 2, 3, 4], 2), whole)
    assert not (draw(first, [0, 1, 2, 3, 4], 3) == whole).any()
    assert not (draw(second, [0, 1, 2, 3, 4], 2) == whole).any()
    assert whole.unique().numel() == 20
    state = generator.get_state()
    assert Sampling.of(0.0, None, generator, 5).numbers([0], 0, 4, torch.device("cpu")) is None
    assert torch.equal(generator.get_state(), state)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_long_chunks_are_fed_in_pieces(name, monkeypatch):
    policy, rows = Policy(make_model(name)), [list(range(2, 15)) * 5, list(range(14, 1, -1)) * 2, [3]]
    ids = torch.tensor([row + [0] * (65 - len(row)) for row in rows])
    widths: list[int] = []
    original = Decoder.append
    monkeypatch.setattr(Decoder, "append", lambda self, ids, *a: widths.append(ids.shape[1]) or original(self, ids, *a))
    with torch.inference_mode():
        found = []
        for piece in (1000, 32, 7):
            decoder = decoder_for(policy, 3)
            decoder.piece = piece
            found.append(decoder.feed(ids, torch.tensor([65, 26, 1]), (1, 65)))
            assert decoder.length_B.tolist() == [65, 26, 1]
    assert widths == [65, 32, 32, 2, *[7] * 9, 2]  # a piece of one token is no step
    want = torch.stack([policy.model(input_ids=torch.tensor([row])).logits[0, -1] for row in rows])
    for logits in found:
        assert torch.allclose(logits, want, rtol=0, atol=2e-5)


def test_no_cache_is_left_when_a_play_is_over(monkeypatch):
    alive: list[weakref.ref] = []
    original = Decoder.__init__

    def noted(self, *args):
        alive.append(weakref.ref(self))
        original(self, *args)

    monkeypatch.setattr(Decoder, "__init__", noted)
    for name in ("llama", "qwen3"):
        episodes = play(make_model(name), 5)
        assert alive.pop()() is None  # with what holds the keys and values
    assert episodes.tokens


# ---- conversations as long as real ones, on wider models -----------------------------------------------------------


def wide(kind: str):
    torch.manual_seed(0)
    sizes = {"vocab_size": 300, "hidden_size": 64, "intermediate_size": 192, "num_hidden_layers": 2}
    sizes |= {"num_attention_heads": 4, "max_position_embeddings": 4096, "initializer_range": 0.1}
    if kind == "llama":
        return LlamaForCausalLM(LlamaConfig(**sizes, num_key_value_heads=4)).eval()
    return Qwen3ForCausalLM(Qwen3Config(**sizes, num_key_value_heads=2, head_dim=32)).eval()


def talks(first: tuple[int, int]) -> list[list[tuple[list[int], list[int]]]]:
    """What nine rows are fed, turn by turn: a chunk, then single tokens."""
    draw = random.Random(0)

    def ids(least: int, most: int) -> list[int]:
        return [draw.randrange(5, 290) for _ in range(draw.randint(least, most))]

    return [[(ids(*first) if t == 0 else ids(1, 12), ids(1, 4)) for t in range(draw.randint(1, 5))] for _ in range(9)]


@torch.inference_mode()
def fed(policy: Policy, rows: list[list[tuple[list[int], list[int]]]]) -> list[list[torch.Tensor]]:
    """The logits after every chunk and token of every row."""
    decoder, out, kept, turn = decoder_for(policy, len(rows)), [[] for _ in rows], list(range(len(rows))), 0

    def feed(chunks: list[list[int]], width: int) -> None:
        ids = torch.tensor([chunk + [0] * (width - len(chunk)) for chunk in chunks])
        counts = [len(chunk) for chunk in chunks]
        logits = decoder.feed(ids, torch.tensor(counts), (min(counts), max(counts)))
        for r, count, row in zip(kept, counts, logits, strict=True):
            if count:
                out[r].append(row.clone())

    while kept:
        feed(chunks := [rows[r][turn][0] for r in kept], max(2, *map(len, chunks)))
        for i in range(max(len(rows[r][turn][1]) for r in kept)):
            feed([rows[r][turn][1][i : i + 1] for r in kept], 1)
        turn += 1
        going = [i for i, r in enumerate(kept) if len(rows[r]) > turn]
        if going:
            longest = max(sum(len(chunk) + len(said) for chunk, said in rows[kept[i]][:turn]) for i in going)
            decoder.select(torch.tensor(going), longest)
        kept = [kept[i] for i in going]
    return out


@pytest.mark.parametrize("first", [(5, 30), (150, 300), (500, 800)], ids=str)
@pytest.mark.parametrize("by_hand", [True, False])
@pytest.mark.parametrize("kind", ["llama", "qwen3"])
def test_the_logits_of_a_row_do_not_depend_on_the_others(kind, by_hand, first):
    policy, rows = Policy(wide(kind), by_hand=by_hand), talks(first)
    whole = fed(policy, rows)
    for some in ([0], [2, 3], [4, 5, 6], [1, 2, 4, 6, 8]):
        for r, logits in zip(some, fed(policy, [rows[r] for r in some]), strict=True):
            assert all(close(a, b) for a, b in zip(logits, whole[r], strict=True)), (some, r)
