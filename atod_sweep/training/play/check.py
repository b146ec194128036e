"""Before a model plays or scores: does what we compute with it agree with the model's own plain forward?

Conversations of several rows, that grow by chunks and tokens at different lengths, are decoded through a cache, and the
update's forward is taken twice in training mode; both are held against one unpadded sequence at a time, in evaluation
mode and without a cache. That is done on the model itself, and on a random copy of its config with two layers and short
windows, in float32, which tells what rounding hides and reaches past every window. The first way of decoding that
agrees is the one to take; a model for which none does is refused. What has passed is remembered, file by file.

Compact models have hand-written passes of their own, which tests compare with `transformers`.
"""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, get_args

import torch
import transformers
from torch import Tensor

from atod_sweep.config.base import content_hash
from atod_sweep.errors import UserError
from atod_sweep.paths import cache_dir
from atod_sweep.training.models import passes
from atod_sweep.training.models.limits import positions
from atod_sweep.training.models.miniature import miniature
from atod_sweep.training.models.policy import Decoding, Policy
from atod_sweep.training.play.decoders import decoder_for

TOKENS = 256  # of all rows together
SHARES = (0.5, 0.3, 0.2)  # of them, by row
# What may differ, in nats: the mean over positions of the expected |difference| of log-probs under the plain forward.
TOLERANCE = {torch.float32: 1e-3, torch.float16: 0.05, torch.bfloat16: 0.1}
VERSION = 2  # of this check: a change of it makes all models be looked at again


@dataclass(frozen=True)
class SelfCheck:
    """How a model decodes, and by how much (nats) the two passes differ from its plain forward."""

    decoding: Decoding
    rollout: float
    update: float
    tokens: int


def admit(policy: Policy, name: str, identity: str) -> SelfCheck | None:
    """Choose how `policy` decodes; None for compact models, which need no check. Raises UserError if nothing agrees.

    `name` is what the user calls the model, `identity` tells its files from others under that name.
    """
    if policy.compact:
        return None
    model = passes.causal_lm(policy.model)
    made_of = [VERSION, transformers.__version__, torch.__version__, identity, policy.model is model, policy.words]
    made_of += [str(model.dtype), policy.device.type, model.config._attn_implementation]
    path = cache_dir() / "checks" / f"{content_hash(made_of)}.json"
    if path.is_file():
        verdict = SelfCheck(**json.loads(path.read_text(encoding="utf-8")))
    else:
        try:
            verdict = examine(policy)
        except Disagrees as reason:
            raise UserError(f"{name}: {type(model).__name__} is not supported: {reason}; take another model") from None
        path.parent.mkdir(parents=True, exist_ok=True)
        staging = path.with_name(f".{path.name}-{uuid.uuid4().hex}")  # several trials may check one model
        staging.write_text(json.dumps(asdict(verdict)), encoding="utf-8")
        staging.rename(path)
    policy.decoding = verdict.decoding
    return verdict


class Disagrees(Exception):
    """Why a model is refused, in one line."""


def examine(policy: Policy) -> SelfCheck:
    """What `admit` remembers. Raises Disagrees."""
    small = Policy(miniature(passes.causal_lm(policy.model)), by_hand=False)  # the model is too large for that
    way = _examine(small, get_args(Decoding)).decoding
    ways = get_args(Decoding)
    return _examine(policy, ways[ways.index(way) :])


def _examine(policy: Policy, ways: tuple[Decoding, ...]) -> SelfCheck:
    rows, training = _conversations(policy), policy.training
    try:
        policy.eval()  # without the dropout that adapters may have
        with torch.no_grad():
            want = _tried("its plain forward", lambda: _plain(policy, rows))
            update = _update_gap(policy, rows, want)
            way, rollout = _first_that_agrees(policy, rows, want, ways)
    finally:
        policy.train(training)
    return SelfCheck(way, rollout, update, sum(map(len, rows)))


# ---- what is compared --------------------------------------------------------------------------------------------


def _conversations(policy: Policy) -> list[list[int]]:
    """Ids of rows of different lengths, none of them special."""
    model = passes.causal_lm(policy.model)
    config = model.config.get_text_config()
    words = min(policy.words or config.vocab_size, config.vocab_size)
    named = [value for key, value in config.to_dict().items() if key.endswith(("token_id", "token_index"))]
    special = {i for value in named for i in (value if isinstance(value, list) else [value])}
    plain = [i for i in range(words) if i not in special]
    draw = random.Random(0)
    total = min(TOKENS, 2 * positions(model))
    return [draw.choices(plain, k=int(share * total)) for share in SHARES]


