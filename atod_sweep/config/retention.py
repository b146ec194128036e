"""What a student could do before it was trained, and is asked again at every evaluation."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from atod_sweep.config.base import Record
from atod_sweep.config.env import Env
from atod_sweep.config.names import check_plain
from atod_sweep.errors import UserError
from atod_sweep.paths import expanded

# What is reported of an environment and of texts, behind `retention/NAME/`.
PLAYED, READ = ("success", "drop", "kl"), ("bits_per_byte", "drop", "kl")


class Retained(Record):
    """Tasks of another environment, or held-out texts: what was lost there, against the student before training."""

    env: Env | None = Field(None, description="An environment that is not trained in.")
    texts: str | None = Field(None, description='A file of rows {"text": "…"}, a text each.')
    items: int = Field(256, ge=1, description="How many tasks, or texts from the file's beginning.")
    name: str = Field("", description="What metrics call it; by default as the environment or the file is called.")

    @model_validator(mode="before")
    @classmethod
    def _named(cls, data: Any) -> Any:
        if not isinstance(data, dict) or data.get("name"):
            return data
        env, texts = data.get("env"), data.get("texts")
        env_id = env.get("id", Env().id) if isinstance(env, dict) else getattr(env, "id", None)
        name = Path(texts).stem if isinstance(texts, str) else re.split("[:/]", str(env_id))[-1]
        return {**data, "name": name}

    @model_validator(mode="after")
    def _one_kind(self) -> Retained:
        if (self.env is None) == (self.texts is None):
            raise ValueError("needs one of env and texts, such as {env: {id: tool_use}} or {texts: held_out.jsonl}")
        check_plain(self.name, "cannot name a metric")
        return self

    @property
    def metrics(self) -> list[str]:
        """The names of what is reported."""
        return [f"retention/{self.name}/{what}" for what in (READ if self.env is None else PLAYED)]

    def read(self, where: str) -> list[str]:
        """The texts. UserError for a file that is not there, and for the first line that holds none."""
        path = expanded(self.texts or "")
        try:
            lines = path.read_text(encoding="utf-8").splitlines()[: self.items]
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"{where}: texts: {str(path)!r} cannot be read: {reason}") from None
        if not lines:
            raise UserError(f'{where}: texts: {str(path)!r} is empty; write rows such as {{"text": "Once"}}')
        return [_text(line, f"{where}: {path}:{number}") for number, line in enumerate(lines, start=1)]


def _text(line: str, where: str) -> str:
    try:
        text = json.loads(line)["text"]
    except (ValueError, KeyError, TypeError):
        text = None
    if not isinstance(text, str) or not text:
        raise UserError(f'{where}: {line[:60]!r} is no row {{"text": "…"}} with a text in it')
    return text


def check_names(several: Iterable[Retained]) -> None:
    """ValueError unless every one has a name of its own."""
    names = [one.name for one in several]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"two are called {twice[0]!r}; give one of them another name")
