"""One word for one thing, in what the package says."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import typer.main

from atod_sweep.cli import app

TOP = Path(__file__).parents[2]
EXTRAS = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]["optional-dependencies"]
WRONG = re.compile(r"\b(campaigns?|jobs?|sweeps?|variants?|treatments?)\b", re.IGNORECASE)
SOURCES = {path.relative_to(TOP).as_posix(): path.read_text() for path in (TOP / "atod_sweep").rglob("*.py")}


@pytest.mark.parametrize("extra", [name for name in EXTRAS if name not in ("dev", "docs", "bench")])
def test_an_extra_is_named_in_one_way(extra):
    """`pip install "atod-sweep[lora]"`, and never its packages one by one."""
    packages = [re.split(r"[<>=\[]", requirement)[0] for requirement in EXTRAS[extra]]
    ways = set()
    for path, text in SOURCES.items():
        plain = text.replace('\\"', '"')
        ways |= set(re.findall(rf".{{13}}atod-sweep\[{extra}\].", plain))
        for package in packages:
            assert not re.search(rf"pip install {package}\b", plain), path
    assert ways == {f'pip install "atod-sweep[{extra}]"'}


def commands():
    found = typer.main.get_command(app)
    return {name: command for name, command in found.commands.items() if hasattr(command, "params")}


def test_out_is_always_the_folder_to_write_into():
    said = {
        name: option.help
        for name, command in commands().items()
        for option in command.params
        if "--out" in option.opts or (name in ("pack", "init") and option.name in ("out", "folder"))
    }
    assert {"run", "search", "train", "report", "export", "pack", "init"} <= said.keys()
    assert all(text.startswith("Folder to write into") for text in said.values()), said


def test_no_help_uses_a_word_that_the_glossary_does_not_have():
    """What was tried is a run, of a study or a search; it has trials."""
    words = [command.help or "" for command in commands().values()]
    words += [
        option.help or "" for command in commands().values() for option in command.params if hasattr(option, "help")
    ]
    for text in words:
        assert not re.search(WRONG, text.replace("atod-sweep", "")), text
