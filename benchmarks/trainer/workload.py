"""The work that every contender does in one optimiser step, and how much arithmetic that is at least.

8 tasks x 8 rollouts of 8 turns each: an observation of 8 tokens, then an action of at most 4 sampled tokens. The
policies are random, so an action nearly always uses all 4, and a learning rate of 1e-6 leaves it that way: every step
costs the same. No episode ends early, which favours contenders that cannot drop finished episodes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import gymnasium
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

VOCABULARY = 256
PAD, END, OBS, ACT = "<pad>", "<end>", "<obs>", "<act>"
SPECIAL = (PAD, END, OBS, ACT)
PAD_ID, END_ID, OBS_ID, ACT_ID = range(4)
WORDS = tuple(f"w{i}" for i in range(VOCABULARY - len(SPECIAL)))
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
    """A Llama with an intermediate width of 3 x hidden."""

    hidden: int
    layers: int
    heads: int = 4

    @property
    def parameters(self) -> int:
        return 13 * self.hidden**2 * self.layers + (2 * self.layers + 1) * self.hidden + 2 * VOCABULARY * self.hidden


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


SIZES = {
    "small": Workload(Shape(64, 2), Shape(128, 4)),
    "large": Workload(Shape(128, 4), Shape(256, 4)),
}


def make_tokenizer() -> Any:
    """One token per word, split at spaces."""
    core = Tokenizer(models.WordLevel({word: i for i, word in enumerate((*SPECIAL, *WORDS))}, unk_token=PAD))
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
    """Random weights."""
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=shape.hidden,
        intermediate_size=3 * shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=MAX_POSITIONS,
        tie_word_embeddings=False,
        pad_token_id=PAD_ID,
        eos_token_id=END_ID,
        bos_token_id=None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    model.generation_config.pad_token_id, model.generation_config.eos_token_id = PAD_ID, END_ID
    return model


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
            seen.append(x % len(WORDS))
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
    linear = 2 * 13 * shape.hidden**2 * shape.layers * work.episodes * work.columns
    attention = 4 * shape.hidden * shape.layers * work.episodes * work.columns * (work.columns + 1) / 2
    return linear + attention + 2 * shape.hidden * VOCABULARY * head_tokens


def step_flops(work: Workload, teacher: bool) -> float:
    """Every token once through the student to generate it, three times for the update, once through the teacher."""
    generated = work.episodes * work.turns * ACTION_TOKENS
    flops = 4 * forward_flops(work.student, work, generated)
    return flops + (forward_flops(work.teacher, work, generated) if teacher else 0.0)
