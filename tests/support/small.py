"""Small models, episodes and configs that the trainer's tests share."""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from atod_sweep.config.base import validate, with_overrides
from atod_sweep.config.train import Env, Train
from atod_sweep.envs.batch import Batch
from atod_sweep.training.models import compact
from atod_sweep.training.models.policy import Policy
from atod_sweep.training.play import episodes
from atod_sweep.training.play.conversation import conversation_for
from atod_sweep.training.play.episodes import Player
from atod_sweep.training.play.outcomes import Episodes, Limits
from atod_sweep.training.play.shares import ALONE, Share
from atod_sweep.training.teachers.local import LocalTeacher

ECHO = "echo_env:Echo"

BASE: dict[str, Any] = {
    "env.id": ECHO,
    "env.horizon": 3,
    "student.hidden": 16,
    "student.layers": 1,
    "student.heads": 2,
    "student.recipe.steps": 100,
    "student.recipe.episodes": 16,
    "student.recipe.lr": 0.02,
    "student.recipe.success": [0.05, 1.0],  # reached after 20 steps
    "teacher.hidden": 16,
    "teacher.layers": 1,
    "teacher.heads": 2,
    "teacher.recipe.steps": 30,
    "teacher.recipe.episodes": 16,
    "teacher.recipe.lr": 0.03,
    "rollout.tasks": 2,
    "rollout.group_size": 4,
    "optimiser.lr": 0.01,
    "optimiser.warmup_steps": 2,
    "evaluation.tasks": 8,
    "evaluation.every": 2,
    "runtime.device": "cpu",
    "steps": 4,
    "checkpoint_every": 1,
    "diagnostics_every": 3,
}


def tiny(**overrides: Any) -> Train:
    """A config whose run takes a fraction of a second; dots in keys are written as two underscores."""
    given = {key.replace("__", "."): value for key, value in overrides.items()}
    base = with_overrides(Train, Train().model_dump(mode="json"), BASE)
    return validate(Train, with_overrides(Train, base, given), "tiny")


def scored_by(policy: Any) -> LocalTeacher:
    """A teacher that is here, and is never asked to play."""
    return LocalTeacher(policy, None, None, True)


def tokenizer() -> Any:
    """The word-level tokenizer of the Echo environment: 15 ids, <end> is 1."""
    from echo_env import Echo

    return compact.make_tokenizer(Echo().vocabulary())


SIZES: dict[str, Any] = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None}
LLAMA = SIZES | {
    "vocab_size": 15,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 256,
    "initializer_range": 0.3,  # so that attention matters
    "tie_word_embeddings": False,
}


KINDS: dict[str, Any] = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "mistral": (MistralConfig, MistralForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
}
# Models of Llama's kind, as changes of LLAMA: with shared keys and values, biases, norms of queries and keys.
KIN: tuple[dict[str, Any], ...] = (
    {"num_key_value_heads": 2},
    {"num_key_value_heads": 1, "head_dim": 8},
    {"kind": "mistral", "num_key_value_heads": 2, "sliding_window": None},
    {"kind": "qwen2", "num_key_value_heads": 2},
    {"kind": "qwen2"},
    {"kind": "qwen3", "num_key_value_heads": 2, "head_dim": 8},
    {"kind": "qwen3", "num_key_value_heads": 4, "head_dim": 4, "attention_bias": False},
)


@torch.no_grad()
def unlike_the_start(model: Any) -> Any:
    """Norm scales of 1 and biases of 0 would hide what is folded into the wrong place."""
    for name, parameter in model.named_parameters():
        if "norm" in name:
            parameter.uniform_(0.5, 2.0)
        elif name.endswith("bias"):
            parameter.normal_(0.0, 0.3)
    return model


def make_model(name: str, seed: int = 0, vocabulary: int = 15) -> Any:
    """A random model of one of the architectures under test, its end token likelier than the others."""
    torch.manual_seed(seed)
    llama, sizes = LLAMA | {"vocab_size": vocabulary}, SIZES | {"vocab_size": vocabulary}
    match name:
        case "llama":
            model = LlamaForCausalLM(LlamaConfig(**llama))
        case "llama-gqa":
            model = LlamaForCausalLM(LlamaConfig(**llama | {"num_key_value_heads": 2}))
        case "mistral":
            model = MistralForCausalLM(MistralConfig(**llama | {"num_key_value_heads": 1}, sliding_window=None))
        case "qwen2":
            model = Qwen2ForCausalLM(Qwen2Config(**llama | {"num_key_value_heads": 2}))
        case "llama-biased":  # behind the attention, too: no fast path
            model = LlamaForCausalLM(LlamaConfig(**llama, attention_bias=True))
        case "llama3-rope":  # no fast path
            rope = {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4}
            model = LlamaForCausalLM(LlamaConfig(**llama, rope_parameters=rope))
        case "qwen3":
            model = Qwen3ForCausalLM(Qwen3Config(**llama | {"num_key_value_heads": 1}, head_dim=8))
        case "gpt2":
            sizes |= {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 256, "initializer_range": 0.3}
            model = GPT2LMHeadModel(GPT2Config(**sizes))
        case _:
            raise AssertionError(name)
    for parameter in model.parameters():  # biases and norms away from their neutral start
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter, 1.0 if parameter.mean() == 1 else 0.0, 0.3)
    head = torch.nn.Linear(16, vocabulary)
    torch.nn.init.normal_(head.weight, 0.0, 0.3)
    with torch.no_grad():
        head.bias.zero_()[1] = 2.0
    model.set_output_embeddings(head)
    model.config.use_cache = False
    return model.eval()


def play(
    model: Any,
    seeds: list[int],
    horizon: int = 4,
    temperature: float = 1.0,
    action_tokens: int = 4,
    context: int = 256,
    bootstrap: bool = False,
    share: Share = ALONE,
) -> Episodes:
    """Echo episodes of a model, sampled with a fixed generator."""
    conversation = conversation_for(tokenizer(), chat_template=True, stop_strings=[])
    player = Player(Batch(Env(id=ECHO, horizon=horizon), len(seeds)), conversation, Limits(action_tokens, context))
    generator = torch.Generator().manual_seed(5)
    return player.play(Policy(model), seeds, "train", temperature, generator, bootstrap, share=share)


@torch.no_grad()
def full_forward_logp(model: Any, episodes: Episodes, temperature: float = 1.0) -> torch.Tensor:
    """Log-probs of the generated tokens, one unpadded sequence at a time through transformers' own forward."""
    logp = []
    for s, length in enumerate(episodes.length_S.tolist()):
        ids = episodes.ids_ST[s, :length]
        logp_TV = (model(input_ids=ids[None]).logits[0] / temperature).log_softmax(-1)
        for column in episodes.column_N[episodes.sequence_N == s].tolist():
            logp.append(logp_TV[column - 1, ids[column]])
    return torch.stack(logp)


def follow(monkeypatch: Any, tokens: list[list[int]]) -> None:
    """Make the player sample these ids, decoding step by decoding step, row by row."""
    script = iter(tokens)

    def sample(logits_BV: torch.Tensor, temperature: float, _: torch.Tensor | None) -> Any:
        token_B = torch.tensor(next(script))
        return token_B, logits_BV.log_softmax(-1).gather(1, token_B[:, None])[:, 0]

    monkeypatch.setattr(episodes, "sample", sample)
