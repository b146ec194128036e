"""A recipe of a pretrained model: supervised steps from what lies there, cached whole; then it learns or teaches."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_gguf import write_gguf
from safetensors.torch import load_file
from small import tiny
from transformers import AutoModelForCausalLM

from atod_sweep.config.base import with_overrides
from atod_sweep.config.models import Pretrained
from atod_sweep.config.train import Train, model_key
from atod_sweep.errors import UserError
from atod_sweep.training.loop.build import assemble
from atod_sweep.training.loop.standalone import save_standalone
from atod_sweep.training.loop.trainer import evaluate_model, train
from atod_sweep.training.models.load import load_model
from atod_sweep.training.models.policy import Policy
from atod_sweep.training.play.outcomes import Limits
from atod_sweep.training.pretraining import build, pretrain
from atod_sweep.training.pretraining import cache as models

RECIPE = {"steps": 20, "episodes": 16, "lr": 0.02, "perturb": 0.3}
LORA = {"rank": 2, "alpha": 4.0}
IDS = torch.arange(2, 14)[None]


def taught(path: Any, role: str = "student", **settings: Any) -> dict[str, Any]:
    given = {"kind": "pretrained", "path": str(path), "recipe": RECIPE} | settings
    return {f"{role}__{key}": value for key, value in given.items()}


def config_of(path: Any, **settings: Any) -> Train:
    """A trial whose student has a recipe, rewarded only."""
    return tiny(teacher__kind="none", objective__distill_weight=0.0, **taught(path, **settings))


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(IDS).logits


def weights(ref: models.ModelRef) -> dict[str, torch.Tensor]:
    return load_file(Path(ref.path) / "model.safetensors")


@pytest.mark.parametrize("lora", [None, LORA])
def test_it_learns_from_what_lies_there_and_is_kept_whole(built, lora):
    if lora:
        pytest.importorskip("peft", reason="needs the lora extra")
    recipe = RECIPE | {"steps": 60 if lora else 20}  # adapters of rank 2 learn more slowly
    config = config_of(built.student.path, lora=lora, recipe=recipe)
    ref = models.ensure(config).student
    assert ref.built
    assert ref.success > built.student.success + 0.2
    before, after = weights(built.student), weights(ref)
    assert before.keys() == after.keys()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    # `all-linear` leaves the head and the embeddings alone
    assert moved == {name for name in before if not lora or "_proj" in name}
    again = models.ensure(config).student
    assert (again.path, again.built) == (ref.path, False)


def test_the_key_holds_the_base_and_not_its_place(built, tmp_path):
    def digest(path: Path, **settings: Any) -> str:
        return models.ensure(config_of(path, recipe=RECIPE | {"steps": 1}, **settings)).student.digest

    copy = shutil.copytree(built.student.path, tmp_path / "copy")
    first = digest(Path(built.student.path))
    assert digest(copy) == first
    assert digest(copy, dtype="bfloat16") != first
    assert digest(copy, system="Be brief.") != first
    changed = AutoModelForCausalLM.from_pretrained(copy)
    changed.lm_head.weight.data[0] += 1
    changed.save_pretrained(copy)
    assert digest(copy) != first


def test_training_starts_from_it_with_adapters_of_its_own_and_exports_it_whole(built, tmp_path):
    pytest.importorskip("peft", reason="needs the lora extra")
    config = config_of(built.student.path, lora=LORA)
    ref = models.ensure(config).student
    made = AutoModelForCausalLM.from_pretrained(ref.path)
    run = assemble(config, tmp_path / "start", resume=False)
    assert torch.allclose(logits(run.stage.policy.model), logits(made), atol=1e-6)
    rows: list[dict[str, Any]] = []
    result = train(config, tmp_path / "run", rows.extend)
    assert rows[0]["eval/success"] == evaluate_model(config, ref.path, "base")["eval/success"]
    assert result.final
    student = load_model(Pretrained(path=str(tmp_path / "run" / "student")))  # adapters remember their base
    save_standalone(config, tmp_path / "run" / "student", tmp_path / "whole")
    whole = AutoModelForCausalLM.from_pretrained(tmp_path / "whole")
    assert torch.allclose(logits(whole), logits(student), atol=1e-5)
    assert not torch.allclose(logits(whole), logits(made), atol=1e-3)


def test_a_teacher_and_a_student_of_one_gguf_file(tmp_path):
    """Neither what is cached, nor the adapters trained on it, are a GGUF any more."""
    pytest.importorskip("peft", reason="needs the lora extra")
    file = {"gguf_file": write_gguf(tmp_path / "base"), "lora": LORA}
    short = {"recipe": {"steps": 2, "episodes": 2}}
    base = tmp_path / "base"
    config = tiny(
        **taught(base, **file, **short), **taught(base, "teacher", **file, recipe={"steps": 3, "episodes": 2})
    )
    refs = models.ensure(config)
    assert refs.teacher is not None
    assert refs.teacher.path != refs.student.path
    rows: list[dict[str, Any]] = []
    train(config, tmp_path / "run", rows.extend)
    assert rows[1]["kl/teacher"] > 0
    assert "eval/success" in evaluate_model(config, refs.teacher.path)
    save_standalone(config, tmp_path / "run" / "student", tmp_path / "whole")
    student = load_model(Pretrained(path=str(tmp_path / "run" / "student")))
    whole = AutoModelForCausalLM.from_pretrained(tmp_path / "whole")
    assert torch.allclose(logits(whole), logits(student), atol=1e-5)


def test_a_step_in_parts_is_the_step(built):
    made = []
    for part_tokens in (None, 64):
        config = config_of(built.student.path, recipe=RECIPE | {"steps": 1, "seed": 1})
        policy = load_model(Pretrained(path=built.student.path))
        voice = build.Voice.load("student", Pretrained(path=built.student.path), config.rollout)
        limits = Limits(4, 256)
        policy = Policy(voice.model)
        assert config.student.recipe is not None
        training = pretrain.Pretraining(
            policy, config.env, config.student.recipe, voice.conversation, limits, part_tokens=part_tokens
        )
        made.append((training.step(0.01), policy.state_dict()))
        training.close()
    (loss, whole), (other, parts) = made
    assert loss == pytest.approx(other, rel=1e-5)
    # Adam's first step takes the sign of each gradient, so weights whose gradient is nothing may go either way
    same = [torch.isclose(whole[name], parts[name], atol=1e-4).float().mean() for name in whole]
    assert min(same) > 0.99


def test_where_nobody_demonstrates_it_is_refused_before_anything_is_loaded(built, monkeypatch):
    monkeypatch.setattr(build.Voice, "load", lambda *_: pytest.fail("loaded"))
    kwargs = {"observations": ["red", "blue"], "rewards": [1.0]}
    mute = tiny(env__id="echo_env:Mute", env__kwargs=kwargs).env
    config = config_of(built.student.path).model_copy(update={"env": mute})
    with pytest.raises(UserError, match=r"Mute has no demonstrator_action\(\).* without a recipe") as error:
        models.ensure(config)
    assert "\n" not in str(error.value)


def test_a_change_of_kind_takes_no_compact_recipe_along():
    compact = Train().model_dump(mode="json")
    for role in ("student", "teacher"):
        data = with_overrides(Train, compact, {f"{role}.kind": "pretrained", f"{role}.path": "m"})
        assert getattr(Train.model_validate(data), role).recipe is None
        data = with_overrides(
            Train, compact, {f"{role}.kind": "pretrained", f"{role}.path": "m", f"{role}.recipe.steps": 7}
        )
        assert getattr(Train.model_validate(data), role).recipe.steps == 7


@pytest.mark.parametrize(("horizons", "depends"), [([], True), ([3], False)])
def test_one_model_serves_all_horizons_if_its_recipe_names_them(horizons, depends):
    keys = set()
    for horizon in (3, 4):
        settings = {"student__recipe__horizons": horizons, "student__recipe__steps": 5}
        config = tiny(
            env__horizon=horizon, teacher__kind="none", objective__distill_weight=0.0,
            student__kind="pretrained", student__path="m", **settings,
        )  # fmt: skip
        keys.add(model_key(config.model_dump(mode="json")))
    assert (len(keys) == 2) is depends
