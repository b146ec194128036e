"""Models and tokenizers from directories and the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from atod_sweep.config.train import Pretrained
from atod_sweep.errors import UserError
from atod_sweep.paths import local_model

transformers_logging.disable_progress_bar()  # hundreds of trials load models of a few megabytes


def load_tokenizer(path: str | Path, gguf_file: str | None = None) -> Any:
    """The tokenizer of a model directory or hub id, with a padding token. Raises UserError."""
    tokenizer = _load(AutoTokenizer, path, gguf_file)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(config: Pretrained, dtype: torch.dtype | None = None) -> Any:
    """A causal LM from a directory or hub id. Raises UserError for one that is not there or cannot be loaded."""
    dtype = dtype or getattr(torch, config.dtype)
    model = _load(AutoModelForCausalLM, config.path, config.gguf_file, dtype=dtype)
    model.config.use_cache = False
    if (quantizer := getattr(model, "hf_quantizer", None)) is not None and config.gguf_file is not None:
        quantizer.remove_quantization_config(model)  # GGUF weights are ordinary ones once loaded, and can be saved
    if config.lora is not None:
        model = with_lora(model, config)
    return model


def with_lora(model: Any, config: Pretrained) -> Any:
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise UserError("student.lora: needs the package peft; pip install 'atod-sweep[lora]'") from None
    assert config.lora is not None
    return get_peft_model(
        model,
        LoraConfig(
            r=config.lora.rank,
            lora_alpha=config.lora.alpha,
            target_modules=config.lora.target_modules,
            task_type="CAUSAL_LM",
        ),
    )


def _load(loader: Any, path: str | Path, gguf_file: str | None, **kwargs: Any) -> Any:
    folder = local_model(path)
    if folder is not None and not folder.is_dir():
        raise UserError(f"model directory {str(path)!r} does not exist; give a directory or a hub id")
    if gguf_file is not None:
        kwargs["gguf_file"] = gguf_file
    try:
        where = str(path if folder is None else folder)
        # Said outright: left open, transformers asks on the terminal whether to run code that the model brings
        return loader.from_pretrained(where, trust_remote_code=False, **kwargs)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        if "custom code" in reason:
            reason = "it brings code of its own, which is never run; use an architecture that transformers knows"
        raise UserError(f"model {str(path)!r} cannot be loaded: {reason}") from None
