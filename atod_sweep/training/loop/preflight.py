"""What training would say about a model, and about its teacher, before a config is written."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import torch

from atod_sweep.config.models import Pretrained
from atod_sweep.config.rollout import Rollout
from atod_sweep.errors import UserError
from atod_sweep.training.loop.cast import Voice
from atod_sweep.training.models import limits, vocabulary

WAYS = {
    "batch": "all rows in one batch",
    "rows": "one row at a time (slow)",
    "tokens": "one row, and one token, at a time (slow)",
}


def lines(source: Pretrained, teacher: Pretrained | None) -> Iterator[str]:
    """One fact a line. Raises UserError, as training would, for a model or a pair that cannot be trained."""
    voice = yield from _model("student", source)
    if teacher is None:
        return
    other = yield from _model("teacher", teacher)
    kinship = vocabulary.kinship(voice.tokenizer, other.tokenizer)
    compared = min(vocabulary.words(voice.tokenizer), vocabulary.words(other.tokenizer))
    if kinship == "other":
        raise UserError(
            f"{teacher.path}: has another vocabulary than {source.path}, so their token probabilities cannot be "
            "compared; use a teacher of the same family, or learn from its text: objective.kind: sft, or relabel"
        )
    yield f"compared   {compared} ids" + ("" if kinship == "same" else ", which both have; the rest is one tail")


def _model(role: str, source: Pretrained) -> Generator[str, None, Voice]:
    voice = Voice.load(role, source, Rollout())
    policy = voice.policy(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    model = voice.model
    yield f"{role:10} {source.path}: {type(model).__name__}, {model.num_parameters() / 1e6:.1f} M, {source.dtype}"
    yield f"context    {limits.positions(model)} tokens"
    yield f"ids        {vocabulary.words(voice.tokenizer)} of {policy.head.weight.shape[0]} logits"
    found = voice.checked(policy)
    if found is None:
        yield "passes     hand-written for small models of its kind"
    else:
        yield f"rollout    {WAYS[found.decoding]}; {found.rollout:.1e} nats from its plain forward"
        yield f"update     {found.update:.1e} nats from its plain forward ({found.tokens} tokens)"
    return voice
