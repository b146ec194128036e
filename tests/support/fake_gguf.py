"""A random Llama in a GGUF file, with a byte-level tokenizer inside it, as llama.cpp's tools write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tokenizers import pre_tokenizers

HIDDEN, INNER, LAYERS, HEADS = 32, 48, 1, 2
SPECIAL = ["<pad>", "<end>"]
TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}{{ m['content'] }}<end>\n"
    "{% else %}{{ m['content'] }}\n{% endif %}{% endfor %}"
)


def write_gguf(folder: Path) -> str:
    """Write `folder`/tiny.gguf; returns the file's name."""
    gguf = pytest.importorskip("gguf", reason="needs the package gguf")
    folder.mkdir(parents=True)
    words = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet()), "th"]
    writer = gguf.GGUFWriter(folder / "tiny.gguf", "llama")
    writer.add_block_count(LAYERS)
    writer.add_context_length(512)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    writer.add_vocab_size(len(words))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(words)
    writer.add_token_types([3, 3] + [1] * (len(words) - 2))
    writer.add_token_merges(["t h"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(1)
    writer.add_pad_token_id(0)
    writer.add_chat_template(TEMPLATE)
    shapes = {
        "token_embd": (len(words), HIDDEN),
        "output": (len(words), HIDDEN),
        "output_norm": (HIDDEN,),
    }
    for layer in range(LAYERS):
        shapes |= {f"blk.{layer}.attn_{part}": (HIDDEN, HIDDEN) for part in ("q", "k", "v", "output")}
        shapes |= {f"blk.{layer}.{part}_norm": (HIDDEN,) for part in ("attn", "ffn")}
        shapes |= {f"blk.{layer}.ffn_{part}": (INNER, HIDDEN) for part in ("gate", "up")}
        shapes[f"blk.{layer}.ffn_down"] = (HIDDEN, INNER)
    draw = np.random.default_rng(0)
    for name, shape in shapes.items():
        drawn = draw.normal(1.0 if len(shape) == 1 else 0.0, 0.2, shape).astype(np.float32)
        writer.add_tensor(f"{name}.weight", drawn)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return "tiny.gguf"
