"""On a CUDA device: cached decoding, replayed from graphs or not, is a full forward pass; trials run and resume."""

from __future__ import annotations

import pytest
import torch
from small import ECHO, full_forward_logp, make_model, tokenizer

from atod_sweep.config.files import load_train
from atod_sweep.config.train import Env
from atod_sweep.envs.batch import Batch
from atod_sweep.training.loop import trainer
from atod_sweep.training.models.policy import Policy
from atod_sweep.training.play.conversation import conversation_for
from atod_sweep.training.play.episodes import Player
from atod_sweep.training.play.outcomes import Limits
from atod_sweep.training.pretraining import cache as models

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("graphs", [True, False])
@pytest.mark.parametrize("name", ["llama", "llama-gqa", "qwen3", "gpt2"])
def test_cached_decoding_equals_a_full_forward(name, graphs):
    policy = Policy(make_model(name).cuda())
    conversation = conversation_for(tokenizer(), chat_template=True, stop_strings=[])
    player = Player(Batch(Env(id=ECHO, horizon=4), 8), conversation, Limits(4, 256), cuda_graphs=graphs)
    generator = torch.Generator("cuda").manual_seed(5)
    for round_ in range(3):  # the second and third replay what the first captured, on weights that have moved
        episodes = player.play(policy, list(range(8 * round_, 8 * round_ + 8)), "train", 1.0, generator)
        want = full_forward_logp(policy.model, episodes)
        assert torch.allclose(episodes.logp_N, want, rtol=0, atol=1e-3)
        with torch.no_grad():
            for parameter in policy.parameters():
                parameter.mul_(1.05)


def test_graphs_grow_with_the_conversation():
    policy = Policy(make_model("llama").cuda())
    conversation = conversation_for(tokenizer(), chat_template=True, stop_strings=[])
    player = Player(Batch(Env(id=ECHO, horizon=24), 4), conversation, Limits(8, 256), cuda_graphs=True)
    generator = torch.Generator("cuda").manual_seed(5)
    for _ in range(2):
        episodes = player.play(policy, [1, 2, 3, 4], "train", 1.0, generator)
        assert torch.allclose(episodes.logp_N, full_forward_logp(policy.model, episodes), rtol=0, atol=1e-3)


def test_the_update_has_the_gradients_of_transformers():
    """The hand-written path, in float32 on the device."""
    torch.manual_seed(0)
    policy = Policy(make_model("llama").cuda())
    ids = torch.randint(0, 15, (3, 20), device="cuda")
    index = torch.tensor([3, 19, 7, 45, 59], device="cuda")
    found = []
    for fast in (True, False):
        policy.compact = fast
        policy.zero_grad(set_to_none=True)
        (policy(ids, index).logits_NV.log_softmax(-1)[:, :5] ** 2).sum().backward()
        found.append([p.grad for p in policy.parameters()])
    for mine, theirs in zip(*found, strict=True):
        assert (mine - theirs).norm() <= 1e-4 * theirs.norm()


def test_scoring_on_folded_weights():
    ids = torch.randint(0, 15, (3, 20), device="cuda")
    index = torch.tensor([3, 19, 7, 45, 59], device="cuda")
    model = make_model("llama").cuda()
    want = model(input_ids=ids).logits.flatten(0, 1)[index]
    policy = Policy(model).frozen()
    assert policy.folded is not None
    assert torch.allclose(policy(ids, index).logits_NV, want, rtol=0, atol=1e-4)
    assert Policy(make_model("llama").cuda().bfloat16()).frozen().folded is None  # a GPU's own kernels are good


def config(**changes):
    small = {"hidden": 16, "layers": 1, "heads": 2}
    recipe = {"steps": 3, "episodes": 4}
    base = {
        "base": "presets/support_desk_compact",
        "teacher": {**small, "recipe": recipe},
        "student": {**small, "recipe": {**recipe, "steps": 10, "success": [0.0, 1.0]}},
        "rollout": {"tasks": 2, "group_size": 2},
        "evaluation": {"every": 4, "tasks": 8},
        "steps": 8,
        "checkpoint_every": 4,
    }
    return load_train({**base, **changes})


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_trial_runs_from_end_to_end(tmp_path, monkeypatch, precision):
    monkeypatch.setenv("ATOD_SWEEP_CACHE", str(tmp_path / "cache"))
    rows = []
    changes = {"runtime.precision": precision, "runtime.teacher_dtype": precision}
    result = trainer.train(config(**changes), tmp_path / "trial", rows.extend)
    assert [row["step"] for row in rows if row["phase"] == "eval"] == [0, 4, 8]
    assert 0 <= result.final["eval/success"] <= 1
    assert (tmp_path / "trial" / "student" / "model.safetensors").is_file()


def test_a_trial_resumes_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setenv("ATOD_SWEEP_CACHE", str(tmp_path / "cache"))
    models.ensure(config())
    whole: list[dict] = []
    trainer.train(config(), tmp_path / "whole", whole.extend)

    class Stop(Exception):
        pass

    def stop(rows):
        if rows[-1]["step"] == 4:
            raise Stop

    with pytest.raises(Stop):
        trainer.train(config(), tmp_path / "cut", stop)
    rest: list[dict] = []
    trainer.train(config(), tmp_path / "cut", rest.extend, resume=True)
    wanted = {row["step"]: row["loss"] for row in whole if row["phase"] == "train" and row["step"] >= 4}
    found = {row["step"]: row["loss"] for row in rest if row["phase"] == "train" and row["step"] >= 4}
    assert found == pytest.approx(wanted, rel=1e-3, abs=1e-4)
