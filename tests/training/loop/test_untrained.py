"""The evaluation at step 0 is made once for the trials of a run, and says what each would have found."""

from pathlib import Path
from typing import Any

import pytest

from atod_sweep.config.files import load_train
from atod_sweep.training.loop import books
from atod_sweep.training.loop.trainer import train

SMALL: dict[str, Any] = {
    "steps": 1,
    "evaluation.every": 1,
    "evaluation.tasks": 16,
    "rollout.tasks": 2,
    "rollout.group_size": 2,
    "teacher.recipe.steps": 2,
    "student.recipe.steps": 20,
    "student.recipe.success": [0.0, 1.0],
}


@pytest.fixture
def plays(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry per evaluation that is played."""
    made: list[int] = []
    play = books.evaluated

    def counted(*args: Any) -> Any:
        made.append(1)
        return play(*args)

    monkeypatch.setattr(books, "evaluated", counted)
    return made


def first(folder: Path, **changes: Any) -> dict[str, Any]:
    """The row of step 0, without what it has cost."""
    rows: list[dict[str, Any]] = []
    train(load_train("presets/support_desk_compact", SMALL | changes), folder, rows.extend)
    assert (rows[0]["phase"], rows[0]["step"]) == ("eval", 0)
    return {key: value for key, value in rows[0].items() if not key.startswith(("seconds/", "cost/"))}


def test_trials_of_one_run_share_it(tmp_path: Path, plays: list[int]) -> None:
    alone = first(tmp_path / "alone" / "a")
    plays.clear()
    one = first(tmp_path / "run" / "a")
    assert len(plays) == 2  # at steps 0 and 1
    other = first(tmp_path / "run" / "b", seed=7, **{"objective.distill_weight": 0.5})
    assert len(plays) == 3
    assert one == other == alone
    samples = [(tmp_path / "run" / name / "samples" / "step-000000.json").read_text() for name in "ab"]
    assert samples[0] == samples[1]


@pytest.mark.parametrize("change", [{"evaluation.seed": 5}, {"env.horizon": 6}, {"student.recipe.seed": 3}])
def test_another_student_or_evaluation_has_its_own(tmp_path: Path, plays: list[int], change: dict[str, Any]) -> None:
    first(tmp_path / "a")
    first(tmp_path / "b", **change)
    assert len(plays) == 4
