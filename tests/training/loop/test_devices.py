"""Which device and how many processes a run is given."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
import torch
from small import tiny

from atod_sweep.errors import UserError
from atod_sweep.training.loop import build
from atod_sweep.training.runtime import use_threads


@pytest.fixture
def chosen(monkeypatch) -> list[int]:
    """A machine with two CUDA devices, and those that were made the current one."""
    calls: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", calls.append)
    return calls


def test_the_device_of_the_config_becomes_the_current_one(chosen):
    build._take_device("cuda:1")
    assert chosen == [1]


@pytest.mark.parametrize("wanted", ["auto", "cpu", "cuda"])
def test_any_other_choice_leaves_the_current_device(chosen, wanted):
    build._take_device(wanted)
    assert chosen == []


def test_a_device_that_is_not_there(chosen):
    with pytest.raises(UserError, match=r"runtime.device: 'cuda:2', but the last CUDA device is cuda:1; use auto"):
        build._take_device("cuda:2")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has one")
def test_no_cuda_at_all():
    with pytest.raises(UserError, match=r"runtime.device: 'cuda:0', but this machine has no CUDA device"):
        build._take_device("cuda:0")


@pytest.mark.parametrize(("threads", "before", "after"), [(1, None, "false"), (1, "true", "true"), (2, None, None)])
def test_one_thread_is_one_thread_for_the_tokenizer_too(monkeypatch, threads, before, after):
    name = "TOKENIZERS_PARALLELISM"
    monkeypatch.setenv(name, before or "")  # so that it is put back
    if before is None:
        monkeypatch.delenv(name)
    was = torch.get_num_threads()
    use_threads(threads)
    assert torch.get_num_threads() == threads
    assert os.environ.get(name) == after
    torch.set_num_threads(was)


def test_every_process_needs_a_task(monkeypatch, tmp_path):
    three = SimpleNamespace(num_processes=3, process_index=0, device=torch.device("cpu"))
    monkeypatch.setattr(build, "accelerator_for", lambda _: three)
    with pytest.raises(UserError, match=r"rollout.tasks: 2, but 3 processes share the tasks; set it to at least 3"):
        build.assemble(tiny(rollout__tasks=2), tmp_path, resume=False)
