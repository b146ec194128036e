"""What small students' choice is worth on larger ones, on ledgers whose effects are planted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from claim_ledgers import write_claims
from ledger_files import read_ledger, write_ledger

from atod_sweep.errors import UserError
from atod_sweep.evidence.analysis.reading import load
from atod_sweep.evidence.analysis.transfer import Transfer, transfer
from atod_sweep.evidence.report.transfer import page

SIZES = {"0.11 M": (64, 2), "0.43 M": (128, 2), "2.4 M": (192, 5), "9.3 M": (320, 7)}
ARMS = ("linear", "cosine", "exponential", "constant", "thresholds", "t_dur")


def rung(
    folder: Path, size: str, means: Mapping[str, float], *, noise: float, seeds: int = 5, draw: int = 0, **study: Any
) -> Path:
    """A run whose arms end at these means, with what seeds do to all arms and to each."""
    rng = np.random.default_rng([draw, *size.encode()])
    shared = rng.normal(0, 0.05, seeds)
    ends = {arm: [*(mean + shared + rng.normal(0, noise, seeds))] for arm, mean in means.items()}
    width, layers = SIZES[size]
    student = {"kind": "compact", "hidden": width, "layers": layers, "intermediate": None}
    return write_claims(folder / size.replace(" ", ""), ends, (), base={"student": student}, **study)


def found(folders: list[Path], margin: float = 0.03) -> Transfer:
    return transfer([load(folder) for folder in folders], margin)


def test_a_known_regret_is_found(tmp_path: Path) -> None:
    small = {arm: 0.5 + 0.04 * (arm == "cosine") - 0.02 * i for i, arm in enumerate(ARMS)}
    large = {**small, "constant": 0.7, "cosine": 0.6}
    runs = [rung(tmp_path, size, means, noise=0.005) for size, means in zip(SIZES, (small, small, large), strict=False)]
    got = found(runs[::-1])  # in any order
    assert got.chosen == "cosine"
    assert [step.size.name for step in got.steps] == ["0.11 M", "0.43 M", "2.4 M"]
    assert [step.outcome for step in got.steps] == ["chosen here", "supported", "refuted"]
    last = got.steps[-1]
    assert last.regret.estimate == pytest.approx(0.1, abs=0.01)
    assert 0.08 < last.regret.low < 0.1 < last.regret.high < 0.12
    same, changed = got.steps[1].agreement, last.agreement
    assert same is not None
    assert changed is not None
    assert same.estimate > 0.9
    assert same.low > 0.7
    assert changed.high < same.low
    assert got.limits == ["Sizes above 2.4 M, other tasks, and schedules that were not run."]


def test_without_an_effect_nothing_is_decided(tmp_path: Path) -> None:
    runs = [rung(tmp_path, size, dict.fromkeys(ARMS, 0.6), noise=0.03, seeds=3, draw=1) for size in SIZES]
    got = found(runs)
    assert {step.outcome for step in got.steps[1:]} == {"undecided"}
    assert all(step.regret.low == 0 for step in got.steps[1:])
    assert all(step.agreement and step.agreement.low < 0 < step.agreement.high for step in got.steps[1:])
    assert got.limits[0].startswith(f"The choice itself: at 0.11 M {got.chosen} is not told apart from ")
    assert sum("no arm is told apart from another" in limit for limit in got.limits) >= 3


def test_one_run_with_its_sizes_as_a_factor(make_run: Callable[..., Path]) -> None:
    """Other factors are averaged over, and the arms at each size have seeds of their own."""
    overrides = {
        "size": {"small": {"student.hidden": 64}, "large": {"student.hidden": 128, "optimiser.lr": 5e-4}},
        "horizon": {"short": {"env.horizon": 4}, "long": {"env.horizon": 8}},
    }
    run = make_run(
        "ladder",
        {"linear": 0.6, "cosine": 0.5, "constant": 0.4},
        factors={"size": {"small": 0.0, "large": 0.1}, "horizon": {"short": 0.1, "long": 0.0}},
        noise=0.004,
        definition={"base": {"student": {"kind": "compact", "hidden": 64, "layers": 2}}, "factors": overrides},
    )
    got = found([run])
    assert [(step.size.name, len(step.size.seeds)) for step in got.steps] == [("0.11 M", 3), ("0.43 M", 3)]
    assert got.steps[0].size.scores_AS.mean(axis=1) == pytest.approx([0.65, 0.55, 0.45], abs=0.02)
    assert [step.outcome for step in got.steps] == ["chosen here", "supported"]


@pytest.mark.parametrize(
    ("student", "folder", "size"),
    [
        ({"kind": "pretrained", "path": "Qwen/Qwen3-0.6B"}, "a", 0.6e9),
        ({"kind": "pretrained", "path": "models/Qwen2.5-1.5b-instruct"}, "a", 1.5e9),
        ({"kind": "pretrained", "path": "$X", "gguf_file": "SmolLM2-135M-Instruct.Q4_1.gguf"}, "a", 135e6),
        ({"kind": "pretrained", "path": "out/student"}, "mine-0.6B", 0.6e9),
        ({"kind": "compact", "hidden": 64, "layers": 2, "intermediate": 128}, "a", 2 * 64 * (256 + 384)),
    ],
)
def test_a_students_size(tmp_path: Path, student: dict[str, Any], folder: str, size: float) -> None:
    small = rung(tmp_path, "0.11 M", {"a": 0.5, "b": 0.4}, noise=0.01)
    other = write_claims(tmp_path / folder, {"a": [0.5] * 3, "b": [0.4] * 3}, (), base={"student": student})
    assert size in [step.size.parameters for step in found([small, other]).steps]


def test_what_limits_the_answer_is_said(tmp_path: Path) -> None:
    small = rung(tmp_path, "0.11 M", {"a": 0.7, "b": 0.4, "c": 0.3}, noise=0.01)
    few = rung(tmp_path, "0.43 M", {"a": 0.7, "b": 0.4}, noise=0.01, seeds=2, numerics=4)
    ends = {"a": [0.21, 0.2, 0.22, 0.21], "b": [0.2, 0.2, 0.21, None]}
    student = {"kind": "compact", "hidden": 192, "layers": 5}
    flat = write_claims(tmp_path / "flat", ends, (), base={"student": student, "env": {"id": "planner"}})
    got = found([small, few, flat])
    assert [step.outcome for step in got.steps] == ["chosen here", "not judged", "not judged"]
    assert got.limits == [
        "0.43 M: 2 seeds with all arms; 3 are needed.",
        "2.4 M: 3 of 4 seeds have all arms; the others do not count.",
        "2.4 M: no arm is told apart from another, so an order of them, and its correlation, is chance.",
        "2.4 M: no arm learned, so a regret says nothing.",
        "c: not at every size, and left out.",
        "Size alone: the runs also differ in the version of the trainer's numerics.",
        "Size alone: the runs also differ in the environment.",
        "Sizes above 2.4 M, other tasks, and schedules that were not run.",
    ]


def test_an_arm_with_a_student_of_its_own_is_no_schedule_of_that_size(tmp_path: Path) -> None:
    """What is wider than its run's students would be best at every size, and tells nothing of schedules."""
    means = {"linear": 0.5, "cosine": 0.6, "wide": 0.9}
    runs = [rung(tmp_path, size, means, noise=0.005) for size in ("0.11 M", "0.43 M")]
    for run in runs:
        study, *rows = read_ledger(run)
        definition = {**study["definition"], "arms": {"linear": {}, "cosine": {}, "wide": {"student.hidden": 256}}}
        write_ledger(run, [{**study, "definition": definition}, *rows])
    got = found(runs)
    assert got.chosen == "cosine"
    assert "wide: with a student of another size than the run's, and left out." in got.limits


