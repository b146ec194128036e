"""Missing models made in processes of their own, beside each other and beside whatever else a run has to start.

A process that ends without a model costs time and nothing else: `cache.ensure` builds what is still missing, and says
what is wrong.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import asdict
from types import TracebackType

from atod_sweep.config.base import validate
from atod_sweep.config.train import Train
from atod_sweep.envs import children
from atod_sweep.errors import UserError
from atod_sweep.training.pretraining.cache import ModelRef, ensure_made, recipes


class Builders:
    """One process for every model of `configs` that is not there, at most `at_a_time`; gone with the block.

    `suffice`: whether these are all that is missing.
    """

    def __init__(self, configs: Iterable[Train], at_a_time: int) -> None:
        self._processes: dict[str, subprocess.Popen[str]] = {}
        self._found: dict[str, ModelRef] = {}
        self._wrong: str | None = None
        self._reader: threading.Thread | None = None
        self.suffice = True
        for config in configs:
            for role, recipe in recipes(config).items():
                path, known = str(recipe.path), recipe.env.id.partition(":")[0] != "__main__"
                missing = known and path not in self._processes and not recipe.path.is_dir()
                if missing and len(self._processes) < at_a_time:
                    self._processes[path] = _started(role, config)
                self.suffice &= path in self._processes or recipe.path.is_dir()

    def __enter__(self) -> Builders:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process in self._processes.values():
            children.end(process)
            process.wait()

    @property
    def busy(self) -> bool:
        """Whether anything is being built."""
        return bool(self._processes)

    @property
    def over(self) -> bool:
        """Whether all that were followed have ended."""
        return self._reader is not None and not self._reader.is_alive()

    @property
    def paths(self) -> tuple[str, ...]:
        """Where the models will lie."""
        return tuple(self._processes)

    def follow(self, note: Callable[[str], None]) -> None:
        """From now on `note` gets their lines of progress, in a thread."""
        self._reader = threading.Thread(target=self._read, args=(note,), name="builders", daemon=True)
        self._reader.start()

    def made(self, note: Callable[[str], None]) -> dict[str, ModelRef]:
        """Wait for all: path -> model. `note`: see `follow`. UserError for what cannot be built."""
        if self._reader is None:
            self.follow(note)
        assert self._reader is not None
        self._reader.join()
        if self._wrong is not None:
            raise UserError(self._wrong)
        return self._found

    def _read(self, note: Callable[[str], None]) -> None:
        for path, process in self._processes.items():
            assert process.stdout is not None
            for line in process.stdout:
                said = json.loads(line)
                if "note" in said:
                    note(said["note"])
                elif "wrong" in said:
                    self._wrong = said["wrong"]
                    return
                else:
                    self._found[path] = ModelRef(**said["made"])


def _started(role: str, config: Train) -> subprocess.Popen[str]:
    process = children.started("atod_sweep.training.pretraining.apart")
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it is gone already
        process.stdin.write(json.dumps({"role": role, "config": config.model_dump(mode="json")}) + "\n")
        process.stdin.flush()
    return process


# ---- in the process --------------------------------------------------------------------------------------------------


def main() -> None:
    """Make the model that is asked for on stdin; leave with whoever asked."""
    asked = json.loads(sys.stdin.readline())
    threading.Thread(target=_follow, daemon=True).start()
    tell = children.Mouth().tell
    try:
        config = validate(Train, asked["config"], "config")
        recipe = recipes(config)[asked["role"]]
        made = ensure_made(asked["role"], recipe, config, lambda line: tell(note=line))
    except UserError as error:
        tell(wrong=str(error))
    else:
        tell(made=asdict(made))


def _follow() -> None:
    sys.stdin.read()
    os._exit(1)
