"""How large a model is, without its weights: its own code runs on tensors that have shapes and no memory.

So what an architecture keeps for its gradients, or remembers of a conversation, is counted and not derived by formulas.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call
from transformers import AutoModelForCausalLM
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

from atod_sweep.config.models import Lora, Pretrained
from atod_sweep.training.models import adapters, passes
from atod_sweep.training.models.load import load_config
from atod_sweep.training.models.policy import Policy, checkpoint_activations

ROWS, TOKENS = 2, 64


@dataclass(frozen=True)
class Anatomy:
    """Sizes in bytes, of weights in the dtype that the config gives them; `trained` counts parameters."""

    weights: int
    trained: int
    width: int  # bytes of a weight
    kept_per_token: float  # what the update keeps of a token until its gradient is known, without its logits
    cached_per_token: float  # keys and values of a token in a rollout
    hidden: int
    vocabulary: int


def anatomy(source: Pretrained, dtype: torch.dtype, checkpointing: bool = False) -> Anatomy | None:
    """Of the model that `source` names, by its config alone; None for one whose code cannot be run so.

    Raises UserError for a model that is not there.
    """
    config = load_config(source)
    try:
        return _anatomy(config, source.lora or _adapters(source), dtype, checkpointing)
    except Exception:  # kernels that want values, or real memory: each fails in its own way, and nothing hangs on it
        return None


def _adapters(source: Pretrained) -> Lora | None:
    return None if adapters.base_of(source) is None else Lora()


def _anatomy(config: Any, lora: Lora | None, dtype: torch.dtype, checkpointing: bool) -> Anatomy:
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
        if lora is not None:
            model = adapters.fresh(model, lora, None)
    model.eval()
    kept, cached = _kept(model), _cached(model)
    if checkpointing:  # the inputs of blocks, and all of one block while its gradient is computed
        checkpoint_activations(model)
        kept = _kept(Policy(model).train().model) + kept / config.get_text_config().num_hidden_layers
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    head = model.get_output_embeddings().weight
    return Anatomy(weights, trained, head.element_size(), kept, cached, head.shape[1], head.shape[0])


def _kept(model: Any) -> float:
    """Bytes that the backward pass of a token needs, parameters and buffers aside."""
    kept: dict[int, Any] = {}
    with _as_if_on_a_cpu(model) as (call, own):

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage._cdata not in own:
                kept[storage._cdata] = storage  # held, so that no other storage is given its number
            return tensor

        index = torch.arange(ROWS * TOKENS)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            passes.hidden_at(call, index, use_cache=False)
    return sum(storage.nbytes() for storage in kept.values()) / (ROWS * TOKENS)


@torch.no_grad()
def _cached(model: Any) -> float:
    """Bytes of keys and values (and other states) of a token."""
    name = passes.cache_name(passes.causal_lm(model)) or "past_key_values"
    with _as_if_on_a_cpu(model) as (call, _):
        output = call(use_cache=True)
        layers = getattr(getattr(output, name, None) or output.past_key_values, "layers", [])
        states = [t for layer in layers for t in vars(layer).values() if isinstance(t, Tensor)]
        return sum(t.numel() * t.element_size() for t in states) / (ROWS * TOKENS)


class _Called:
    """A model on tensors that stand for its own."""

    def __init__(self, model: Any, tensors: dict[str, Tensor]) -> None:
        self.model, self.tensors = model, tensors
        self.ids = torch.zeros((ROWS, TOKENS), dtype=torch.long)

    def get_output_embeddings(self) -> Any:
        return self.model.get_output_embeddings()

    def __call__(self, **how: Any) -> Any:
        return functional_call(self.model, self.tensors, (), {"input_ids": self.ids, **how})


@contextlib.contextmanager
def _as_if_on_a_cpu(model: Any) -> Iterator[tuple[_Called, set[int]]]:
    """A model of the meta device as a CPU would run it, and its own storages: kernels differ in what they keep."""
    quiet, fake = contextlib.redirect_stderr(io.StringIO()), FakeTensorMode(allow_non_fake_inputs=True)
    with quiet, fake, _no_masks():
        tensors = {
            name: torch.empty(t.shape, dtype=t.dtype, requires_grad=t.requires_grad)
            for name, t in (*model.named_parameters(), *model.named_buffers())
        }
        yield _Called(model, tensors), {t.untyped_storage()._cdata for t in tensors.values()}


@contextlib.contextmanager
def _no_masks() -> Iterator[None]:
    """Rows without gaps need none, and get none where a model can look at its inputs, which have no values here."""
    ALL_MASK_ATTENTION_FUNCTIONS["sdpa"] = lambda **_: None
    try:
        yield
    finally:
        del ALL_MASK_ATTENTION_FUNCTIONS["sdpa"]