def test_what_cannot_be_asked_is_refused(
    tmp_path: Path, make_run: Callable[..., Path], make_search: Callable[..., Path]
) -> None:
    arms = {"a": 0.5, "b": 0.4}
    small, large = (rung(tmp_path, size, arms, noise=0.01) for size in ("0.11 M", "2.4 M"))
    twin = rung(tmp_path / "twin", "0.11 M", arms, noise=0.01)
    other = rung(tmp_path / "other", "0.43 M", {"x": 0.5, "b": 0.4}, noise=0.01)
    named = {"kind": "pretrained", "path": "m"}
    nameless = write_claims(tmp_path / "x", {"a": [0.5], "b": [0.4]}, (), base={"student": named})
    f1 = make_run("f1", arms, metric={"name": "eval/f1", "last": 1})
    for runs, margin, said in [
        ([small], 0.03, "holds students of one size; give runs of at least two sizes"),
        ([small, twin], 0.03, "two runs of students of one size"),
        ([small, other], 0.03, "1 arm with results at every size"),
        ([small, large], 0.0, "--margin 0: "),
        ([small, large], float("nan"), "--margin nan: "),
        ([small, large], float("inf"), "--margin inf: "),
        ([small, f1], 0.03, "are judged by eval/f1 and eval/success"),
        ([small, nameless], 0.03, "call the run's folder by it, such as x-0.6B"),
        ([small, make_search("search", 4)], 0.03, "is a search, whose configurations have no names"),
    ]:
        with pytest.raises(UserError, match=said) as caught:
            found(runs, margin)
        assert "\n" not in str(caught.value)


def test_the_page(tmp_path: Path) -> None:
    small = {"linear": 0.6, "cosine|x": 0.5, "constant": 0.4}
    runs = [rung(tmp_path, size, small, noise=0.005) for size in ("0.11 M", "2.4 M")]
    text = page(runs, 0.03)
    assert text[2].startswith(
        "At 0.11 M parameters `linear` is best of 3 schedules. That it is within 0.03 of the best"
    )
    assert "at 2.4 M is **supported**: its regret there is 0.000 [0.000, 0.000]." in text[2]
    rows = [line for line in text if line.startswith("| ")]
    assert len({line.replace("\\|", "").count("|") for line in rows[:4]}) == 1
    assert rows[2].startswith("| 0.11 M | 0.11M | 5 | linear | – | – | chosen here |")
    assert any(line.startswith("| cosine\\|x | 0.") for line in rows)
    assert "## What cannot be judged" in text
