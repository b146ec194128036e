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

# Padded ids per forward pass without gradients: bounds memory, and keeps a CPU's working set in its cache.
SCORING_TOKENS = 2048
# As many more for a compact Llama in bfloat16 on a CPU; measured on one of 0.9 M parameters: 0.92 times the cost.
BF16_FACTOR = 4


# Whose fault it is if a model gives no probability for what was sampled, and what to do about it.
_FAILURES: dict[str, tuple[type[TrialError], str]] = {
    "teacher": (TeacherFailed, "is it the right model?"),
    "reference": (ReferenceFailed, "is student.path the right model?"),
    "policy": (Diverged, "lower optimiser.lr"),
}


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
    model: Policy, batch: TokenBatch, name: str, temperature: float, full: FullDistribution | None, tokens: int
) -> TokenBatch:
    """`batch` with the field `<name>_logp` (sampled tokens, at `temperature`) and, with `full`, `<name>_full`.

    With top-k, `<name>_full` holds k log-probs and that of the tail, and `<name>_index` the k ids. `tokens` bounds the
    padded ids of one forward pass. Raises the failure of that model on NaN or on a token of probability 0.
    """
    batch = batch.having(row=torch.arange(batch.tokens, device=batch.ids_ST.device))
    found: dict[str, Tensor] = {}

    def put(key: str, part: TokenBatch, value: Tensor) -> None:
        if key not in found:
            found[key] = value.new_empty((batch.tokens, *value.shape[1:]))
        found[key][part["row"]] = value

    if model.folded is not None and model.folded.dtype == torch.bfloat16:
        tokens *= BF16_FACTOR
    for part in batch.parts(tokens):
        logits_NV = model(part.ids_ST, part.index_N).logits_NV
        logp_NV = tempered(logits_NV, temperature)
        put(f"{name}_logp", part, logp_NV.gather(1, part.target_N[:, None])[:, 0])
        if full is not None:
            full_NV = logp_NV if full.temperature == temperature else tempered(logits_NV, full.temperature)
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
