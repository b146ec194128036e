"""What the tests of both TRL targets need: TRL itself, and models of a few numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

WORDS = ["<pad>", "<eos>", *(f"w{i}" for i in range(14))]
PROMPTS = [f"w{i} w{i + 1}" for i in range(12)]


def require_trl() -> Any:
    pytest.importorskip("datasets", reason="datasets is not installed (TRL needs it)")
    trl = pytest.importorskip("trl", reason="trl is not installed")
    if trl.__version__ != "1.16.0":
        pytest.skip(f"written for trl 1.16.0, found {trl.__version__}")
    return trl


def tiny(path: Path, seed: int) -> Path:
    """A two-layer Llama with a word-level tokenizer, saved."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(WORDS), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        pad_token_id=0, eos_token_id=1, bos_token_id=None,
    )  # fmt: skip
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    LlamaForCausalLM(config).save_pretrained(path)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>").save_pretrained(path)
    return path


def with_tools(inputs: dict[str, Any]) -> dict[str, Any]:
    """A batch of TRL's with two words of the model, one of a tool, and again: turns as a multi-turn run has them."""
    batch, length = inputs["completion_ids"].shape
    inputs["tool_mask"] = (torch.arange(length) % 3 != 2).int().expand(batch, -1).contiguous()
    return inputs
