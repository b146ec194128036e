"""Tiny random models of real architectures, and a tokenizer for them: what the table of architectures is measured on.

Windows, chunks and original lengths are so short that a conversation passes them; dropout is on where released models
have it on; weights are three times their usual size, so that attention decides what is said.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import gymnasium
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from atod_sweep.config.train import Env
from atod_sweep.envs import registry

ENV = Env(id="benchmarks.tiny_models:Chatter", horizon=6)
STOP = ["e", "t"]  # so that actions of a random model differ in length
WIDTH = 768  # of the models' vocabulary: the tokenizer has fewer ids, as real ones have
POSITIONS = 1024
LOUDER = 3.0
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SIZES: Mapping[str, Any] = {
    "vocab_size": WIDTH,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": POSITIONS,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 1,
}


@dataclass(frozen=True)
class Tiny:
    """A model type of `transformers` and what is special about this one's config."""

    kind: str
    config: Mapping[str, Any] = field(default_factory=dict)


def _with(**config: Any) -> dict[str, Any]:
    return config


_EXPERTS = _with(num_experts=4, num_local_experts=4, num_experts_per_tok=2, moe_intermediate_size=32)
_LINEAR = _with(
    num_hidden_layers=4,
    linear_num_value_heads=4,
    linear_num_key_heads=2,
    linear_key_head_dim=16,
    linear_value_head_dim=16,
)
_LATENT = _with(q_lora_rank=16, kv_lora_rank=16, qk_rope_head_dim=8, qk_nope_head_dim=8, v_head_dim=16)


def _rope(kind: str, **more: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 1e4, **more}}


