"""The folder that a verb is called in: no place for modules but those that a study names, and these come last."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import traps
from tiny_study import write

ROOT = Path(__file__).parents[2]
EXPORT = ROOT / "studies" / "results" / "cosine_vs_linear" / "export"
WAYS = {"module": ["-m", "atod_sweep"], "script": [str(ROOT / "tests" / "support" / "console.py")]}

ENVIRONMENT = """
import gymnasium

class Door(gymnasium.Env):
    observation_space = action_space = gymnasium.spaces.Text(80)
    def card(self): return "a door of the current folder"
"""


def start(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "ATOD_SWEEP_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, *words], cwd=folder, env=env, capture_output=True, text=True)


def caught(file: Path) -> str:
    return file.read_text() if file.exists() else ""


VERBS = [["verify", "."], ["envs", "support_desk"], ["space", "show", "s.yaml"], ["schema"]]
QUICK = [("module", ["verify", "."]), ("script", ["envs", "support_desk"]), ("script", ["space", "show", "s.yaml"])]


@pytest.mark.parametrize(
    ("way", "verb"),
    [
        pytest.param(way, verb, marks=[] if (way, verb) in QUICK else pytest.mark.slow, id=f"{way} {verb[0]}")
        for way in WAYS
        for verb in VERBS
    ],
)
def test_no_file_of_the_folder_is_taken_for_a_module(way, verb, tmp_path):
    shutil.copytree(EXPORT, tmp_path, dirs_exist_ok=True)
    shutil.copy(ROOT / "search_spaces" / "schedule.yaml", tmp_path / "s.yaml")
    file = traps.lay(tmp_path)
    done = start(tmp_path, *WAYS[way], *verb)
    assert caught(file) == ""
    assert "Traceback" not in done.stderr


def test_workers_of_environments_take_nothing_from_the_folder_either(tmp_path):
    script = """
from atod_sweep.config.train import Env
from atod_sweep.envs.pool import open_batch
if __name__ == "__main__":
    pool = open_batch(Env(id="support_desk"), 2, workers=2, timeout=60.0)
    print(type(pool).__name__, len(pool.reset([0, 1], "train")))
    pool.close()
"""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "script.py").write_text(script)
    folder = tmp_path / "here"
    folder.mkdir()
    file = traps.lay(folder)
    done = start(folder, str(elsewhere / "script.py"))
    assert (caught(file), done.stdout) == ("", "Pool 2\n"), done.stderr


@pytest.mark.parametrize("way", [pytest.param("module", marks=pytest.mark.slow), "script"])
def test_an_environment_of_the_folder_is_found_but_not_in_the_place_of_an_installed_module(way, tmp_path):
    (tmp_path / "my_env.py").write_text(ENVIRONMENT)
    (tmp_path / "filelock.py").write_text(ENVIRONMENT)
    found = start(tmp_path, *WAYS[way], "envs", "my_env:Door")
    assert found.stdout.strip() == "a door of the current folder", found.stderr
    other = start(tmp_path, *WAYS[way], "envs", "filelock:Door")
    assert other.returncode == 2
    assert "module 'filelock' has no 'Door'" in other.stderr
    assert "filelock/__init__.py)" in other.stderr  # what was found instead


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("backend", [["--backend", "local", "--concurrency", "2"], ["--concurrency", "2"]])
def test_neither_driver_nor_workers_of_a_study_take_modules_from_the_folder(way, backend, tmp_path):
    file = traps.lay(tmp_path)
    write(tmp_path / "s.yaml", controls=[], seeds=1)
    done = start(tmp_path, *WAYS[way], "run", "s.yaml", *backend)
    assert (caught(file), done.returncode) == ("", 0), done.stderr
