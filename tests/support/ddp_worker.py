"""One of two data-parallel processes, and what starts both, with the environment that accelerate expects."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import torch
from small import tiny

from atod_sweep.training.loop import runners, trainer
from atod_sweep.training.loop.build import assemble
from atod_sweep.training.loop.trial import TrialState


def first_gradient(folder: Path, settings: dict) -> None:
    """Play all tasks in every process, update on the own share of them, save the gradient."""
    run = assemble(tiny(**settings), folder / "unused", resume=False)
    stage, rank = run.stage, run.accelerator.process_index
    stage.world, stage.rank = 1, 0
    stage.sampling.manual_seed(7)  # the same episodes everywhere
    batch = run.algorithm.collect(stage, 0).batch
    group = run.config.rollout.group_size
    task_S = torch.zeros(len(batch.ids_ST), dtype=torch.long)
    task_S[batch.sequence_N] = batch["episode"] // group
    world = run.accelerator.num_processes
    mine = batch.take((task_S % world == rank).nonzero()[:, 0])
    metrics = run.updater.apply(mine, run.algorithm.terms, 0, 1.0)
    gradients = {name: p.grad for name, p in stage.policy.named_parameters()}
    torch.save({"gradients": gradients, "metrics": metrics, "tokens": mine.tokens}, folder / f"{world}-{rank}.pt")


def whitened(folder: Path, settings: dict) -> None:
    """Advantages of the own share of the tasks, told apart by their episode's return."""
    run = assemble(tiny(**settings), folder / "unused", resume=False)
    batch = run.algorithm.collect(run.stage, 0).batch
    first_N = torch.cat([torch.tensor([True]), (100 * batch["episode"] + batch["turn"]).diff() != 0])
    torch.save(batch["advantage"][first_N], folder / f"advantages-{run.accelerator.process_index}.pt")


def whole_run(folder: Path, settings: dict) -> None:
    """Train; save what this process was told and where its weights ended."""
    runs: list[TrialState] = []
    trainer.assemble = lambda *a, **k: runs.append(assemble(*a, **k)) or runs[-1]
    told: list[dict] = []
    result = trainer.train(tiny(**settings), folder / "run", told.extend, resume=settings.pop("resume", False))
    (run,) = runs
    weights = {name: p.detach() for name, p in run.stage.policy.named_parameters()}
    kept = {"told": told, "cost": result.cost, "final": result.final, "steering": run.algorithm.state_dict()}
    torch.save(weights, folder / f"weights-{run.accelerator.process_index}.pt")
    (folder / f"told-{run.accelerator.process_index}.json").write_text(json.dumps(kept))


def rows(folder: Path, settings: dict) -> None:
    """Train by whatever trainer the config names; save what this process was told."""
    told: list[dict] = []
    result = runners.train(tiny(**settings), folder / "run", told.extend)
    kept = {"told": told, "cost": result.cost, "final": result.final}
    (folder / f"told-{os.environ['RANK']}.json").write_text(json.dumps(kept))


def launch(what: str, folder: Path, settings: dict) -> None:
    """Run two workers as `accelerate launch --cpu --num_processes 2` would."""
    processes = 2
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = []
    for rank in range(processes):
        world = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
        env = os.environ | {key: str(value) for key, value in world.items()}
        env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true"}
        command = [sys.executable, __file__, what, str(folder), json.dumps(settings)]
        running.append(subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True))
    for process in running:
        _, problems = process.communicate(timeout=240)
        assert process.returncode == 0, problems


if __name__ == "__main__":
    torch.set_num_threads(1)
    jobs = {"gradient": first_gradient, "whiten": whitened, "run": whole_run, "rows": rows}
    jobs[sys.argv[1]](Path(sys.argv[2]), json.loads(sys.argv[3]))
