"""What frozen models (teacher, initial student) and the rollout policy say about sampled tokens. No gradients."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from atod_sweep.config.signals import Distill, OverVocabulary
from atod_sweep.objective.distributions import tempered, top_k_with_tail
from atod_sweep.training.batch import TokenBatch
from atod_sweep.training.failures import Diverged, ReferenceFailed, TeacherFailed, TrialError
from atod_sweep.training.models.policy import Policy
from atod_sweep.training.portions import portions

# Padded ids per forward pass without gradients: bounds memory, and keeps a CPU's working set in its cache.
SCORING_TOKENS = 2048
GPU_FACTOR = 16  # as many more on a GPU
# As many more for a compact Llama in bfloat16 on a CPU; measured on one of 0.9 M parameters: 0.92 times the cost.
BF16_FACTOR = 4
# Whole distributions of so many portions of logits may be kept until the update.
STORED_PORTIONS = 4

# Whose fault it is if a model gives no probability for what was sampled, and what to do about it.
_FAILURES: dict[str, tuple[type[TrialError], str]] = {
    "teacher": (TeacherFailed, "is it the right model?"),
    "reference": (ReferenceFailed, "is student.path the right model?"),
    "policy": (Diverged, "lower optimiser.lr"),
}


def scoring_tokens(device: torch.device) -> int:
    """Padded ids per forward pass without gradients."""
    return SCORING_TOKENS if device.type == "cpu" else GPU_FACTOR * SCORING_TOKENS


@dataclass(frozen=True)
class FullDistribution:
    """How much of a distribution a loss needs: the whole vocabulary or the `top_k` likeliest, tempered."""

    temperature: float
    top_k: int | None


def needs_distribution(distill: Distill) -> FullDistribution | None:
    """What the distillation signal compares, or None if sampled tokens are enough."""
    return FullDistribution(distill.temperature, distill.top_k) if isinstance(distill, OverVocabulary) else None


@torch.no_grad()
def score(
    model: Policy,
    batch: TokenBatch,
    name: str,
    temperature: float,
    full: FullDistribution | None,
    tokens: int,
    late: bool = False,
) -> TokenBatch:
    """`batch` with the field `<name>_logp` (sampled tokens, at `temperature`) and, with `full`, `<name>_full`.

    With top-k, `<name>_full` holds k log-probs and that of the tail, and `<name>_index` the k ids. Whole distributions
    that would be large, with `late` all, are left for `whole` to make of `<name>_hidden`. `tokens` bounds the padded
    ids of one forward pass. Raises the failure of that model on NaN or on a token of probability 0.
    """
    late = late or batch.tokens > STORED_PORTIONS * model.at_once
    batch = batch.having(row=torch.arange(batch.tokens, device=batch.ids_ST.device))
    found: dict[str, Tensor] = {}

    def put(key: str, part: TokenBatch, value: Tensor) -> None:
        if key not in found:
            found[key] = value.new_empty((batch.tokens, *value.shape[1:]))
        found[key][part["row"]] = value

    for output, part in (said for several in batch.parts(padded(model, tokens)) for said in portions(model, several)):
        logp_NV = tempered(output.logits_NV, temperature)
        put(f"{name}_logp", part, part.of_targets(logp_NV))
        if full is not None and full.top_k is None and late:
            assert output.hidden_NC is not None
            put(f"{name}_hidden", part, output.hidden_NC)
        elif full is not None:
            full_NV = logp_NV if full.temperature == temperature else tempered(output.logits_NV, full.temperature)
            if full.top_k is None:
                put(f"{name}_full", part, full_NV)
            else:
                index_NK = full_NV.topk(min(full.top_k, full_NV.shape[1])).indices
                put(f"{name}_index", part, index_NK)
                put(f"{name}_full", part, top_k_with_tail(full_NV, index_NK))
    bad = ~torch.isfinite(found[f"{name}_logp"])
    if bad.any():
        value = found[f"{name}_logp"][bad][0].item()
        failed, remedy = _FAILURES[name]
        raise failed(f"the {name} gives a sampled token the log-probability {value}; {remedy}")
    return batch.having(**found)


def padded(model: Policy, tokens: int) -> int:
    """Padded ids that a model sees at a time where others see `tokens`."""
    return tokens * BF16_FACTOR if model.folded is not None and model.folded.dtype == torch.bfloat16 else tokens


@torch.no_grad()
def whole(model: Policy, batch: TokenBatch, name: str, temperature: float) -> Tensor:
    """Log-probs (N, V) of what `score` compared whole distributions of, at the temperature that it did."""
    if f"{name}_full" in batch.fields:
        return batch[f"{name}_full"]
    return tempered(model.logits(batch[f"{name}_hidden"]), temperature)


@torch.no_grad()
def values(policy: Policy, batch: TokenBatch, tokens: int) -> Tensor:
    """Value of every state: value_ST[s, t] is that of the prefix that ends with column t."""
    value_ST = torch.zeros(batch.ids_ST.shape, device=batch.ids_ST.device)
    rows = max(1, tokens // batch.ids_ST.shape[1])
    for start in range(0, len(value_ST), rows):
        ids = batch.ids_ST[start : start + rows]
        everywhere = torch.arange(ids.numel(), device=ids.device)
        value_ST[start : start + rows] = policy.values(policy.hidden(ids, everywhere)).view(ids.shape)
    return value_ST
