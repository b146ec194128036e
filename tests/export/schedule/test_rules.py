"""The code of measured weights in a bundle does what the trainer does."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from atod_sweep.config.penalties import TargetKL
from atod_sweep.config.schedules import Adaptive
from atod_sweep.export.schedule.generate import rule_modules
from atod_sweep.export.schedule.schedule_file import ScheduleFile
from atod_sweep.objective import turn_weights
from atod_sweep.objective.schedules import build

GAPS = [0.5, 0.3, 0.09, 0.05, 0.05, 0.3, 0.01, 0.01, 0.01, 0.0, 0.0, 0.2]


def modules(**objective: Any) -> dict[str, dict[str, Any]]:
    schedule = ScheduleFile.model_validate({"steps": 5, "horizon": 3, "objective": {"kind": "hybrid", **objective}})
    found = {}
    for name, text in rule_modules(schedule).items():
        assert "atod_sweep" not in text  # it has to run without this package
        found[name] = {"__name__": name}
        exec(text, found[name])
    return found


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("distill", Adaptive(start=0.9, end=0.1, threshold=0.1, levels=3, smoothing=0.5)),
        ("beta_kl", TargetKL(start=0.05, target=0.1, rate=0.2)),
    ],
)
def test_controllers_follow_the_trainers(name: str, config: Adaptive | TargetKL) -> None:
    data = config.model_dump(mode="json")
    objective = {"distill_weight": data} if name == "distill" else {"kl_penalty": {"kind": "k3", "coef": data}}
    make = modules(**objective)["controllers.py"]["make"]
    theirs, ours = make(name), build(config)
    found = []
    for i, gap in enumerate(GAPS):
        if i == 5:  # a checkpoint in between
            state, theirs = theirs.state_dict(), make(name)
            theirs.load_state_dict(state)
        theirs.update(gap)
        ours.update(gap)
        found.append(theirs.current)
        assert theirs.current == pytest.approx(ours.current, abs=1e-15)
    assert len(set(found)) > 3
    with pytest.raises(ValueError, match="finite measurements, got nan"):
        theirs.update(float("nan"))


def test_turn_weights_are_the_trainers() -> None:
    module = modules(turns={"kind": "t_dur"})["turn_weights.py"]
    generator = torch.Generator().manual_seed(0)
    student, teacher = (-torch.rand(4, 12, generator=generator) * 3 for _ in range(2))
    turn, mask = torch.arange(12).expand(4, 12) // 4, torch.rand(4, 12, generator=generator) > 0.2
    assert torch.equal(module["t_dur"](student, teacher, turn, mask), turn_weights.t_dur(student, teacher, turn, mask))
    for kind, weigh in turn_weights.WEIGHTS.items():
        assert torch.equal(module["WEIGHTS"][kind](student, teacher, turn, mask), weigh(student, teacher, turn, mask))


def test_closed_forms_need_no_rules() -> None:
    assert modules(turns={"kind": "thresholds"}) == {}
