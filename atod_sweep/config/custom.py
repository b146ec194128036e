"""Code of your own in a config: `kind: custom, path: package.module:function`, so that an idea needs no fork.

What runs is what was hashed: the text of the module is read once, its SHA-256 becomes the field `source` (and so part
of every config hash), and that very text is executed. A module must hold all of its idea: importing another file of
yours is refused, because that file would not be in the hash. A config that already names its `source` (a recorded one,
or an exported schedule) is read without running anything; its code is looked up when it is used.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import inspect
import re
import sys
import sysconfig
import types
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, model_validator

from atod_sweep.config.base import Record
from atod_sweep.errors import UserError, in_a_line

Function = Callable[..., Any]

KINDS = ("custom", "function")  # of records that name code
_PATH = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_MODULES: dict[str, types.ModuleType] = {}  # by the SHA-256 of their text: whatever was run under it is the same


class Custom(Record):
    """A function of yours."""

    path: str = Field(description="Your function, as `package.module:function`.")
    source: str = Field(
        "", pattern=r"^([0-9a-f]{64})?$", description="SHA-256 of the module's text; filled in when the file is loaded."
    )

    @model_validator(mode="before")
    @classmethod
    def _with_source(cls, data: Any) -> Any:
        """Read and run the module, unless its hash is given already."""
        if not isinstance(data, dict) or not isinstance(data.get("path"), str):
            return data
        if not _PATH.fullmatch(data["path"]):
            raise UserError(f"path: {data['path']!r} names no function; write package.module:function")
        if data.get("source"):
            return data
        text = text_of(data["path"])
        source = digest(text)
        _check_signature(function(data["path"], source, text), data["path"], cls.called_with(data))
        return {**data, "source": source}

    @classmethod
    @abstractmethod
    def called_with(cls, data: Mapping[str, Any]) -> tuple[str, ...]:
        """Names of the arguments that the function of a record with these fields gets."""

    @property
    @abstractmethod
    def on_tensors(self) -> bool:
        """Whether the function works on tensors; otherwise it works on numbers."""

    @property
    def function(self) -> Function:
        """The function. UserError if its module cannot be found, or is no longer what this config names."""
        return function(self.path, self.source)


def customs(record: BaseModel, key: str = "") -> Iterator[tuple[str, Custom]]:
    """Every function of the user's own in a record, at any depth, with its dotted key."""
    if isinstance(record, Custom):
        yield key, record
    for name in type(record).model_fields:
        field, where = getattr(record, name), f"{key}.{name}" if key else name
        if isinstance(field, BaseModel):
            yield from customs(field, where)
        for i, one in enumerate(field if isinstance(field, list) else []):
            if isinstance(one, BaseModel):
                yield from customs(one, f"{where}.{i}")


def check_sources(data: Any, where: str) -> None:
    """For configs from somebody else: UserError where code stands without its hash, for it would be run when read."""
    for own in _own(data):
        if not own.get("source"):
            raise UserError(
                f"{where}: path: {own.get('path')!r} stands without the SHA-256 of its module in `source`; export the "
                "schedule again, or put the path into a config of your own"
            )


def named_in(data: Any) -> list[str]:
    """The paths of all code of the user's own that a config names, as plain data."""
    return list(dict.fromkeys(str(own["path"]) for own in _own(data) if "path" in own))


def _own(data: Any) -> Iterator[Mapping[str, Any]]:
    """What of plain data, at any depth, names code of the user's own."""
    if isinstance(data, Mapping):
        if data.get("kind") in KINDS:
            yield data
        data = list(data.values())
    for value in data if isinstance(data, list) else []:
        yield from _own(value)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def function(path: str, source: str, text: str | None = None) -> Function:
    """The function at `path` from the module text whose SHA-256 is `source`; `text` if it is at hand.

    UserError if the module is not found, has changed, cannot be run, or has no such function.
    """
    module, name = path.split(":")
    if source not in _MODULES:
        text = text_of(path) if text is None else text
        if digest(text) != source:
            raise UserError(
                f"path: {path!r} has changed since this config was made: its module's SHA-256 is {digest(text)[:12]}…, "
                f"source is {source[:12]}…; restore the module, or drop `source` to go on with the new text"
            )
        _check_imports(path, text)
        _MODULES[source] = _run(path, module, text)
    found = getattr(_MODULES[source], name, None)
    if not callable(found):
        raise UserError(f"path: {path!r}: module {module!r} has no function {name!r}")
    return found


def text_of(path: str, folders: Sequence[Path] = ()) -> str:
    """The text of the module that `path` names, where Python finds it, or else in `folders`. UserError if nowhere."""
    name = path.partition(":")[0]
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):  # a parent package that is missing or broken
        spec = None
    if spec is not None and not str(spec.origin).endswith(".py"):
        raise UserError(f"path: {path!r}: module {name!r} is not one file of Python that could be hashed")
    found = [Path(spec.origin)] if spec is not None and spec.origin else []
    found += [folder.joinpath(*name.split(".")).with_suffix(".py") for folder in folders]
    file = next((file for file in found if file.is_file()), None)
    if file is None:
        raise UserError(
            f"path: {path!r}: no module {name!r} here; put {name.rpartition('.')[2]}.py into the folder of the file "
            "that names it, or where you start from"
        )
    return file.read_text(encoding="utf-8")


def _run(path: str, module: str, text: str) -> types.ModuleType:
    made = types.ModuleType(f"{module}@{digest(text)[:12]}")
    made.__file__ = f"{module}.py"
    sys.modules[made.__name__] = made  # dataclasses look their module up
    try:
        exec(compile(text, made.__file__, "exec"), made.__dict__)
    except (Exception, SystemExit) as error:  # whatever a module does while it is imported is said in one line
        del sys.modules[made.__name__]
        raise UserError(f"path: {path!r}: running {module!r} fails: {in_a_line(error)}") from error
    return made


def _check_signature(found: Function, path: str, arguments: tuple[str, ...]) -> None:
    try:
        inspect.signature(found).bind(*arguments)
    except (TypeError, ValueError):
        raise UserError(
            f"path: {path!r} is called as {path.partition(':')[2]}({', '.join(arguments)}), "
            "which its parameters do not allow"
        ) from None


# ---- what a module imports -------------------------------------------------------------------------------------------


def imports(text: str) -> set[str]:
    """Top-level names of the modules that a text imports, anywhere in it; "." for a relative import."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("." if node.level else str(node.module).partition(".")[0])
    return found


def _check_imports(path: str, text: str) -> None:
    try:
        names = imports(text)
    except SyntaxError as error:
        raise UserError(f"path: {path!r}: {error.msg} in line {error.lineno}") from None
    for name in sorted(names - sys.stdlib_module_names - {"atod_sweep"}):
        if not _is_installed(name):
            raise UserError(
                f"path: {path!r}: its module imports {name!r}, which is neither installed nor part of the hash; "
                "put what it needs into the one module"
            )


def _is_installed(name: str) -> bool:
    """Whether a module comes with an installed package, and is not a file of the user's own."""
    spec = importlib.util.find_spec(name) if name != "." else None
    if spec is None:
        return False
    places = [spec.origin] if spec.origin else list(spec.submodule_search_locations or ())
    sites = [entry for entry in sys.path if entry.endswith(("site-packages", "dist-packages"))]
    roots = [Path(root).resolve() for root in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *sites}]
    return any(Path(place).resolve().is_relative_to(root) for place in places for root in roots)
