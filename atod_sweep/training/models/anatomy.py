"""How large a model is, without its weights: its own code runs on tensors that have shapes and no memory.

So what an architecture keeps for its gradients, or remembers of a conversation, is counted and not derived by formulas.
"""

from __future__ import annotations

import contextlib
import io
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AutoModelForCausalLM
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

from atod_sweep.config.models import Lora, Pretrained
from atod_sweep.training.models import adapters, llama, passes
from atod_sweep.training.models.load import load_config
from atod_sweep.training.models.policy import Policy, checkpoint_activations

ROWS, TOKENS = 2, 64
_KNOWN: dict[tuple[object, ...], Anatomy | None] = {}


@dataclass(frozen=True)
class Anatomy:
    """Sizes in bytes, of weights in the dtype that the config gives them; `trained` counts parameters."""

    weights: int
    trained: int
    width: int  # bytes of a weight
    kept_per_token: float  # what the update keeps of a token until its gradient is known, without its logits
    kept_always: float  # what it keeps however few tokens there are, such as weights that it rearranges
    passing_per_token: float  # what is there at a time of a token in a pass without gradients, without its logits
    cached_per_token: float  # keys and values of a token in a rollout
    expanded_per_token: float  # those of one layer, as often as heads share them
    hidden: int
    vocabulary: int
    folds: bool  # whether it plays and scores with rearranged copies of its weights


def anatomy(source: Pretrained, dtype: torch.dtype, checkpointing: bool = False) -> Anatomy | None:
    """Of the model that `source` names, by its config alone; None for one whose code cannot be run so.

    Raises UserError for a model that is not there. Remembered by shape: all trials of a study ask, of a few models.
    """
    config, lora = load_config(source), source.lora or (None if adapters.base_of(source) is None else Lora())
    shape = {**config.to_dict(), "_name_or_path": None}  # wherever it lies
    key = (type(config), repr(shape), repr(lora), dtype, checkpointing)
    if key not in _KNOWN:
        try:
            _KNOWN[key] = _anatomy(config, lora, dtype, checkpointing)
        except Exception:  # kernels that want values, or real memory: each fails in its own way; nothing hangs on it
            _KNOWN[key] = None
    return _KNOWN[key]


def _anatomy(config: Any, lora: Lora | None, dtype: torch.dtype, checkpointing: bool) -> Anatomy:
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
        if lora is not None:
            model = adapters.fresh(model, lora, None)
    policy = Policy(model).eval()
    text = config.get_text_config()
    always, kept = _line(_kept, policy)
    cached = _cached(model)
    _, passing = _line(_passing, policy)
    if checkpointing:  # the inputs of blocks, and all of one block while its gradient is computed
        checkpoint_activations(model)
        less_always, less = _line(_kept, policy.train())
        always, kept = less_always + always / text.num_hidden_layers, less + kept / text.num_hidden_layers
    heads = getattr(text, "num_attention_heads", None) or 1
    shared = heads / (getattr(text, "num_key_value_heads", None) or heads)
    head = model.get_output_embeddings().weight
    return Anatomy(
        weights=sum(p.numel() * p.element_size() for p in model.parameters()),
        trained=sum(p.numel() for p in model.parameters() if p.requires_grad),
        width=head.element_size(),
        kept_per_token=kept,
        kept_always=always,
        passing_per_token=passing,
        cached_per_token=cached,
        expanded_per_token=cached / text.num_hidden_layers * shared if shared > 1 else 0.0,
        hidden=head.shape[1],
        vocabulary=head.shape[0],
        folds=llama.is_compact(model),
    )


def _line(size: Callable[[Policy, int], int], policy: Policy) -> tuple[float, float]:
    """What a size is without tokens, and what each token adds."""
    few, more = (size(policy, rows) for rows in (ROWS, 2 * ROWS))
    per_token = (more - few) / (ROWS * TOKENS)
    return few - per_token * ROWS * TOKENS, per_token


def _kept(policy: Policy, rows: int) -> int:
    """Bytes that the backward pass needs, parameters and buffers aside."""
    kept: dict[int, Any] = {}
    with _as_if_on_a_cpu(policy) as tensors:
        own = _storages(tensors)

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage._cdata not in own:
                kept[storage._cdata] = storage  # held, so that no other storage is given its number
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            _pass(policy, tensors, rows)
    return sum(storage.nbytes() for storage in kept.values())


@torch.no_grad()
def _passing(policy: Policy, rows: int) -> int:
    """The most bytes that are there at a time in a pass without gradients."""
    with _as_if_on_a_cpu(policy) as tensors, _Live(_storages(tensors)) as live:
        _pass(policy, tensors, rows)
    return live.most


def _storages(tensors: dict[str, Tensor]) -> set[int]:
    return {t.untyped_storage()._cdata for t in tensors.values()}


def _pass(policy: Policy, tensors: dict[str, Tensor], rows: int) -> None:
    ids, index = torch.zeros((rows, TOKENS), dtype=torch.long), torch.arange(rows * TOKENS)
    functional_call(policy, tensors, (ids, index), {"silent": True})


@torch.no_grad()
def _cached(model: Any) -> float:
    """Bytes of keys and values (and other states) of a token."""
    name = passes.cache_name(passes.causal_lm(model)) or "past_key_values"
    with _as_if_on_a_cpu(model) as tensors:
        ids = torch.zeros((ROWS, TOKENS), dtype=torch.long)
        output = functional_call(model, tensors, (), {"input_ids": ids, "use_cache": True})
        layers = getattr(getattr(output, name, None) or output.past_key_values, "layers", [])
        states = [t for layer in layers for t in vars(layer).values() if isinstance(t, Tensor)]
        return sum(t.numel() * t.element_size() for t in states) / (ROWS * TOKENS)


class _Live(TorchDispatchMode):
    """Counts the bytes of what is made inside, and the `most` that there are at a time. Views of `own` are nothing."""

    def __init__(self, own: set[int]) -> None:
        super().__init__()
        self.now = self.most = 0
        self._users = Counter(own)

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = op(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self._seen(tensor)
        return made

    def _seen(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        number, size = storage._cdata, storage.nbytes()
        self.now += 0 if self._users[number] else size
        self.most = max(self.most, self.now)
        self._users[number] += 1
        weakref.finalize(tensor, self._gone, number, size)

    def _gone(self, number: int, size: int) -> None:
        self._users[number] -= 1
        self.now -= 0 if self._users[number] else size


@contextlib.contextmanager
def _as_if_on_a_cpu(module: Any) -> Iterator[dict[str, Tensor]]:
    """Tensors that stand for those of a module of the meta device, as on a CPU: kernels differ in what they keep."""
    quiet, fake = contextlib.redirect_stderr(io.StringIO()), FakeTensorMode(allow_non_fake_inputs=True)
    with quiet, fake, _no_masks():
        yield {
            name: torch.empty(t.shape, dtype=t.dtype, requires_grad=t.requires_grad)
            for name, t in (*module.named_parameters(), *module.named_buffers())
        }


@contextlib.contextmanager
def _no_masks() -> Iterator[None]:
    """Rows without gaps need none, and get none where a model can look at its inputs, which have no values here."""
    ALL_MASK_ATTENTION_FUNCTIONS["sdpa"] = lambda **_: None
    try:
        yield
    finally:
        del ALL_MASK_ATTENTION_FUNCTIONS["sdpa"]
