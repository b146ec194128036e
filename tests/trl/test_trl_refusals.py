"""What a trial through TRL would not train as its config says is refused before anything is loaded. Needs no TRL."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from typing import Any

import pytest
from small import tiny

from atod_sweep.config.train import Train
from atod_sweep.config.trainer import OWNED, Trl
from atod_sweep.errors import UserError
from atod_sweep.export.targets.trl import TARGET
from atod_sweep.training.loop import runners
from atod_sweep.trl import refusals, shim

HYBRID = {"kind": "hybrid", "distill_weight": 0.5}
INTERPOLATED = {"kind": "interpolated", "distill_weight": 0.5}
LORA = {"kind": "pretrained", "path": "somewhere", "lora": {"dropout": 0.1}}


def through_trl(**settings: Any) -> Train:
    return tiny(trainer__kind="trl", **settings)


def test_a_config_without_a_trainer_is_what_it_was() -> None:
    """No hash moves, and no config of old names it."""
    assert "trainer" not in tiny().model_dump(mode="json")
    assert through_trl().model_dump(mode="json")["trainer"] == {"kind": "trl", "args": {}}
    runners.check(tiny())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"objective__kind": "sft"}, "objective.kind 'sft'; set it to interpolated or hybrid"),
        ({"objective__kind": "dpo"}, "objective.kind 'dpo'; set it to interpolated or hybrid"),
        ({"update__epochs": 2}, "update.epochs 2; set it to 1"),
        ({"update__minibatches": 3}, "update.minibatches 3; set it to 1"),
        ({"update__target_kl": 0.1}, "update.target_kl 0.1; set it to null"),
        ({"update__micro_batch_tokens": 512}, "trainer.args.per_device_train_batch_size"),
        ({"student": LORA | {"thoughts": {"tokens": 9}}, "teacher__kind": "none"}, "student.thoughts"),
    ],
)
def test_what_its_trainer_has_no_counterpart_of(settings: dict[str, Any], said: str) -> None:
    if "student" in settings:
        settings = settings | {"objective": HYBRID | {"distill_weight": 0.0}}
    with pytest.raises(UserError) as error:
        through_trl(**settings)
    assert said in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("name", sorted(OWNED))
def test_arguments_that_the_config_has_keys_for(name: str) -> None:
    with pytest.raises(UserError, match=f"{name} is set elsewhere"):
        through_trl(trainer__args={name: 1})


OBJECTIVES = {
    "gap": INTERPOLATED | {"distill_weight": {"kind": "adaptive"}},
    "top_k": INTERPOLATED | {"distill": {"kind": "forward_kl", "top_k": 4}},
    "gae_turn": INTERPOLATED | {"advantage": {"kind": "gae"}},
    "gae_token": INTERPOLATED | {"advantage": {"kind": "gae", "level": "token"}},
    "k1": INTERPOLATED | {"advantage": {"kind": "gae"}, "kl_penalty": {"kind": "k1"}},
    "k2": HYBRID | {"kl_penalty": {"kind": "k2"}},
    "full": HYBRID | {"kl_penalty": {"kind": "full"}},
    "stand_in": HYBRID | {"stand_in": {"kind": "shuffled_teacher"}},
    "target_kl": HYBRID | {"kl_penalty": {"kind": "k3", "coef": {"kind": "target_kl"}}},
}
ROLLOUTS = {
    "temperature": {"kind": "linear", "start": 1.0, "end": 0.5},
    "takeover": {},
    "depth": {},
}
SETTINGS: dict[str, dict[str, Any]] = {
    **{part: {"objective": objective} for part, objective in OBJECTIVES.items()},
    **{part: {f"rollout__{part}": value} for part, value in ROLLOUTS.items()},
}


@pytest.mark.parametrize("part", SETTINGS)
def test_what_the_table_of_the_export_does_not_carry(part: str) -> None:
    assert TARGET.serves(part).how != "yes"
    with pytest.raises(UserError, match=r"trainer\.kind: 'trl' cannot carry") as error:
        runners.check(through_trl(**SETTINGS[part]), here=False)
    assert refusals.PARTS[part] in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("part", refusals.PARTS)
def test_the_table_decides(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every part that there is, whatever a config needs it for."""
    monkeypatch.setattr(refusals, "needed", lambda schedule: [part])
    if TARGET.serves(part).how == "yes":
        refusals.check(through_trl(), here=False)
        return
    with pytest.raises(UserError) as error:
        refusals.check(through_trl(), here=False)
    assert refusals.PARTS[part] in str(error.value)


def test_what_is_carried_is_not_refused() -> None:
    turns, penalty = {"kind": "t_dur"}, {"kind": "k3", "coef": {"kind": "cosine", "start": 0.1, "end": 0.0}}
    for objective in (HYBRID | {"turns": turns, "kl_penalty": penalty}, INTERPOLATED | {"distill": {"kind": "jsd"}}):
        runners.check(through_trl(objective=objective), here=False)


def test_dropout_of_adapters() -> None:
    settings = {"student": LORA, "teacher__kind": "none", "objective": HYBRID | {"distill_weight": 0.0}}
    with pytest.raises(UserError, match=r"student\.lora\.dropout: 0\.1"):
        runners.check(through_trl(**settings), here=False)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({}, 'needs trl, which is not installed; pip install "atod-sweep[trl]"'),
        ({"trl": "1.16.0"}, "needs datasets, which is not installed"),
        ({"trl": "1.17.0", "datasets": "5"}, "is written for trl 1.16, and 1.17.0 is installed"),
        ({"trl": "1.160", "datasets": "5"}, "and 1.160 is installed"),
        ({"trl": "1.16", "datasets": "5"}, None),
    ],
)
def test_trl_itself(found: dict[str, str], said: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name not in found:
            raise PackageNotFoundError(name)
        return found[name]

    monkeypatch.setattr(refusals, "version", version)
    if said is None:
        runners.check(through_trl())
        return
    with pytest.raises(UserError) as error:
        runners.check(through_trl())
    assert said in str(error.value)


def test_an_engine_that_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "version", lambda name: "1.16.0")
    monkeypatch.setattr(refusals, "find_spec", lambda name: None)
    runners.check(through_trl(trainer__args={"use_vllm": False}))
    for name, package in refusals.ENGINES.items():
        with pytest.raises(UserError, match=rf"trainer\.args\.{name}: {package} is not installed"):
            runners.check(through_trl(trainer__args={name: True}))


def test_the_arguments_are_those_of_the_export() -> None:
    config = through_trl(objective=HYBRID | {"clip_ratio": 0.3, "entropy_coef": 0.01}, rollout__group_size=6)
    found = shim.arguments(config)
    assert (found["epsilon"], found["entropy_coef"], found["num_generations"]) == (0.3, 0.01, 6)
    assert {*found} <= {*OWNED}  # a user cannot overrule them
    assert isinstance(config.trainer, Trl)
