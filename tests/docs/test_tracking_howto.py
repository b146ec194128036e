"""docs/howto/tracking.md: its verbs and options are there, its sampler goes with a space."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
import yaml

from atod_sweep.cli import app
from atod_sweep.config.search import Search
from atod_sweep.sweep.searches.run_search import search_work

HOWTO = (Path(__file__).parents[2] / "docs" / "howto" / "tracking.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^(?:\w+=\w+ )?atod-sweep (.+)$|`(?:\w+=\w+ )?atod-sweep ([^`]+)`", HOWTO, re.MULTILINE)


@pytest.mark.parametrize("words", sorted({(one or other) for one, other in COMMANDS}))
def test_every_command_has_its_verb_and_options(words: str) -> None:
    verb, *rest = words.split()
    command = typer.main.get_command(app).commands[verb]  # type: ignore[attr-defined]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in rest if word.startswith("--")} <= known


def test_the_sampler_goes_with_a_space() -> None:
    pytest.importorskip("cmaes")
    (text,) = [block for block in re.findall(r"```yaml\n(.*?)```", HOWTO, re.DOTALL) if "sampler" in block]
    parameters = {"optimiser.lr": {"float": [0.001, 0.02]}, "optimiser.max_grad_norm": {"float": [0.1, 2.0]}}
    data = {"name": "x", "base": {"steps": 4}, "parameters": parameters, **yaml.safe_load(text)}
    assert search_work(Search.model_validate(data), Path(), "x").document.name == "x"
