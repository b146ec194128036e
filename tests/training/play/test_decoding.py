"""Cached multi-turn decoding equals a full forward pass, whatever the architecture and wherever episodes end.

There is no left padding anywhere: rows are right-padded and hold no gaps, so position ids are column numbers and the
causal mask alone keeps padding out. What is left to show is that padding on the right changes nothing.
"""

from __future__ import annotations

import random

import pytest
import torch
from small import full_forward_logp, make_model, play

from atod_sweep.training.batch import TokenBatch
from atod_sweep.training.models import llama
from atod_sweep.training.models.policy import Policy
from atod_sweep.training.play.decoder import Decoder
from atod_sweep.training.play.decoders import decoder_for
from atod_sweep.training.scoring import score

BY_HAND = ("llama", "llama-gqa", "mistral", "qwen2", "qwen3")
ARCHITECTURES = (*BY_HAND, "llama-biased", "llama3-rope", "gpt2")
SEEDS = [1, 2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_cached_decoding_equals_a_full_forward(name):
    model = make_model(name)
    assert llama.can_fold(model) == (name in BY_HAND)
    episodes = play(model, SEEDS)
    turn_2N = torch.stack([episodes.sequence_N, episodes.turn_N])
    assert {1, 2, 4} <= set(torch.unique_consecutive(turn_2N, dim=1, return_counts=True)[1].tolist())  # action lengths
    assert len({o.turns for o in episodes.outcomes}) >= 3
    assert torch.allclose(episodes.logp_N, full_forward_logp(model, episodes), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["llama", "qwen3"])
def test_equal_first_prompts_are_computed_once(name, monkeypatch):
    model, groups = make_model(name), [5, 1, 5, 5, 1, 2, 5, 5]
    rows = []
    original = Decoder.feed
    monkeypatch.setattr(Decoder, "feed", lambda self, ids, *rest: rows.append(len(ids)) or original(self, ids, *rest))
    episodes = play(model, groups)
    first = {outcome.transcript[0][0] for outcome in episodes.outcomes}
    assert 1 < len(first) < len(groups)
    assert rows[:2] == [len(first), len(groups)]
    assert len({o.transcript[0][1] for o in episodes.outcomes if o.seed == 5}) > 1  # each row draws for itself
    assert torch.allclose(episodes.logp_N, full_forward_logp(model, episodes), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", BY_HAND)
def test_the_generic_path_on_a_model_that_has_a_fast_one(name, monkeypatch):
    model = make_model(name)
    fast = play(model, SEEDS)
    monkeypatch.setattr(llama, "can_fold", lambda _: False)
    generic = play(model, SEEDS)
    assert torch.equal(generic.ids_ST, fast.ids_ST)
    assert torch.allclose(generic.logp_N, fast.logp_N, rtol=0, atol=1e-5)
    assert torch.allclose(generic.logp_N, full_forward_logp(model, generic), rtol=0, atol=1e-4)


def test_log_probs_are_those_of_the_sampling_temperature():
    model = make_model("llama")
    episodes = play(model, SEEDS, temperature=0.5)
    assert torch.allclose(episodes.logp_N, full_forward_logp(model, episodes, 0.5), rtol=0, atol=1e-4)
    assert not torch.allclose(episodes.logp_N, full_forward_logp(model, episodes, 1.0), rtol=0, atol=1e-2)


def test_greedy_takes_the_likeliest_token_every_time():
    model = make_model("llama")
    a, b = play(model, SEEDS, temperature=0), play(model, SEEDS, temperature=0)
    assert torch.equal(a.ids_ST, b.ids_ST)
    for s, length in enumerate(a.length_S.tolist()):
        best = model(input_ids=a.ids_ST[s, :length][None]).logits[0].argmax(-1)
        columns = a.column_N[a.sequence_N == s]
        assert torch.equal(best[columns - 1], a.ids_ST[s, columns])


def test_one_episode_alone_plays_as_it_does_among_others():
    """Greedy, so that the random stream does not matter: other rows and their padding leave no trace."""
    model = make_model("llama")
    together = play(model, SEEDS, temperature=0)
    for i, seed in enumerate(SEEDS):
        alone = play(model, [seed], temperature=0)
        length = int(alone.length_S[0])
        assert torch.equal(alone.ids_ST[0], together.ids_ST[i, :length])
        assert alone.outcomes[0] == together.outcomes[i]


@pytest.mark.parametrize("name", ["llama", "qwen3", "gpt2"])
def test_padding_on_the_right_changes_no_logit(name):
    policy = Policy(make_model(name))
    ids = torch.randint(5, 15, (3, 20), generator=torch.Generator().manual_seed(0))
    column = torch.tensor([3, 9, 19])
    narrow = policy(ids, torch.arange(3) * 20 + column).logits_NV
    for junk in (0, 7):
        wide_ids = torch.full((3, 50), junk)
        wide_ids[:, :20] = ids
        wide = policy(wide_ids, torch.arange(3) * 50 + column).logits_NV
        assert torch.allclose(wide, narrow, rtol=0, atol=1e-5)


def test_scoring_in_parts_changes_no_log_prob():
    model = make_model("llama", seed=1)
    batch = TokenBatch.of(play(make_model("llama"), SEEDS))
    whole = score(Policy(model), batch, "teacher", 1.0, None, 10**9)["teacher_logp"]
    for tokens in (1, 60, 150):
        parts = list(batch.parts(tokens))
        assert len(parts) > 1
        assert all(part.ids_ST.numel() <= max(tokens, part.ids_ST.shape[1]) for part in parts)
        in_parts = score(Policy(model), batch, "teacher", 1.0, None, tokens)["teacher_logp"]
        assert torch.allclose(in_parts, whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["llama", "llama-gqa", "gpt2"])
def test_a_row_that_is_fed_nothing_stays_where_it_is(name):
    """Rows of different lengths, a pause in one of them, buffers that grow, rows that leave."""
    model = make_model(name)
    generator = torch.Generator().manual_seed(1)
    texts = [torch.randint(5, 15, (n,), generator=generator).tolist() for n in (9, 30, 17)]
    with torch.inference_mode():
        decoder = decoder_for(Policy(model), rows=3, slots=4)
        got: dict[int, torch.Tensor] = {}
        fed = [0, 0, 0]
        rows = [0, 1, 2]
        for counts in ([2, 5, 3], [0, 4, 1], [7, 1, 0], [0, 20, 13]):
            width = max(counts)
            ids = torch.zeros(len(rows), width, dtype=torch.long)
            for i, (row, n) in enumerate(zip(rows, counts, strict=True)):
                ids[i, :n] = torch.tensor(texts[row][fed[row] : fed[row] + n])
                fed[row] += n
            logits = decoder.feed(ids, torch.tensor(counts), (min(counts), width))
            got |= {row: logits[i] for i, (row, n) in enumerate(zip(rows, counts, strict=True)) if n}
        assert fed == [9, 30, 17]
        for row, text in enumerate(texts):
            want = model(input_ids=torch.tensor([text])).logits[0, -1]
            assert torch.allclose(got[row], want, rtol=0, atol=1e-5)
        decoder.select(torch.tensor([2, 0]), longest=17)
        logits = decoder.feed(torch.tensor([[8], [9]]), torch.tensor([1, 1]), (1, 1))
        for got_row, text in zip(logits, ([*texts[2], 8], [*texts[0], 9]), strict=True):
            want = model(input_ids=torch.tensor([text])).logits[0, -1]
            assert torch.allclose(got_row, want, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen3", "gpt2"])
@pytest.mark.parametrize("seed", range(4))
def test_any_order_of_feeding_selecting_and_rewinding(name, seed):
    """A random walk, checked after every move. All rows alike at first: layouts without a mask count on that."""
    model = make_model(name)
    draw = random.Random(seed)
    with torch.inference_mode():
        decoder = decoder_for(Policy(model), rows=4, slots=8)
        texts: list[list[int]] = [[] for _ in range(4)]
        for move in range(14):
            if move > 5 and draw.random() < 0.3 and len(texts) > 1:
                kept = draw.sample(range(len(texts)), len(texts) - 1)
                texts = [texts[i] for i in kept]
                decoder.select(torch.tensor(kept), longest=max(map(len, texts)))
            if move > 3 and draw.random() < 0.3:
                row = draw.randrange(len(texts))
                texts[row] = texts[row][: draw.choice([0, len(texts[row]) // 2])]
                decoder.rewind(row, len(texts[row]))
            decoder.longest = max(map(len, texts))
            most = draw.randint(1, 6)
            counts = [most] * len(texts) if move < 4 else [draw.randint(0, most) for _ in texts]
            if max(counts) == 0:
                continue
            chunks = [[draw.randrange(2, 15) for _ in range(n)] for n in counts]
            ids = torch.tensor([[*chunk, *[0] * (max(counts) - len(chunk))] for chunk in chunks])
            logits = decoder.feed(ids, torch.tensor(counts), (min(counts), max(counts)))
            texts = [text + chunk for text, chunk in zip(texts, chunks, strict=True)]
            for row, (text, n) in enumerate(zip(texts, counts, strict=True)):
                if n:
                    want = model(input_ids=torch.tensor([text])).logits[0, -1]
                    assert torch.allclose(logits[row], want, rtol=0, atol=2e-5), (move, row)
