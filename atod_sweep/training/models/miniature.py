"""A small random model of a model's own config, to try what its code does past its windows."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

import torch
from transformers import AutoModelForCausalLM

WORDS = 512
WINDOW = 16  # tokens
LOUDER = 3.0  # weights at their usual size would hardly let attention decide anything


def miniature(model: Any) -> Any:
    """A random copy in float32, as shallow as its kinds of layers allow, with short windows; in evaluation mode."""
    config = copy.deepcopy(model.config.get_text_config())
    _shorten_windows(config)
    _shrink_vocabulary(config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    # The text part of a model of images and texts is a model of another class.
    make = type(model)._from_config if type(config) is type(model.config) else AutoModelForCausalLM.from_config
    try:
        small = _random(make, _shallow(copy.deepcopy(config)))
    except Exception:  # models say their depth in ways of their own: then it is kept
        small = _random(make, config)
    return small.to(model.device)


def _shallow(config: Any) -> Any:
    """The first layer of each kind, at least two."""
    depth = config.num_hidden_layers
    kinds = getattr(config, "layer_types", None) or [""] * depth
    firsts = [kinds.index(kind) for kind in dict.fromkeys(kinds)]
    chosen = sorted(firsts if len(firsts) > 1 else range(min(2, depth)))
    for key, value in config.to_dict().items():
        if isinstance(value, list) and len(value) == depth:
            setattr(config, key, [value[i] for i in chosen])
    config.num_hidden_layers = len(chosen)
    return config


def _shorten_windows(config: Any) -> None:
    for key, value in config.to_dict().items():
        is_window = re.search(r"(?<!use_sliding_)window(_size)?$|attention_chunk_size$", key)
        if is_window and isinstance(value, int) and value > WINDOW:
            setattr(config, key, WINDOW)


def _shrink_vocabulary(config: Any) -> None:
    config.vocab_size = min(config.vocab_size, WORDS)
    for key, value in config.to_dict().items():
        if key.endswith("token_id") and isinstance(value, int) and value >= config.vocab_size:
            setattr(config, key, None)


def _random(make: Callable[..., Any], config: Any) -> Any:
    own = config._attn_implementation
    kernel = {"attn_implementation": own} if own in ("sdpa", "eager") else {}  # fused ones have no float32
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = make(config, dtype=torch.float32, **kernel)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() > 1:
                    parameter.mul_(LOUDER)
    return model.eval()
