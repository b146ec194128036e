"""From a prepared batch to new weights: epochs, minibatches, parts that fit into memory, clipping, divergence guard."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from atod_sweep.config.objective import Hybrid, Interpolated
from atod_sweep.config.train import Train
from atod_sweep.records.metric_names import loss_of
from atod_sweep.training.batch import TokenBatch
from atod_sweep.training.failures import Diverged
from atod_sweep.training.loop.optimiser import MasterAdamW, rate
from atod_sweep.training.models.policy import Output
from atod_sweep.training.portions import portions, summed

Terms = Callable[..., dict[str, Tensor]]
# Distance of the policy from the one that played: the mean |log-ratio|, and the k3 estimate of their KL.
NOTICED = ("gap", "drift")
MANY = 0.5  # share of updates that round away, from which it is worth a warning

log = logging.getLogger(__name__)


@dataclass
class Updater:
    """Applies one batch at a time. `policy` may be wrapped for data parallelism; so may `optimiser`."""

    accelerator: Accelerator
    policy: Any
    optimiser: Any
    config: Train
    order: np.random.Generator  # draws the minibatches
    parameters: list[torch.nn.Parameter] = field(init=False)
    stepped: list[Tensor] = field(init=False)  # what the optimiser moves: the parameters, or their masters
    collect: Callable[[], None] | None = field(init=False)  # hands gradients to masters, if there are any
    rounds: bool = field(init=False)  # otherwise than the rollout whose log-probs it compares with
    measures: bool = field(init=False)  # how far these log-probs are from its own
    warned: bool = False

    def __post_init__(self) -> None:
        self.parameters = [p for p in self.policy.parameters() if p.requires_grad]
        self.stepped = [p for group in self.optimiser.param_groups for p in group["params"]]
        own = getattr(self.optimiser, "optimizer", self.optimiser)  # out of its wrapper
        self.collect = own.collect if isinstance(own, MasterAdamW) and own.masters else None
        # Other objectives learn from episodes of others, or compare passes of one kind.
        plays_itself = isinstance(self.config.objective, Interpolated | Hybrid)
        low = self.collect is not None or self.config.runtime.precision == "bf16"
        self.rounds = plays_itself and low
        self.measures = plays_itself and (low or not self.accelerator.unwrap_model(self.policy).compact)

    def apply(self, batch: TokenBatch, terms: Terms, step: int, temperature: float) -> dict[str, float]:
        """All epochs and minibatches of one batch, played at `temperature`; metrics of the last minibatch.

        Raises Diverged.
        """
        config = self.config.update
        metrics: dict[str, float] = {}
        self._set_lr(step)
        seen: dict[str, float] = {}
        if self.rounds and config.epochs * config.minibatches > 1:
            batch, seen["logp_gap"] = self._as_the_update_sees_it(batch, temperature)
        for epoch in range(config.epochs):
            for rows in self._minibatches(len(batch.ids_ST)):
                part = batch if rows is None else batch.take(rows)
                metrics = self._step(part, terms, step, temperature)
                if config.target_kl is not None and metrics["kl/update"] > config.target_kl:
                    return {**metrics, **seen, "epochs": epoch + 1}
        return {**metrics, **seen, "epochs": config.epochs}

    @torch.no_grad()
    def _as_the_update_sees_it(self, batch: TokenBatch, temperature: float) -> tuple[TokenBatch, float]:
        """The batch with old log-probs as the update's own passes give them, and how far the rollout's are from them.

        The ratio of later passes is then that of two policies, not of two roundings.
        """
        policy = self.accelerator.unwrap_model(self.policy)
        numbered = batch.having(row=torch.arange(batch.tokens, device=batch.ids_ST.device))
        old_N = torch.empty_like(batch["old_logp"])
        with self._autocast():
            for part in numbered.parts(self.config.update.micro_batch_tokens):
                for output, some in portions(policy, part):
                    old_N[some["row"]] = some.logp(output.logits_NV, temperature)
        return batch.having(old_logp=old_N), float((old_N - batch["old_logp"]).abs().mean())

    def _step(self, batch: TokenBatch, terms: Terms, step: int, temperature: float) -> dict[str, float]:
        tokens = self._sum(batch.tokens, batch)
        sums: dict[str, float] = {}
        self.optimiser.zero_grad(set_to_none=True)
        parts = list(batch.parts(self.config.update.micro_batch_tokens))
        seen: dict[str, float] = {}
        policy = self.accelerator.unwrap_model(self.policy)

        def told(output: Output, part: TokenBatch) -> dict[str, Tensor]:
            return terms(output, part) | self._noticed(output, part, temperature)

        for i, part in enumerate(parts):
            # What has gone to masters is summed up over processes already.
            with self._syncing(last=i + 1 == len(parts) or self.collect is not None), self._autocast():
                found = summed(told, policy, self.policy, part)
                seen = {name: seen.get(name, 0.0) + float(found.pop(name)) for name in NOTICED if name in found}
                loss = torch.stack(list(found.values())).sum() * (self.accelerator.num_processes / tokens)
                self.accelerator.backward(loss)
            if self.collect is not None:
                self.collect()
            for name, value in found.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach())
        metrics = {loss_of(name): value / batch.tokens for name, value in sums.items()}
        metrics["loss"] = sum(metrics.values())
        norm = torch.nn.utils.clip_grad_norm_(self.stepped, self.config.optimiser.max_grad_norm)
        metrics["grad_norm"] = float(norm)
        if self.measures:
            metrics["logp_gap"] = seen["gap"] / batch.tokens
        if self.config.update.target_kl is not None:
            metrics["kl/update"] = self._sum(seen["drift"], batch) / tokens  # of all processes: they must stop together
        for name in ("loss", "grad_norm"):
            if not math.isfinite(metrics[name]):
                raise Diverged(f"{name} is {metrics[name]} at step {step}; lower optimiser.lr or check the environment")
        if step % self.config.diagnostics_every == 0:
            metrics["lost_updates"] = self._step_and_count(step)
        else:
            self.optimiser.step()
        return metrics

    @torch.no_grad()
    def _noticed(self, output: Output, batch: TokenBatch, temperature: float) -> dict[str, Tensor]:
        """Sums over tokens of what is reported beside the loss."""
        if self.config.update.target_kl is None and not self.measures:
            return {}
        d_N = batch.logp(output.logits_NV, temperature) - batch["old_logp"]
        seen = {"gap": d_N.abs().sum()} if self.measures else {}
        return seen if self.config.update.target_kl is None else {**seen, "drift": (d_N.expm1() - d_N).sum()}

    @torch.no_grad()
    def _step_and_count(self, step: int) -> float:
        """Step; the share of weights with a gradient that stay where they are, their update being below half an ulp."""
        before = [p.detach().clone() for p in self.stepped]
        pushed = [torch.zeros_like(p, dtype=torch.bool) if p.grad is None else p.grad != 0 for p in self.stepped]
        self.optimiser.step()
        count = sum(int(push.sum()) for push in pushed)
        stayed = sum(int((push & (p == old)).sum()) for p, old, push in zip(self.stepped, before, pushed, strict=True))
        share = stayed / count if count else 0.0
        if share > MANY and step >= self.config.optimiser.warmup_steps and not self.warned:
            self.warned = True
            log.warning(
                "step %d: the updates of %.0f %% of the weights are below half of their last bit and round away; raise "
                "optimiser.lr (%g)",
                step,
                100 * share,
                self.config.optimiser.lr,
            )
        return share

    def gradient_norms(self, batch: TokenBatch, terms: Terms) -> dict[str, float]:
        """Norm of each term's own gradient, before clipping and without touching the weights.

        One term's gradient is there at a time: where a batch has several parts, each term has passes of its own.
        """
        policy = self.accelerator.unwrap_model(self.policy)
        parts = list(batch.parts(self.config.update.micro_batch_tokens))

        def split(part: TokenBatch) -> dict[str, Tensor]:
            with self._autocast():
                return summed(partial(terms, split=True), policy, policy, part)

        norms: dict[str, float] = {}
        found = split(parts[0])
        for name in list(found):
            total: list[Tensor] = []
            for part in parts:
                if len(parts) > 1:
                    found = {}  # no two graphs are there at a time
                    found = split(part)
                got = torch.autograd.grad(
                    found[name] / batch.tokens, self.parameters, retain_graph=len(parts) == 1, allow_unused=True
                )
                there = [torch.zeros_like(p) if g is None else g for g, p in zip(got, self.parameters, strict=True)]
                total = [a.add_(b) for a, b in zip(total, there, strict=True)] if total else there
                del got, there  # nor, with that of the next part, three gradients
            norms[f"grad_norm/{name}"] = float(torch.stack([g.norm() for g in total]).norm())
        return norms

    def _set_lr(self, step: int) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = rate(self.config.optimiser, step, self.config.steps)

    def _minibatches(self, sequences: int) -> list[Tensor | None]:
        """Sorted index sets that split the sequences at random; one None stands for all of them, undisturbed."""
        n = min(self.config.update.minibatches, sequences)
        if n == 1:
            return [None]
        return [torch.as_tensor(np.sort(rows)) for rows in np.array_split(self.order.permutation(sequences), n)]

    def _sum(self, mine: float, batch: TokenBatch) -> float:
        if self.accelerator.num_processes == 1:
            return mine
        number = torch.tensor(mine, dtype=torch.float64, device=batch.ids_ST.device)
        return float(self.accelerator.reduce(number, reduction="sum"))

    def _autocast(self) -> Any:
        # Not accelerate's: its precision is fixed once per process, which may run trials of both.
        wanted = self.config.runtime.precision == "bf16"
        return torch.autocast(self.accelerator.device.type, torch.bfloat16, enabled=wanted)

    def _syncing(self, last: bool) -> Any:
        # Data parallelism adds gradients up over processes with the last part only.
        return torch.enable_grad() if last else self.accelerator.no_sync(self.policy)
