"""docs/howto/environment.md: its environment trains with its demonstrator, by reward alone, and with a teacher."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from gymnasium.utils.env_checker import check_env

from atod_sweep import cli
from atod_sweep.config.train import Env
from atod_sweep.envs.registry import make

PAGE = (Path(__file__).parents[2] / "docs/howto/environment.md").read_text(encoding="utf-8")
SOURCE = next(re.finditer(r"```python\n(# my_games\.py\n.*?)```", PAGE, re.DOTALL)).group(1)
OPTIONAL = re.compile(r"    # Optional, for compact models.*?(?=\n\n\ngymnasium)", re.DOTALL)
TINY = ["hidden=16", "layers=1", "heads=2", "recipe.episodes=16", "recipe.lr=0.02"]
SMALL = [
    *(f"{role}.{word}" for role in ("student", "teacher") for word in TINY),
    *("student.recipe.steps=100", "student.recipe.success=[0.05,0.9]", "teacher.recipe.steps=40"),
    *("env.horizon=4", "rollout.tasks=2", "rollout.group_size=4", "evaluation.tasks=16", "steps=2"),
]
LEARN_BY_REWARD = ["teacher.kind=none", "objective.distill_weight=0"]


@pytest.fixture
def game(tmp_path, monkeypatch):
    """Write my_games.py, as it is or without its optional methods; it is found beside the study."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    def write(source: str) -> None:
        monkeypatch.delitem(sys.modules, "my_games", raising=False)
        (tmp_path / "my_games.py").write_text(source, encoding="utf-8")

    return write


def train(monkeypatch, out: str, *words: str) -> list[dict]:
    """Rows of metrics of `atod-sweep train`."""
    Path("config.yaml").write_text("base: presets/support_desk_compact\n", encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["atod-sweep", "train", "config.yaml", *words, "--out", out])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code
    return [json.loads(line) for line in Path(out, "metrics.jsonl").read_text().splitlines()]


def test_it_is_about_40_lines_and_keeps_the_contract(game):
    game(SOURCE)
    assert len([line for line in SOURCE.splitlines() if line.strip()]) <= 40
    check_env(make(Env(id="my_games:Guess", horizon=4)).unwrapped, skip_render_check=True)


def test_with_and_without_a_demonstrator(game, monkeypatch):
    game(SOURCE)
    first = train(monkeypatch, "first", "env.id=my_games:Guess", *SMALL)
    assert first[-1]["eval/guesses"] >= 1
    student = "student={kind: pretrained, path: ./first/student}"
    teacher = "teacher={kind: pretrained, path: ./first/student}"
    small = [word for word in SMALL if not word.startswith(("student.", "teacher."))]

    game(OPTIONAL.sub("", SOURCE))
    assert not hasattr(make(Env(id="my_games:Guess", horizon=4)).unwrapped, "demonstrator_action")
    by_id = "env.id=my_games:my_games/Guess-v0"
    rows = train(monkeypatch, "reward", by_id, student, *LEARN_BY_REWARD, *small)
    assert rows[0]["eval/success"] == first[-1]["eval/success"]  # it goes on where the other ended
    rows = train(monkeypatch, "taught", by_id, student, teacher, *small)
    assert rows[-1]["step"] == 2
    assert (Path("taught") / "student" / "config.json").exists()


def test_a_compact_model_without_a_demonstrator_is_refused_in_one_line(game, monkeypatch, capsys):
    game(OPTIONAL.sub("", SOURCE))
    with pytest.raises(AssertionError):  # and no model of the same name, with other methods, is found in the cache
        train(monkeypatch, "never", "env.id=my_games:Guess", *SMALL)
    assert "use kind: pretrained" in capsys.readouterr().err.splitlines()[-1]
