"""A Hugging Face causal LM as a policy: logits and values at chosen positions only, nothing spent on the others."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, overload

import torch
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer

from atod_sweep.errors import UserError
from atod_sweep.training.models import head, llama, llama_learning, passes
from atod_sweep.training.models.llama_inference import FoldedLlama

# All rows of a rollout in one batch; one row at a time; one row, and behind its first chunk one token, at a time.
Decoding = Literal["batch", "rows", "tokens"]


@dataclass(frozen=True)
class Output:
    """What the policy says at N chosen positions, and what its head read there (None: nobody will ask)."""

    logits_NV: Tensor
    value_N: Tensor | None
    hidden_NC: Tensor | None = None

    def at(self, rows: Tensor) -> Output:
        value_N = None if self.value_N is None else self.value_N[rows]
        return Output(self.logits_NV[rows], value_N, None if self.hidden_NC is None else self.hidden_NC[rows])


@dataclass(frozen=True)
class Silent:
    """What the policy would say at N chosen positions: its logits are still to be made."""

    hidden_NC: Tensor
    value_N: Tensor | None

    def said(self, policy: Policy, rows: slice) -> Output:
        hidden_NC = self.hidden_NC[rows]
        return Output(policy.logits(hidden_NC), self.value_at(rows), hidden_NC)

    def value_at(self, rows: slice) -> Tensor | None:
        return None if self.value_N is None else self.value_N[rows]


class Policy(nn.Module):
    """Backbone, LM head and, for PPO, a value head that shares the backbone.

    `words`: the number of ids that the tokenizer has. Logits of others, which pad the embedding to a round size, are
    cut off; None: the model has no others. `reach`: the ids that it can read, where conversations may hold others.
    `by_hand`: compact models are computed by passes of our own, not by `transformers`.
    """

    def __init__(self, model: Any, value_head: bool = False, words: int | None = None, by_hand: bool = True) -> None:
        super().__init__()
        self.model = model
        width = self.head.weight.shape[0]
        self.words = words if words is not None and words < width else None
        self.reach: int | None = None
        self.folded: FoldedLlama | None = None  # a frozen policy's weights
        self.compact = by_hand and llama.is_compact(model)
        self.decoding: Decoding = "batch"
        self.value_head = nn.Linear(self.head.weight.shape[-1], 1) if value_head else None
        if self.value_head is not None:  # start from "every state is worth 0": no random baseline at the first step
            nn.init.zeros_(self.value_head.weight)
            nn.init.zeros_(self.value_head.bias)
        self.train(self.training)

    def train(self, mode: bool = True) -> Policy:
        """Only adapters ever see dropout, if the config wants it: the update must see the policy that played.

        The model itself stays in evaluation mode, which ends dropout in all its forms, and noise in routers.
        """
        super().train(mode)
        self.model.eval()
        for name, module in self.model.named_modules():
            if "lora_dropout" in name or _keeps_few_activations(module):
                module.training = mode
        return self

    @overload
    def forward(self, ids_BT: Tensor, index_N: Tensor, silent: Literal[False] = False) -> Output: ...

    @overload
    def forward(self, ids_BT: Tensor, index_N: Tensor, silent: Literal[True]) -> Silent: ...

    def forward(self, ids_BT: Tensor, index_N: Tensor, silent: bool = False) -> Output | Silent:
        """Logits (and values) at flat positions `index_N` of right-padded `ids_BT`; with `silent`, what gives them.

        Rows are right-padded and hold no gaps, so the causal mask alone keeps padding out of every real position.
        """
        if self.reach is not None:
            self.check_reach(int(ids_BT.max()))
        if silent or self.folded is not None or self._is_fast(ids_BT.device):
            hidden_NC = self.hidden(ids_BT, index_N)
            logits_NV = None if silent else self.logits(hidden_NC)
        else:
            model = passes.causal_lm(self.model)
            hidden_NC, logits_NV, _ = passes.logits_at(model, index_N, input_ids=ids_BT, use_cache=False)
            logits_NV = self.known(logits_NV).float()
        value_N = None if self.value_head is None else self.values(hidden_NC)
        return Silent(hidden_NC, value_N) if logits_NV is None else Output(logits_NV, value_N, hidden_NC)

    def logits(self, hidden_NC: Tensor) -> Tensor:
        """Logits (N, V) of the ids that the tokenizer has, from what the head reads."""
        if self.folded is not None:
            return self.folded.say(hidden_NC)
        assert self.finish is not None, "`at_once` says so"
        return self.known(self.finish(self.head(hidden_NC))).float()

    def known(self, logits_NV: Tensor) -> Tensor:
        """Logits of the ids that the tokenizer has."""
        return logits_NV if self.words is None else logits_NV[:, : self.words]

    @cached_property
    def finish(self) -> head.Finish | None:
        """What follows the head's product."""
        return head.unchanged if self.compact else head.finish(passes.causal_lm(self.model))

    @property
    def vocabulary(self) -> int:
        """V, the number of logits per position."""
        return self.words or self.head.weight.shape[0]

    @cached_property
    def at_once(self) -> int:
        """The most positions whose logits, of which losses need some copies, are made at a time."""
        return sys.maxsize if self.finish is None else max(1, head.elements_at_once(self.device) // self.vocabulary)

    def check_reach(self, largest: int) -> None:
        """Raise UserError if this id, the largest of some conversations, is not one that the policy can read."""
        if self.reach is not None and largest >= self.reach:
            raise UserError(
                f"a conversation holds the id {largest}, and {self.model.config.name_or_path!r} knows the ids up to "
                f"{self.reach - 1} only; take a model and a tokenizer that belong together, and a teacher that knows "
                "all of the student's tokens"
            )

    def values(self, hidden: Tensor) -> Tensor:
        """Values of states from their last hidden states, in float32 as the value head itself is."""
        assert self.value_head is not None
        value: Tensor = self.value_head(hidden.float()).squeeze(-1).float()
        return value

    def frozen(self) -> Policy:
        """This policy for good: no gradients, no value head, and folded weights where that makes it faster."""
        self.value_head = None
        self.requires_grad_(False).eval()
        by_hand = self.compact and llama.can_fold(self.model)
        self.folded = FoldedLlama(self.model, self.words) if by_hand else None
        return self

    def hidden(self, ids_BT: Tensor, index_N: Tensor) -> Tensor:
        """Last hidden states (N, C) at flat positions of right-padded rows."""
        if self.folded is not None:
            return self.folded.hidden(ids_BT, index_N)
        if self._is_fast(ids_BT.device):
            return llama_learning.hidden_at(self.model, ids_BT, index_N)
        return passes.hidden_at(passes.causal_lm(self.model), index_N, input_ids=ids_BT, use_cache=False)

    def _is_fast(self, device: torch.device) -> bool:
        """Whether `llama_learning` computes this pass: in float32, keeping its activations for the gradient."""
        return (
            self.compact
            and self.model.dtype == torch.float32
            and not torch.is_autocast_enabled(device.type)
            and not (self.training and self.model.model.layers[0].gradient_checkpointing)
        )

    @property
    def head(self) -> Any:
        return self.model.get_output_embeddings()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device


class Unadapted(Policy):
    """What a student with fresh adapters was before they learned: its own weights, with the adapters off."""

    def __init__(self, student: Policy) -> None:
        training = student.training
        super().__init__(student.model, words=student.words)
        self.reach, self.decoding = student.reach, student.decoding
        student.train(training)  # of which one model has but one mode

    def hidden(self, ids_BT: Tensor, index_N: Tensor) -> Tensor:
        with self.model.disable_adapter():
            return super().hidden(ids_BT, index_N)

    def logits(self, hidden_NC: Tensor) -> Tensor:
        with self.model.disable_adapter():
            return super().logits(hidden_NC)

    def forward(self, ids_BT: Tensor, index_N: Tensor, silent: bool = False) -> Any:
        with self.model.disable_adapter():
            return super().forward(ids_BT, index_N, silent)  # type: ignore[call-overload]


def checkpoint_activations(model: Any) -> None:
    """Let blocks compute their activations again in the backward pass instead of keeping them."""
    # Older versions of `transformers` know it by the second name only.
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable()
    model.enable_input_require_grads()  # or adapters on frozen weights would get no gradient
    for module in model.modules():
        if _keeps_few_activations(module):
            module._gradient_checkpointing_func = _in_evaluation(module, module._gradient_checkpointing_func)


def _keeps_few_activations(module: Any) -> bool:
    return isinstance(module, GradientCheckpointingLayer) and module.gradient_checkpointing


def _in_evaluation(layer: nn.Module, checkpoint: Any) -> Any:
    """Layers checkpoint in training mode only; what they compute there is nevertheless that of evaluation mode."""

    def run(forward: Any, *args: Any) -> Any:
        def quietly(*inputs: Any) -> Any:
            layer.training = False
            try:
                return forward(*inputs)
            finally:
                layer.training = True

        return checkpoint(quietly, *args)

    return run
