"""This toolkit's step: the trainer's own pieces on the benchmark's models and environment."""

from __future__ import annotations

import torch
from accelerate import Accelerator

from atod_sweep.config.models import NoTeacher, Pretrained, PretrainedTeacher
from atod_sweep.config.objective import Interpolated
from atod_sweep.config.rollout import Rollout
from atod_sweep.config.schedules import Constant
from atod_sweep.config.signals import ReverseKL, SampledReverseKL
from atod_sweep.config.train import Env, Optimiser, Runtime, Train
from atod_sweep.envs.batch import Batch
from atod_sweep.training.algorithms.interpolated import InterpolatedMix
from atod_sweep.training.algorithms.stage import Stage
from atod_sweep.training.loop.update import Updater
from atod_sweep.training.models.policy import Policy
from atod_sweep.training.play.episodes import Player
from atod_sweep.training.play.outcomes import Limits
from atod_sweep.training.play.talk import Growing
from atod_sweep.training.randomness import numpy_generator, torch_generator
from atod_sweep.training.runtime import keep_freed_memory
from atod_sweep.training.scoring import SCORING_TOKENS
from atod_sweep.training.teachers.local import LocalTeacher
from benchmarks.trainer import workload
from benchmarks.trainer.clock import Row, now
from benchmarks.trainer.workload import Workload

NO_WEIGHT = Constant(start=0.0)


def make_config(work: Workload, objective: Interpolated, autocast: bool) -> Train:
    """One trial's config. Models are handed over built, hence the empty paths."""
    return Train(
        env=Env(id="benchmarks.trainer.workload:WordsEnv", horizon=work.turns),
        student=Pretrained(path=""),
        teacher=NoTeacher() if objective.distill_weight == NO_WEIGHT else PretrainedTeacher(path=""),
        objective=objective,
        rollout=Rollout(tasks=work.tasks, group_size=work.group, max_action_tokens=workload.ACTION_TOKENS),
        optimiser=Optimiser(lr=workload.LR, warmup_steps=0),
        runtime=Runtime(precision="bf16" if autocast else "fp32"),
    )


def make_conversation(vocabulary: int) -> Growing:
    """Turns of exactly the workload's tokens: an action that was cut off gets no end token."""
    return Growing(
        tokenizer=workload.make_tokenizer(vocabulary),
        opening=f"{workload.OBS} ",
        between=f"{workload.OBS} ",
        closing=f" {workload.ACT}",
        later_closing=f" {workload.ACT}",
        end_ids=(),
        stop_ids=frozenset({workload.END_ID}),
    )


class Ours:
    """Half reward and half teacher; `teacher` is the precision in which that one scores, or None for reward only."""

    def __init__(
        self,
        work: Workload,
        teacher: torch.dtype | None,
        device: str,
        autocast: bool = False,
        cuda_graphs: bool = True,
        whole_distribution: bool = False,
    ) -> None:
        keep_freed_memory()
        self.device = device
        accelerator = Accelerator(cpu=device == "cpu")
        objective = Interpolated(
            distill_weight=NO_WEIGHT if teacher is None else Constant(start=0.5),
            distill=ReverseKL() if whole_distribution else SampledReverseKL(),
        )
        config = make_config(work, objective, autocast)
        student = Policy(workload.make_student(work)).to(accelerator.device)
        limits = Limits(workload.ACTION_TOKENS, context=workload.MAX_POSITIONS)
        player = Player(
            Batch(config.env, work.episodes), make_conversation(work.student.vocabulary), limits, cuda_graphs
        )
        frozen: LocalTeacher | None = None
        if teacher is not None:
            policy = Policy(workload.make_teacher(work).to(accelerator.device, teacher)).frozen()
            frozen = LocalTeacher(policy, player, player, shared_vocabulary=True)
        self.stage = Stage(
            config=config,
            policy=student,
            player=player,
            teacher=frozen,
            tasks=numpy_generator(0, "tasks"),
            sampling=torch_generator(0, "sampling", accelerator.device),
            score_tokens=SCORING_TOKENS if device == "cpu" else 16 * SCORING_TOKENS,
        )
        self.algorithm = InterpolatedMix(config, frozen, reference=None)
        trained = [p for p in student.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(trained, lr=workload.LR, weight_decay=0.0, fused=True)
        policy, optimiser = accelerator.prepare(student, optimiser)
        self.updater = Updater(accelerator, policy, optimiser, config, numpy_generator(0, "order"))

    def step(self) -> Row:
        """One optimiser step. The learning rate hardly moves the policy, so every step is step 0."""
        stage = self.stage
        started = now(self.device)
        episodes = stage.play(stage.policy, step=0)
        played = now(self.device)
        batch, _ = self.algorithm.prepare(stage.policy, episodes, 0, stage.temperature(0), stage.score_tokens)
        scored = now(self.device)
        self.updater.apply(batch, self.algorithm.terms, 0, stage.temperature(0))
        updated = now(self.device)
        return Row(episodes.tokens, batch.tokens, played - started, scored - played, updated - scored)
