"""What both forms of the ATOD objective share: weights in force, scoring, advantages, KL penalty, entropy.

`OPD`, `RL only` and `fixed mix` are settings of the weights, not code paths. Every term is a sum over generated tokens
that the caller divides by their unweighted number. Shapes: _N generated tokens, _E episodes, _K turns, _V vocabulary.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, assert_never

import torch
from torch import Tensor

from atod_sweep.config.objective import Hybrid, Interpolated, Mixture
from atod_sweep.config.penalties import WithReference
from atod_sweep.config.signals import Relabel
from atod_sweep.config.train import Train
from atod_sweep.config.turns import TurnProfile
from atod_sweep.objective.controllers import Controller
from atod_sweep.objective.distributions import entropy, tempered, top_k_with_tail, with_rest
from atod_sweep.objective.penalties import PENALTIES
from atod_sweep.objective.profiles import measured, profile
from atod_sweep.objective.schedules import DecayCurve, build, progress
from atod_sweep.objective.signals import SIGNALS, Imitation
from atod_sweep.objective.signals.forward_kl import forward_kl
from atod_sweep.training.algorithms.advantages import ADVANTAGES
from atod_sweep.training.algorithms.relabelling import beside, relabelled
from atod_sweep.training.algorithms.stage import Algorithm, Collected, Metrics, Needs, Stage
from atod_sweep.training.algorithms.stand_ins import STAND_INS
from atod_sweep.training.batch import TokenBatch
from atod_sweep.training.models.policy import Output, Policy
from atod_sweep.training.play.outcomes import Episodes
from atod_sweep.training.randomness import numpy_generator
from atod_sweep.training.scoring import FullDistribution, needs_distribution, score, whole
from atod_sweep.training.teachers.teacher import Teacher


class Weight:
    """One scheduled coefficient: a function of the step, or a controller that is told what was measured."""

    def __init__(self, config: Any, total_steps: int) -> None:
        self.config, self.total_steps = config, total_steps
        self.schedule: DecayCurve | Controller = build(config)

    def at(self, step: int) -> float:
        if isinstance(self.schedule, Controller):
            return self.schedule.current
        return self.schedule.value(progress(step, self.total_steps, self.config))

    def measured(self, value: float) -> None:
        if isinstance(self.schedule, Controller):
            self.schedule.update(value)

    def state_dict(self) -> dict[str, Any]:
        return self.schedule.state_dict() if isinstance(self.schedule, Controller) else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if isinstance(self.schedule, Controller):
            self.schedule.load_state_dict(state)


@dataclass(frozen=True)
class View:
    """The student's side of a batch: logits, log-probs at the sampling temperature, and the ratio's denominator."""

    logits_NV: Tensor
    logp_NV: Tensor
    logp_N: Tensor
    old_logp_N: Tensor


class Mixed(Algorithm):
    """Prepares batches for, and evaluates, an objective that mixes teacher and reward on the student's own episodes.

    The weights in force at a step travel with its batch: per token in its fields, the KL coefficient and the sampling
    temperature in its numbers.
    """

    def __init__(self, config: Train, teacher: Teacher | None, reference: Policy | None) -> None:
        assert isinstance(config.objective, Mixture)
        self.objective: Interpolated | Hybrid = config.objective
        self.teacher, self.reference = teacher, reference
        self.on_policy = config.update.epochs == 1 and config.update.minibatches == 1
        self.distill_weight = Weight(self.objective.distill_weight, config.steps)
        penalty = self.objective.kl_penalty
        self.penalty = PENALTIES[penalty.kind]
        self.kl_weight = Weight(penalty.coef, config.steps) if isinstance(penalty, WithReference) else None
        self.advantage = ADVANTAGES[self.objective.advantage.kind](self.objective.advantage, config.rollout.group_size)
        self.full = needs_distribution(self.objective.distill)
        self.teacher_turns = config.rollout.teacher_turns
        if config.rollout.teacher_plays and self.teacher_turns == "forward_kl":
            self.full = self.full or FullDistribution(1.0, None)
        self.group_size = config.rollout.group_size
        self.seed = config.seed
        self.profile_K = torch.tensor(profile(self.objective.turns, config.env.horizon))

    @classmethod
    def needs(cls, config: Train) -> Needs:
        assert isinstance(config.objective, Mixture)
        return Needs(
            reference="frozen" if isinstance(config.objective.kl_penalty, WithReference) else "none",
            value_head=ADVANTAGES[config.objective.advantage.kind].value_head,
            shared_vocabulary=not isinstance(config.objective.distill, Relabel),
        )

    # ---- what the two forms differ in --------------------------------------------------------------------------------

    @abstractmethod
    def reward_weight(self, step: int, distill: float) -> float:
        """Weight of the reward at `step`, on a turn where the turn profile is 1."""

    @abstractmethod
    def reward_weight_N(self, distill: float, reward: float, g_N: Tensor) -> Tensor:
        """Weight of the reward per token, given both weights and the closed-form turn profile there."""

    @abstractmethod
    def policy_terms(self, view: View, batch: TokenBatch, split: bool) -> dict[str, Tensor]:
        """The distillation and reward terms, each summed over tokens; `split` shows them apart for diagnostics."""

    # ---- before the update -----------------------------------------------------------------------------------------

    def collect(self, stage: Stage, step: int) -> Collected:
        """Let the student play, then score what it did."""
        episodes = stage.play(stage.policy, step, bootstrap=self.advantage.value_head)
        started = time.perf_counter()
        batch, metrics = self.prepare(stage.policy, episodes, step, stage.temperature(step), stage.score_tokens)
        metrics |= stage.turns.told(step) | stage.turns.seen(episodes.outcomes)
        batch = self.taught(stage, episodes, batch, metrics)
        return Collected(batch, episodes.outcomes, metrics, score_seconds=time.perf_counter() - started)

    def prepare(
        self, policy: Policy, episodes: Episodes, step: int, temperature: float, score_tokens: int
    ) -> tuple[TokenBatch, Metrics]:
        """Score the episodes, and put every weight and advantage beside the token that it belongs to."""
        kl = self.kl_weight.at(step) if self.kl_weight else 0.0
        distill = self.distill_weight.at(step)
        reward = self.reward_weight(step, distill)
        batch = TokenBatch.of(episodes).at(temperature=temperature, kl_weight=kl)
        metrics: Metrics = {"weight/distill": distill, "weight/reward": reward, "weight/kl": kl}
        is_heard = distill > 0 or isinstance(self.distill_weight.schedule, Controller)
        compares = self.objective.asks_teacher and not isinstance(self.objective.distill, Relabel)
        if self.teacher is not None and is_heard and compares:
            batch = self.teacher.score(batch, temperature, self.full, score_tokens)
            metrics |= _distance(batch, "teacher")
            metrics["teacher_tokens"] = episodes.tokens
        if (null := self.objective.stand_in) is not None and is_heard:
            batch, seen = STAND_INS[null.kind](batch, null, numpy_generator(self.seed, f"stand-in {step}"))
            metrics |= seen
        penalty_N = torch.zeros_like(batch["old_logp"])
        if self.reference is not None and self.penalty is not None and kl > 0:
            full = FullDistribution(temperature, None) if self.penalty.over_vocabulary else None
            batch = score(self.reference, batch, "reference", temperature, full, score_tokens)
            metrics |= _distance(batch, "reference")
            if self.objective.kl_penalty.in_reward:
                penalty_N = kl * self.penalty.term(batch["old_logp"], batch["reference_logp"])
        batch = self.weigh(batch, distill, reward, metrics)
        if any(outcome.cut for outcome in episodes.outcomes):
            batch = self._without_cut_rewards(batch, episodes)
        return self.advantage.with_advantage(policy, episodes, batch, penalty_N, score_tokens), metrics

    def taught(self, stage: Stage, episodes: Episodes, batch: TokenBatch, metrics: Metrics) -> TokenBatch:
        """The batch with what the teacher would have done beside it, for signals that imitate that."""
        config, distill = self.objective.distill, metrics["weight/distill"]
        if not isinstance(config, Relabel) or self.teacher is None or distill == 0:
            return batch
        theirs, found = relabelled(stage, episodes, config.ask_temperature)
        metrics.update(found)
        if theirs is None:
            return batch
        metrics["teacher_tokens"] = int(theirs.length_S.sum())
        return beside(stage, batch, theirs, distill * self.profile_K[theirs["turn"]])

    def weigh(self, batch: TokenBatch, distill: float, reward: float, metrics: Metrics) -> TokenBatch:
        """Fields `distill_weight` and `reward_weight`: lambda g w and 1 - lambda g, or kappa g w and rho."""
        self.profile_K = self.profile_K.to(batch.ids_ST.device)
        g_N = self.profile_K[batch["turn"]]
        w_N = torch.ones_like(g_N)
        if "teacher_logp" in batch.fields and self.objective.turns.measured:
            w_N = _weights_from_logp(self.objective.turns, batch)
        if "alone" in batch.fields:
            w_N = w_N.masked_fill(batch["alone"], 0.0)
        applied_N, rewarded_N = distill * g_N * w_N, self.reward_weight_N(distill, reward, g_N)
        if "taken" in batch.fields:  # of turns that the teacher played: its weight there, which nothing measured alters
            said_N = torch.zeros_like(g_N) if self.teacher_turns == "masked" else distill * g_N
            applied_N = torch.where(batch["taken"], said_N, applied_N)
            rewarded_N = rewarded_N.masked_fill(batch["taken"], 0.0)
        metrics["weight/applied_teacher"] = float(applied_N.mean())
        sums_K = torch.zeros_like(self.profile_K).index_add_(0, batch["turn"], g_N * w_N)
        counts_K = torch.bincount(batch["turn"], minlength=len(self.profile_K))
        metrics["turn_weight"] = [s / n if n else None for s, n in zip(sums_K.tolist(), counts_K.tolist(), strict=True)]
        return batch.having(distill_weight=applied_N, reward_weight=rewarded_N)

    def _without_cut_rewards(self, batch: TokenBatch, episodes: Episodes) -> TokenBatch:
        """No reward for any rollout of a task of which one was cut: what they would have got cannot be compared."""
        cut_E = torch.tensor([outcome.cut for outcome in episodes.outcomes], device=batch.ids_ST.device)
        silent_E = cut_E.view(-1, self.group_size).any(1).repeat_interleave(self.group_size)
        return batch.having(reward_weight=batch["reward_weight"].masked_fill(silent_E[batch["episode"]], 0.0))

    # ---- the loss --------------------------------------------------------------------------------------------------

    def terms(self, output: Output, batch: TokenBatch, split: bool = False) -> dict[str, Tensor]:
        if "taught" not in batch.fields:
            return self.played_terms(output, batch, split)
        own, taught = ((batch["taught"] == which).nonzero()[:, 0] for which in (0, 1))
        terms = self.played_terms(output.at(own), batch.tokens_at(own), split)
        terms = {name: term / batch.numbers["own_share"] for name, term in terms.items()}
        pulled = self.relabelled(output.at(taught), batch.tokens_at(taught))
        return terms | {"distill": pulled / batch.numbers["taught_share"]}

    def relabelled(self, output: Output, batch: TokenBatch) -> Tensor:
        """The term of what the teacher would have done, summed over its tokens."""
        signal = SIGNALS[self.objective.distill.kind]
        assert isinstance(signal, Imitation)
        return (batch["distill_weight"] * signal.loss(batch.logp(output.logits_NV, 1.0))).sum()

    def played_terms(self, output: Output, batch: TokenBatch, split: bool) -> dict[str, Tensor]:
        """Those of tokens that were played."""
        if "taken" not in batch.fields:
            return self.own_terms(output, batch, split)
        own, taken = ((batch["taken"] == theirs).nonzero()[:, 0] for theirs in (False, True))
        terms = self.own_terms(output.at(own), batch.tokens_at(own), split)
        return terms | self.imitation(output.at(taken), batch.tokens_at(taken))

    def imitation(self, output: Output, batch: TokenBatch) -> dict[str, Tensor]:
        """The term of turns that the teacher played, summed over its tokens."""
        logp_NV = tempered(output.logits_NV, batch.numbers["temperature"])
        match self.teacher_turns:
            case "masked":
                return {}
            case "cross_entropy":
                loss_N = -batch.of_targets(logp_NV)
            case "forward_kl" if "teacher_logp" not in batch.fields:  # the teacher has no weight at this step
                return {}
            case "forward_kl":
                loss_N = forward_kl(*self.distributions(output.logits_NV, logp_NV, batch))
            case _:
                assert_never(self.teacher_turns)
        return {"imitation": (batch["distill_weight"] * loss_N).sum()}

    def distributions(self, logits_NV: Tensor, logp_NV: Tensor, batch: TokenBatch) -> tuple[Tensor, Tensor]:
        """The student's log-probs and the teacher's, cut and tempered as these were when it was scored.

        `logp_NV`: the student's at the temperature of sampling.
        """
        assert self.teacher is not None
        assert self.full is not None
        if self.full.temperature != batch.numbers["temperature"]:
            logp_NV = tempered(logits_NV, self.full.temperature)
        student = logp_NV if self.full.top_k is None else top_k_with_tail(logp_NV, batch["teacher_index"])
        return with_rest(student, self.teacher.whole(batch, self.full.temperature))

    def own_terms(self, output: Output, batch: TokenBatch, split: bool) -> dict[str, Tensor]:
        """Those of the tokens that the student sampled."""
        logp_NV = tempered(output.logits_NV, batch.numbers["temperature"])
        logp_N = batch.of_targets(logp_NV)
        old_N = logp_N.detach() if self.on_policy else batch["old_logp"]
        terms = self.policy_terms(View(output.logits_NV, logp_NV, logp_N, old_N), batch, split)
        if "reference_logp" in batch.fields and not self.objective.kl_penalty.in_reward:
            terms["kl"] = batch.numbers["kl_weight"] * self._penalty(logp_NV, logp_N, batch).sum()
        terms |= self.advantage.terms(output, batch)
        if self.objective.entropy_coef > 0:
            terms["entropy"] = -self.objective.entropy_coef * entropy(logp_NV).sum()
        return terms

    def _penalty(self, logp_NV: Tensor, logp_N: Tensor, batch: TokenBatch) -> Tensor:
        assert self.penalty is not None
        if self.penalty.over_vocabulary:
            assert self.reference is not None
            reference_NV = whole(self.reference, batch, "reference", batch.numbers["temperature"])
            return self.penalty.term(logp_NV, reference_NV)
        return self.penalty.term(logp_N, batch["reference_logp"])

    # ---- after the update ------------------------------------------------------------------------------------------

    def measured(self, metrics: Metrics) -> None:
        """Tell controllers (adaptive weight, target KL) what this step measured."""
        if "kl/teacher" in metrics:
            self.distill_weight.measured(metrics["kl/teacher"])
        if self.kl_weight and "kl/reference" in metrics:
            self.kl_weight.measured(metrics["kl/reference"])

    def state_dict(self) -> dict[str, Any]:
        return {
            "distill_weight": self.distill_weight.state_dict(),
            "kl_weight": self.kl_weight.state_dict() if self.kl_weight else {},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.distill_weight.load_state_dict(state["distill_weight"])
        if self.kl_weight:
            self.kl_weight.load_state_dict(state["kl_weight"])


def _distance(batch: TokenBatch, name: str) -> Metrics:
    """`kl/<name>`: how far the student is from a model on what it sampled itself, in nats; {} if that is nothing."""
    gap_N = batch["old_logp"] - batch[f"{name}_logp"]
    if "taken" in batch.fields:
        gap_N = gap_N[~batch["taken"]]
    return {f"kl/{name}": float(gap_N.mean())} if len(gap_N) else {}


def _weights_from_logp(turns: TurnProfile, batch: TokenBatch) -> Tensor:
    """The weights that a measured turn profile gives flat tokens; it sees one episode per row."""
    row_N, rank_N = batch["episode"], batch.rank_N
    shape = (int(row_N.max()) + 1, int(rank_N.max()) + 1)

    def padded(x_N: Tensor) -> Tensor:
        out = x_N.new_zeros(shape)
        out[row_N, rank_N] = x_N
        return out

    student, teacher = padded(batch["old_logp"]), padded(batch["teacher_logp"])
    mask = padded((~batch["taken"]).long() if "taken" in batch.fields else torch.ones_like(row_N))
    return measured.weights(turns, student, teacher, padded(batch["turn"]), mask)[row_N, rank_N]
