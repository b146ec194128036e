"""A real vLLM server: it says of a batch what the same model says here.

It needs an environment of its own, whose Python `ATOD_SWEEP_VLLM` names (see docs/howto/teacher_api.md).
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
import torch
from small import tiny

from atod_sweep.training.algorithms.relabelling import states
from atod_sweep.training.batch import TokenBatch
from atod_sweep.training.loop.build import assemble
from atod_sweep.training.loop.trainer import train
from atod_sweep.training.scoring import FullDistribution

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
# Heads of 32, which vLLM's CPU kernels know; words of the support desk, of which there are more than 20.
DESK = {"env__id": "support_desk", "env__horizon": 6}
HERE = {"teacher__hidden": 64, "teacher__heads": 2}
LIKELIEST = {"objective__distill__kind": "forward_kl", "objective__distill__top_k": 20}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A local teacher on its stage, and the address at which vLLM serves it as `compact`."""
    python = os.environ.get("ATOD_SWEEP_VLLM")
    if not python:
        pytest.skip("ATOD_SWEEP_VLLM names no Python that has vLLM")
    folder = tmp_path_factory.mktemp("vllm")
    stage = assemble(tiny(**DESK, **HERE), folder / "local", resume=False).stage
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = stage.teacher.policy.model.config.name_or_path
    words = [python, "-m", "vllm.entrypoints.openai.api_server", "--model", path, "--served-model-name", "compact"]
    words += ["--dtype", "float32", "--enforce-eager", "--port", str(port), "--max-model-len", "256"]
    environment = os.environ | {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}
    log = (folder / "log").open("w")
    with log, subprocess.Popen(words, stdout=log, stderr=log, env=environment) as server:
        try:
            wait_for(f"http://127.0.0.1:{port}/health", server, folder / "log")
            yield stage, f"http://127.0.0.1:{port}/v1"
        finally:
            server.terminate()


def wait_for(url: str, server: subprocess.Popen, log: Path) -> None:
    for _ in range(1500):
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            assert server.poll() is None, log.read_text()[-2000:]
            time.sleep(1)
    raise AssertionError(log.read_text()[-2000:])


def at(url, **settings):
    return tiny(**DESK, teacher__kind="server", teacher__url=url, teacher__model="compact", **settings)


@pytest.mark.parametrize("api", ["vllm", "openai"])
def test_log_probs_agree(served, tmp_path, api):
    stage, url = served
    signal = LIKELIEST if api == "vllm" else {"objective__distill__kind": "sampled_reverse_kl"}
    remote = assemble(at(url, teacher__api=api, **signal), tmp_path / "served", resume=False).stage
    batch = TokenBatch.of(stage.play(stage.policy, 0))
    full = FullDistribution(1.0, 20) if api == "vllm" else None
    here = stage.teacher.score(batch, 1.0, full, stage.score_tokens)
    there = remote.teacher.score(batch, 1.0, full, stage.score_tokens)
    assert torch.allclose(here["teacher_logp"], there["teacher_logp"], atol=1e-3)
    if full is not None:
        assert torch.allclose(here["teacher_full"][:, :20], there["teacher_full"][:, :20], atol=1e-3)
        assert torch.allclose(here["teacher_full"].exp(), there["teacher_full"].exp(), atol=1e-4)


def test_actions_agree(served, tmp_path):
    stage, url = served
    remote = assemble(at(url, objective__kind="sft"), tmp_path, resume=False).stage
    where = [state for outcome in stage.play(stage.policy, 0).outcomes for state in states(outcome)]
    generator = torch.Generator()
    here, there = (one.teacher.act(where, 0.0, generator) for one in (stage, remote))
    assert [action.ids for action in here] == [action.ids for action in there]
    sampled = remote.teacher.act(where[:1] * 20, 2.0, generator)
    assert len({action.ids for action in sampled}) > 1


def test_a_trial(served, tmp_path):
    _, url = served
    rows = []
    train(at(url, **LIKELIEST), tmp_path, rows.extend)
    assert rows[-1]["cost/teacher_read"] > 0
