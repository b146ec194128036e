"""A Hugging Face causal LM as a policy: logits and values at chosen positions only, nothing spent on the others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from atod_sweep.config.train import Pretrained
from atod_sweep.errors import UserError
from atod_sweep.training.models import llama, llama_learning
from atod_sweep.training.models.llama_inference import FoldedLlama

transformers_logging.disable_progress_bar()  # hundreds of trials load models of a few megabytes


@dataclass(frozen=True)
class Output:
    """What the policy says at N chosen positions."""

    logits_NV: Tensor
    value_N: Tensor | None


class Policy(nn.Module):
    """Backbone, LM head and, for PPO, a value head that shares the backbone."""

    def __init__(self, model: Any, value_head: bool = False) -> None:
        super().__init__()
        self.model = model
        _without_dropout(model)
        self.folded: FoldedLlama | None = None  # a frozen policy's weights
        self.compact = llama.is_compact(model)
        self.value_head = nn.Linear(model.config.hidden_size, 1) if value_head else None
        if self.value_head is not None:  # start from "every state is worth 0": no random baseline at the first step
            nn.init.zeros_(self.value_head.weight)
            nn.init.zeros_(self.value_head.bias)

    def forward(self, ids_BT: Tensor, index_N: Tensor) -> Output:
        """Logits (and values) at flat positions `index_N` of right-padded `ids_BT`.

        Rows are right-padded and hold no gaps, so the causal mask alone keeps padding out of every real position.
        """
        if self.folded is not None:
            return Output(self.folded.logits(ids_BT, index_N), None)
        hidden_NH = self.hidden(ids_BT, index_N)
        return Output(self.head(hidden_NH).float(), None if self.value_head is None else self.values(hidden_NH))

    def values(self, hidden: Tensor) -> Tensor:
        """Values of states from their last hidden states, in float32 as the value head itself is."""
        assert self.value_head is not None
        value: Tensor = self.value_head(hidden.float()).squeeze(-1).float()
        return value

    def frozen(self) -> Policy:
        """This policy for good: no gradients, no value head, and folded weights where that makes it faster."""
        self.value_head = None
        self.requires_grad_(False).eval()
        self.folded = FoldedLlama(self.model) if llama.can_fold(self.model) else None
        return self

    def hidden(self, ids_BT: Tensor, index_N: Tensor) -> Tensor:
        """Last hidden states (N, hidden) at flat positions of right-padded rows."""
        if self._is_fast(ids_BT.device):
            return llama_learning.hidden_at(self.model, ids_BT, index_N)
        hidden_BTH = self.backbone(input_ids=ids_BT, use_cache=False).last_hidden_state
        return hidden_BTH.flatten(0, 1).index_select(0, index_N)

    def _is_fast(self, device: torch.device) -> bool:
        """Whether `llama_learning` computes this pass: in float32, keeping its activations for the gradient."""
        return (
            self.compact
            and self.model.dtype == torch.float32
            and not torch.is_autocast_enabled(device.type)
            and not (self.training and self.model.model.layers[0].gradient_checkpointing)
        )

    @property
    def backbone(self) -> Any:
        """The transformer without its LM head."""
        base = self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model
        return base.base_model

    @property
    def head(self) -> Any:
        """The LM head."""
        return self.model.get_output_embeddings()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device


def _without_dropout(model: Any) -> None:
    """The update must see the policy that played: dropout would change its log-probs, and unrepeatably so."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.0


def checkpoint_activations(model: Any) -> None:
    """Let blocks compute their activations again in the backward pass instead of keeping them."""
    # Older versions of `transformers` know it by the second name only.
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable()
    model.enable_input_require_grads()  # or adapters on frozen weights would get no gradient


def load_tokenizer(path: str | Path, gguf_file: str | None = None) -> Any:
    """The tokenizer of a model directory or hub id, with a padding token. Raises UserError."""
    tokenizer = _load(AutoTokenizer, path, gguf_file)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(config: Pretrained, dtype: torch.dtype | None = None) -> Any:
    """A causal LM from a directory or hub id, checked to be one whose head is applied to the last hidden state.

    Raises UserError for a missing directory, and for architectures that our scoring would get wrong.
    """
    dtype = dtype or getattr(torch, config.dtype)
    model = _load(AutoModelForCausalLM, config.path, config.gguf_file, dtype=dtype)
    model.config.use_cache = False
    if (quantizer := getattr(model, "hf_quantizer", None)) is not None and config.gguf_file is not None:
        quantizer.remove_quantization_config(model)  # GGUF weights are ordinary ones once loaded, and can be saved
    if "sliding_attention" in (getattr(model.config, "layer_types", None) or []):
        raise UserError(f"{config.path}: sliding-window attention is not supported by cached multi-turn decoding")
    with torch.no_grad():
        ids = torch.arange(8)[None] % model.config.vocab_size
        want = model(input_ids=ids).logits
        have = model.get_output_embeddings()(model.base_model(input_ids=ids).last_hidden_state)
    if not torch.allclose(want.float(), have.float(), atol=1e-2, rtol=1e-2):
        raise UserError(f"{config.path}: {type(model).__name__} changes logits after its LM head; not supported")
    if config.lora is not None:
        model = _with_lora(model, config)
    return model


def _with_lora(model: Any, config: Pretrained) -> Any:
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
    looks_local = str(path).startswith((".", "/", "~")) or str(path).count("/") > 1
    if looks_local and not Path(path).expanduser().is_dir():
        raise UserError(f"model directory {str(path)!r} does not exist; give a directory or a hub id")
    if gguf_file is not None:
        kwargs["gguf_file"] = gguf_file
    try:
        where = str(Path(path).expanduser()) if looks_local else str(path)
        # Said outright: left open, transformers asks on the terminal whether to run code that the model brings
        return loader.from_pretrained(where, trust_remote_code=False, **kwargs)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        if "custom code" in reason:
            reason = "it brings code of its own, which is never run; use an architecture that transformers knows"
        raise UserError(f"model {str(path)!r} cannot be loaded: {reason}") from None
