"""Models and tokenizers from directories and the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from atod_sweep.config.models import Pretrained
from atod_sweep.errors import UserError, first_line
from atod_sweep.paths import existing_model, local_model
from atod_sweep.training.models import adapters, identity
from atod_sweep.training.runtime import torch_dtype


def load_tokenizer(source: Pretrained | str | Path) -> Any:
    """The tokenizer of a model directory or hub id, with a padding token. Raises UserError."""
    source = source if isinstance(source, Pretrained) else Pretrained(path=str(source))
    if adapters.base_of(source) is not None:
        source = source.model_copy(update={"gguf_file": None})  # it lies beside the adapters
    tokenizer = _load(AutoTokenizer, source)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_config(source: Pretrained) -> Any:
    """What a model directory or hub id says of its shape. Raises UserError."""
    base = adapters.base_of(source)
    return _load(AutoConfig, source) if base is None else load_config(base)


def origin(source: Pretrained) -> list[str]:
    """Fingerprints of what lies at `source`, and of the base of adapters there; nothing is loaded. Raises UserError."""
    base = adapters.base_of(source)
    if base is not None:
        return [identity.fingerprint(source), *origin(base)]
    commit = None if local_model(source.path) else getattr(load_config(source), "_commit_hash", None)
    return [identity.fingerprint(source), *([commit] if commit else [])]


def load_model(source: Pretrained, dtype: torch.dtype | None = None) -> Any:
    """A causal LM from a directory or hub id, with its adapters if it has any, which can be trained on.

    `dtype`: instead of the source's. Raises UserError for one that is not there or cannot be loaded.
    """
    dtype = dtype or torch_dtype(source.dtype, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    base = adapters.base_of(source)
    if base is None:
        model = _load_whole(source, dtype)
        return model if source.lora is None else adapters.fresh(model, source.lora, source.revision)
    try:
        model = load_model(base, dtype)
    except UserError as error:
        raise UserError(f"{source.path!r} holds adapters, and their base is not to be had: {error}") from None
    return adapters.attached(model.merge_and_unload() if hasattr(model, "merge_and_unload") else model, source)


def _load_whole(source: Pretrained, dtype: torch.dtype) -> Any:
    kernel = {"attn_implementation": source.attn_implementation} if source.attn_implementation else {}
    model = _load(AutoModelForCausalLM, source, dtype=dtype, **kernel)
    model.config.use_cache = False
    if (quantizer := getattr(model, "hf_quantizer", None)) is not None and source.gguf_file is not None:
        quantizer.remove_quantization_config(model)  # GGUF weights are ordinary ones once loaded, and can be saved
    return model


def _load(loader: Any, source: Pretrained, **kwargs: Any) -> Any:
    folder = existing_model(source.path)
    if folder is not None and source.revision is not None:
        raise UserError(f"revision: {source.revision!r} is of a hub's model, and {source.path!r} is a folder; drop it")
    for key in ("gguf_file", "revision"):
        if (value := getattr(source, key)) is not None:
            kwargs[key] = value
    try:
        where = source.path if folder is None else str(folder.resolve())  # adapters remember it
        # Said outright: left open, transformers asks on the terminal whether to run code that the model brings
        return loader.from_pretrained(where, trust_remote_code=source.trust_remote_code, **kwargs)
    except (OSError, ValueError, ImportError) as error:
        reason = first_line(error)
        if "custom code" in reason:
            reason = (
                "it brings code of its own, which is not run unless it is allowed to; read that code, then set "
                "trust_remote_code: true, or use an architecture that transformers knows"
            )
        raise UserError(f"model {source.path!r} cannot be loaded: {reason}") from None