TINY: Mapping[str, Tiny] = {
    # ---- Llama and its kin
    "llama (GQA)": Tiny("llama"),
    "llama (MHA)": Tiny("llama", _with(num_key_value_heads=4)),
    "llama (tied head)": Tiny("llama", _with(tie_word_embeddings=True)),
    "llama (llama3 RoPE)": Tiny(
        "llama",
        _rope("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64),
    ),
    "llama (dynamic RoPE)": Tiny("llama", _rope("dynamic", factor=2.0) | _with(max_position_embeddings=128)),
    "llama (yarn RoPE)": Tiny("llama", _rope("yarn", factor=4.0, original_max_position_embeddings=256)),
    "qwen2": Tiny("qwen2"),
    "qwen2 (sliding layers)": Tiny(
        "qwen2", _with(use_sliding_window=True, sliding_window=64, max_window_layers=2, num_hidden_layers=4)
    ),
    "qwen3": Tiny("qwen3"),
    "qwen3-moe": Tiny("qwen3_moe", _EXPERTS),
    "mistral": Tiny("mistral", _with(sliding_window=None)),
    "mistral (window)": Tiny("mistral", _with(sliding_window=64)),
    "mixtral": Tiny("mixtral", _EXPERTS | _with(router_jitter_noise=0.1)),
    "ministral": Tiny("ministral", _with(sliding_window=64, layer_types=["full_attention", "sliding_attention"])),
    "minimax-m2": Tiny("minimax_m2", _EXPERTS | _with(rotary_dim=8)),
    "deepseek-v2": Tiny(
        "deepseek_v2",
        _LATENT
        | _with(n_routed_experts=4, num_experts_per_tok=2, moe_intermediate_size=32, n_shared_experts=1)
        | _with(n_group=1, topk_group=1, first_k_dense_replace=1, num_key_value_heads=4, head_dim=8),
    ),
    "deepseek-v3": Tiny(
        "deepseek_v3",
        _LATENT
        | _with(n_routed_experts=4, num_experts_per_tok=2, moe_intermediate_size=32, n_shared_experts=1)
        | _with(n_group=1, topk_group=1, first_k_dense_replace=1, num_key_value_heads=4, head_dim=8),
    ),
    "smollm3": Tiny("smollm3", _with(num_hidden_layers=4)),
    "smollm3 (window)": Tiny("smollm3", _with(num_hidden_layers=4, use_sliding_window=True, sliding_window=64)),
    "granite": Tiny("granite"),
    "granite (scaled logits)": Tiny(
        "granite", _with(logits_scaling=8.0, embedding_multiplier=12.0, residual_multiplier=0.22)
    ),
    "olmo": Tiny("olmo", _with(clip_qkv=2.0)),
    "olmo2": Tiny("olmo2"),
    "olmo3": Tiny("olmo3", _with(sliding_window=64, num_hidden_layers=4)),
    "stablelm": Tiny("stablelm", _with(hidden_dropout=0.1, attention_dropout=0.1)),
    "glm": Tiny("glm"),
    "glm4": Tiny("glm4"),
    "ernie4.5": Tiny("ernie4_5"),
    "hunyuan": Tiny("hunyuan_v1_dense"),
    "apertus": Tiny("apertus"),
    "arcee": Tiny("arcee"),
    "seed-oss": Tiny("seed_oss", _with(attention_dropout=0.1, residual_dropout=0.1)),
    "helium": Tiny("helium"),
    "nemotron": Tiny("nemotron"),
    # ---- windows, scaled and soft-capped logits
    "gemma": Tiny("gemma"),
    "gemma2": Tiny("gemma2", _with(sliding_window=64)),
    "gemma3": Tiny("gemma3_text", _with(sliding_window=64, num_hidden_layers=6)),
    "phi": Tiny("phi", _with(resid_pdrop=0.1)),
    "phi3": Tiny("phi3", _with(sliding_window=None)),
    "phi3 (window)": Tiny("phi3", _with(sliding_window=64, resid_pdrop=0.1)),
    "phi3 (longrope)": Tiny(
        "phi3",
        _with(sliding_window=None, original_max_position_embeddings=128)
        | _rope("longrope", short_factor=[1.0] * 8, long_factor=[4.0] * 8, original_max_position_embeddings=128),
    ),
    "starcoder2": Tiny("starcoder2", _with(sliding_window=None)),
    "starcoder2 (window)": Tiny("starcoder2", _with(sliding_window=64, residual_dropout=0.1)),
    "cohere": Tiny("cohere"),
    "cohere2": Tiny("cohere2", _with(sliding_window=64, num_hidden_layers=4)),
    "exaone4": Tiny("exaone4", _with(sliding_window=64, num_hidden_layers=4)),
    "llama4": Tiny(
        "llama4_text",
        _with(attention_chunk_size=64, num_local_experts=2, intermediate_size_mlp=96, num_hidden_layers=4),
    ),
    "gpt-oss": Tiny("gpt_oss", _EXPERTS | _with(sliding_window=64) | _rope("default")),
    # ---- older ones: learned or relative positions, dropout
    "gpt2": Tiny("gpt2"),
    "gpt2 (overflow)": Tiny("gpt2", _with(max_position_embeddings=128)),
    "gptj": Tiny("gptj", _with(rotary_dim=8)),
    "gpt-neox": Tiny("gpt_neox", _with(hidden_dropout=0.1, attention_dropout=0.1)),
    "gpt-neo": Tiny(
        "gpt_neo", _with(num_layers=2, num_heads=4, attention_types=[[["global", "local"], 1]], window_size=64)
    ),
    "codegen": Tiny("codegen", _with(rotary_dim=8)),
    "gpt-bigcode": Tiny("gpt_bigcode"),
    "opt": Tiny("opt", _with(ffn_dim=96, word_embed_proj_dim=64)),
    "bloom": Tiny("bloom", _with(n_head=4, n_layer=2, hidden_dropout=0.1, attention_dropout=0.1)),
    "falcon": Tiny("falcon", _with(hidden_dropout=0.1, attention_dropout=0.1)),
    "falcon (alibi)": Tiny("falcon", _with(alibi=True, new_decoder_architecture=False)),
    "mpt": Tiny("mpt", _with(d_model=64, n_heads=4, n_layers=2, max_seq_len=POSITIONS)),
    # ---- hybrid and recurrent
    "lfm2": Tiny("lfm2", _with(num_hidden_layers=3, layer_types=["conv", "full_attention", "conv"])),
    "qwen3-next": Tiny("qwen3_next", _LINEAR | _EXPERTS | _with(shared_expert_intermediate_size=32)),
    "qwen3.5": Tiny("qwen3_5_text", _LINEAR),
    "falcon-h1": Tiny(
        "falcon_h1", _with(mamba_d_ssm=64, mamba_n_heads=4, mamba_d_head=16, mamba_n_groups=1, mamba_d_state=16)
    ),
    "granite-hybrid": Tiny(
        "granitemoehybrid",
        _with(layer_types=["linear_attention", "full_attention"], mamba_n_heads=8, mamba_d_state=16, mamba_d_head=16)
        | _with(num_local_experts=0, shared_intermediate_size=96, logits_scaling=4.0),
    ),
    "jamba": Tiny(
        "jamba",
        _with(num_experts=2, num_hidden_layers=4, attn_layer_period=2, attn_layer_offset=1, mamba_d_state=8),
    ),
    "recurrent-gemma": Tiny("recurrent_gemma", _with(num_hidden_layers=3, attention_window_size=64)),
    "mamba": Tiny("mamba"),
    "mamba2": Tiny("mamba2", _with(num_heads=8, state_size=16, n_groups=1)),
    "rwkv": Tiny("rwkv", _with(context_length=POSITIONS)),
}


def make(name: str, seed: int = 0) -> Any:
    """The model `name` of the table, random."""
    tiny = TINY[name]
    known = AutoConfig.for_model(tiny.kind)
    settable = {key for key in SIZES if hasattr(known, key) and not isinstance(getattr(type(known), key, 0), property)}
    given = {key: value for key, value in SIZES.items() if key in settable} | dict(tiny.config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(tiny.kind, **given))
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() > 1:
                    parameter.mul_(LOUDER)
    return model.eval()


def save(name: str, folder: Path, seed: int = 0) -> Path:
    """The model and the tokenizer as a directory in `folder`."""
    path = folder / name.replace(" ", "-").replace("(", "").replace(")", "")
    make(name, seed).save_pretrained(path)
    tokenizer().save_pretrained(path)
    return path


def tokenizer() -> Any:
    """Byte-level BPE learned from what an environment says, with a ChatML template."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    special = [AddedToken(text, special=True) for text in ("<|pad|>", "<|im_end|>", "<|im_start|>")]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(
        sentences(), trainers.BpeTrainer(vocab_size=700, special_tokens=special, initial_alphabet=alphabet)
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<|pad|>", eos_token="<|im_end|>", chat_template=CHATML
    )


def widened(vocabulary: int) -> Any:
    """The same with as many words as a large model's, which nobody says."""
    wide = tokenizer()
    data = json.loads(wide.backend_tokenizer.to_str())
    data["model"]["vocab"] |= {f"<word {i}>": i for i in range(len(wide), vocabulary)}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(data)),
        pad_token="<|pad|>",
        eos_token="<|im_end|>",
        chat_template=CHATML,
    )


@cache
def sentences() -> tuple[str, ...]:
    """What the support desk says while its demonstrator works."""
    env = registry.make(Env(id="support_desk", horizon=6, kwargs={"style": "natural"}))
    texts = []
    for seed in range(60):
        texts.append(env.reset(seed=seed, options={"split": "train"})[0])
        over = False
        while not over:
            action = env.unwrapped.demonstrator_action()
            observation, _, terminated, truncated, _ = env.step(action)
            texts += [action, observation]
            over = terminated or truncated
    return tuple(texts)


class Chatter(gymnasium.Env[str, str]):
    """Says sentences of very different lengths, whatever it hears, for two turns to `horizon`."""

    def __init__(self, horizon: int) -> None:
        self.horizon = horizon

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        self._random = random.Random(seed)
        self._left = 2 + (seed or 0) % (self.horizon - 1)
        return self._say(), {}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        self._left -= 1
        over = self._left == 0
        return self._say(), float(len(action) % 2), over, False, {"success": 0.0, "metrics": {}} if over else {}

    def _say(self) -> str:
        said = " ".join(self._random.choices(sentences(), k=3))
        return said[: self._random.randrange(300)]
