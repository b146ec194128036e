"""A pass through a causal LM's own forward in which the LM head sees chosen positions only.

The model's forward runs as `transformers` wrote it, so whatever it does before and behind its head (scales, caps) is
done here too; a hook in front of the head picks the positions. Nothing is spent on the logits of the others.

Shapes: _B rows, _T or _L tokens per row, _N chosen positions of B x T, flattened, _C width of the head's input, _V ids.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

# What models call the cache that they take and give back: it changed with the versions, and with the kind of model.
CACHE_NAMES = ("cache", "past_key_values", "cache_params", "state")


def causal_lm(model: Any) -> Any:
    """The model itself, out of the wrapper that adapters come with (their layers stay in it)."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def cache_name(model: Any) -> str | None:
    """The argument under which the installed version's forward of this model takes a cache; None: under none."""
    taken = inspect.signature(model.forward).parameters
    return next((name for name in CACHE_NAMES if name in taken), None)


def takes(model: Any, argument: str) -> bool:
    """Whether the model's forward has an argument of this name."""
    return argument in inspect.signature(model.forward).parameters


def logits_at(model: Any, index_N: Tensor, **inputs: Any) -> tuple[Tensor, Tensor, Any]:
    """What enters the head (N, C), the logits (N, V) and the whole output at flat positions."""
    with _in_front_of_head(model, index_N) as entered:
        output = model(**inputs)
    return entered[0], output.logits[0], output


def hidden_at(model: Any, index_N: Tensor, **inputs: Any) -> Tensor:
    """What would enter the head at flat positions (N, C); the head itself is spared."""
    with _in_front_of_head(model, index_N, spare=True) as entered:
        model(**inputs)
    return entered[0]


@contextmanager
def _in_front_of_head(model: Any, index_N: Tensor, spare: bool = False) -> Iterator[list[Tensor]]:
    entered: list[Tensor] = []

    def choose(_: Any, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden_NC = args[0].flatten(0, -2).index_select(0, index_N)
        entered.append(hidden_NC)
        return ((hidden_NC[:0] if spare else hidden_NC)[None], *args[1:])

    hook = model.get_output_embeddings().register_forward_pre_hook(choose)
    try:
        yield entered
    finally:
        hook.remove()
