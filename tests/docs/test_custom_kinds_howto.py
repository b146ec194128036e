"""docs/howto/custom_kinds.md: its example trains, and its weights are what they are said to be, in under 20 lines."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from small import tiny

from atod_sweep.config.files import flatten, load_train
from atod_sweep.config.turns import CustomTurns
from atod_sweep.objective import own_code
from atod_sweep.objective.profiles import measured
from atod_sweep.training.loop.trainer import train

HOWTO = Path(__file__).parents[2] / "docs" / "howto" / "custom_kinds.md"


def blocks() -> dict[str, list[str]]:
    """File name -> the blocks that are said to be (parts of) it."""
    found: dict[str, list[str]] = {}
    for text in re.findall(r"```(?:python|yaml)\n(.*?)```", HOWTO.read_text(encoding="utf-8"), re.DOTALL):
        name = re.match(r"# (\S+)\n", text)
        assert name is not None, text
        found.setdefault(name[1], []).append(text)
    return found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, texts in blocks().items():
        (tmp_path / name).write_text("\n\n".join(texts), encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_the_example_trains_for_two_steps(folder: Path) -> None:
    resolved = load_train(str(folder / "idea.yaml"))
    own_code.check(resolved)
    assert resolved.objective.distill.kind == "custom"
    objective = resolved.model_dump(mode="json")["objective"]
    small = {f"objective.{key}": value for key, value in flatten(objective).items()}
    rows: list[dict[str, Any]] = []
    config = tiny(**{key.replace(".", "__"): value for key, value in small.items()}, steps=2, env__horizon=4)
    train(config, folder / "out", rows.extend)
    steps = [row for row in rows if row["phase"] == "train"]
    assert [row["weight/distill"] for row in steps] == [1.0, 0.1]
    assert all(row["turn_weight"][0] == 1.0 and row["turn_weight"][3] in (0.0, None) for row in steps)
    assert 0.0 < steps[0]["loss/distill"] < 1.0


# Two episodes: turns of one and three tokens (one position belongs to the environment), and one turn before padding.
TURN = torch.tensor([[0, 0, 1, 1, 1], [0, 0, 0, 0, 0]])
MASK = torch.tensor([[1, 0, 1, 1, 1], [1, 1, 0, 0, 0]])
STUDENT = torch.tensor([[-1.0, 0.0, -2.0, -1.0, -1.0], [-1.0, -1.0, 0.0, 0.0, 0.0]])
GAP = torch.tensor([[1.0, 0.0, 2.0, 0.0, 1.0], [0.0, 0.5, 0.0, 0.0, 0.0]])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # 4 tokens on 2 turns: a mean of 2 a turn, over its own 1 and 3
        ("turn_balanced", [[2.0, 0.0, 2 / 3, 2 / 3, 2 / 3], [1.0, 1.0, 0.0, 0.0, 0.0]]),
        # 1 + (1 - before / 4) / 2 with 0, 1, 3, 3 before; 0, 0 of 0.5
        ("importance_discounted", [[1.5, 0.0, 1.375, 1.125, 1.125], [1.5, 1.5, 0.0, 0.0, 0.0]]),
        # mean gaps of the turns: 1, 1 and 0.25
        ("less_where_drifted", [[math.exp(-1), 0.0, *[math.exp(-1)] * 3], [*[math.exp(-0.25)] * 2, 0.0, 0.0, 0.0]]),
    ],
)
def test_published_weightings_by_hand(folder: Path, name: str, expected: list[list[float]]) -> None:
    turns = CustomTurns(path=f"weights:{name}", weighs="tokens")
    weights = measured.weights(turns, STUDENT, STUDENT - GAP, TURN, MASK) * MASK
    torch.testing.assert_close(weights, torch.tensor(expected))


@pytest.mark.parametrize("name", ["turn_balanced", "importance_discounted", "less_where_drifted"])
def test_published_weightings_train_in_under_twenty_lines(folder: Path, name: str) -> None:
    (text,) = [text for text in blocks()["weights.py"] if f"def {name}(" in text]
    assert len([line for line in text.splitlines() if line.strip()]) < 20
    config = tiny(objective__turns={"kind": "custom", "path": f"weights:{name}", "weighs": "tokens"}, steps=2)
    rows: list[dict[str, Any]] = []
    train(config, folder / name, rows.extend)
    assert all(math.isfinite(row["loss/distill"]) for row in rows if row["phase"] == "train")