def _plain(policy: Policy, rows: list[list[int]]) -> list[Tensor]:
    """Log-probs (T, V) of each row, as the model itself computes them."""
    model = passes.causal_lm(policy.model)
    found = []
    for ids in rows:
        logits = model(input_ids=torch.tensor([ids], device=policy.device), use_cache=False).logits[0]
        found.append(policy.known(logits).float().log_softmax(-1))
    return found


def _update_gap(policy: Policy, rows: list[list[int]], want: list[Tensor]) -> float:
    """Gap of two training passes over the padded rows, whichever is larger. Raises Disagrees."""
    width = max(map(len, rows))
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows], device=policy.device)
    index = torch.cat([torch.arange(len(row)) + i * width for i, row in enumerate(rows)]).to(policy.device)
    policy.train()
    for name, module in policy.named_modules():
        if "lora_dropout" in name:  # wanted, and no fault of the forward's
            module.eval()
    twice = [_tried("the update's forward", lambda: policy(ids, index).logits_NV.log_softmax(-1)) for _ in range(2)]
    gap = max(_gap(have, torch.cat(want)) for have in twice)
    if not gap <= _tolerance(policy):
        raise Disagrees(f"the update's forward differs from the plain one by {gap:.2g} nats")
    return gap


def _first_that_agrees(
    policy: Policy, rows: list[list[int]], want: list[Tensor], ways: tuple[Decoding, ...]
) -> tuple[Decoding, float]:
    policy.eval()
    reasons = []
    for way in ways:
        policy.decoding = way
        try:
            gap = _tried(f"by {way} it", lambda: _decoding_gap(policy, rows, want))
        except Disagrees as reason:
            reasons.append(str(reason))
            continue
        if gap <= _tolerance(policy):
            return way, gap
        reasons.append(f"by {way} it differs by {gap:.2g} nats")
    raise Disagrees(f"cached decoding disagrees with the plain forward: {'; '.join(reasons)}")


def _decoding_gap(policy: Policy, rows: list[list[int]], want: list[Tensor]) -> float:
    """Feed the rows by chunks and tokens, drop, double, reorder, rewind and restart some on the way."""
    decoder, device = decoder_for(policy, len(rows), slots=8), policy.device
    have: list[Tensor] = []
    asked: list[Tensor] = []
    kept = list(range(len(rows)))  # which of `rows` each of the decoder's is
    fed = [0] * len(rows)

    def feed(counts: list[int]) -> None:
        counts = [min(n, len(rows[r]) - f) for n, r, f in zip(counts, kept, fed, strict=True)]
        if max(counts) == 0:
            return
        chunks = [rows[r][f : f + n] for n, r, f in zip(counts, kept, fed, strict=True)]
        width = max(counts)
        ids = torch.tensor([chunk + [0] * (width - len(chunk)) for chunk in chunks], device=device)
        logits = decoder.feed(ids, torch.tensor(counts, device=device), (min(counts), width))
        for i, n in enumerate(counts):
            fed[i] += n
            if n:
                have.append(logits[i])
                asked.append(want[kept[i]][fed[i] - 1])

    def keep(places: list[int]) -> None:
        nonlocal kept, fed
        kept, fed = [kept[p] for p in places], [fed[p] for p in places]
        decoder.select(torch.tensor(places, device=device), max(fed))

    longest = max(map(len, rows))
    feed([longest // 8, longest // 3, longest // 16])
    for going in ([1, 1, 1], [1, 0, 1], [0, 0, 1]):
        feed(going)
    feed([longest // 4, longest // 16, longest // 8])
    keep([1, 0, 0, 2])
    feed([1, 1, 1, 1])
    for row, length in ((1, 0), (2, fed[2] // 2 if policy.decoding == "batch" else 0)):
        decoder.rewind(row, length)
        fed[row] = length
    decoder.longest = max(fed)
    feed([2, longest // 2, longest // 8, 3])
    keep([2, 1])
    feed([1, 0])
    feed([longest, longest])
    return _gap(torch.stack(have).log_softmax(-1), torch.stack(asked))


def _gap(have_NV: Tensor, want_NV: Tensor) -> float:
    """Mean over positions of the expected |difference| of log-probs."""
    return float((want_NV.exp() * (have_NV - want_NV).abs()).sum(-1).mean())


def _tolerance(policy: Policy) -> float:
    return TOLERANCE.get(policy.model.dtype, TOLERANCE[torch.float32])


def _tried(what: str, call: Callable[[], Any]) -> Any:
    """The call's result; whatever it raises becomes Disagrees: models fail in ways of their own."""
    try:
        return call()
    except Exception as error:
        told = str(error).strip().splitlines() or [""]
        raise Disagrees(f"{what} fails with {type(error).__name__}: {told[0][:200]}") from error
