"""What every config shares: strict records, YAML with real numbers, dotted overrides, one-line errors."""

from __future__ import annotations

import difflib
import functools
import hashlib
import json
import math
import re
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, ValidationError, model_serializer

from atod_sweep.errors import UserError

M = TypeVar("M", bound=BaseModel)


# Marks a field that was added to a record after runs with it had been recorded; see Record.
LATER: dict[str, Any] = {"later": True}


class Record(BaseModel):
    """An immutable config record; unknown keys, NaN and infinite numbers are errors.

    **A field that is added later, and is at its default, is not there.** The plain form of a record (`model_dump`) is
    what configs, models, checkpoints and definitions are hashed by, and what ledgers and `config.yaml` hold. So a new
    field is marked, its default being what the code did before there was the field:

        clip_low: float | None = Field(None, gt=0, description="…", json_schema_extra=LATER)

    At its default it is then left out of the plain form, at any depth: hashes stay what they were, cached models are
    found, and runs recorded before go on. Give the default as the field will hold it (a record, not the mapping that it
    is read from), never change it afterwards, and read the field from the record: in plain data it may be absent.
    What enters a hash by hand (`definition` of a study or search) has to leave it out by hand.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        later = _later(type(self))
        return {key: value for key, value in dump(self).items() if key not in later or getattr(self, key) != later[key]}


@functools.cache
def _later(record: type[BaseModel]) -> dict[str, Any]:
    """The fields of a record that were added later, with their defaults."""
    marked = {name: field for name, field in record.model_fields.items() if field.json_schema_extra == LATER}
    return {name: field.get_default(call_default_factory=True) for name, field in marked.items()}


# ---- YAML --------------------------------------------------------------------------------------------------------


DEEPEST, MOST_NODES, MOST_CHARACTERS = 50, 100_000, 2_000_000


class _Loader(yaml.SafeLoader):
    """YAML in which 1e-4 is a number, on, off, yes and no are words, and a repeated key is an error.

    PyYAML reads YAML 1.1: there 1e-4 is a string, and a factor level called `off` is a boolean. What is too deep or too
    large once its aliases are written out, leads back to itself, or is no finite number, is an error, too.
    """

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._open: list[int] = []  # how many nodes came before each of those that are being read
        self._nodes = 0
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        is_alias = isinstance(event, yaml.AliasEvent)
        if len(self._open) == DEEPEST:
            self._refuse(f"is nested more than {DEEPEST} levels deep", event)
        before = self._nodes
        self._open.append(before)
        node = super().compose_node(parent, index)
        self._open.pop()
        if is_alias and id(node) not in self._sizes:
            self._refuse(f"alias {event.anchor!r} leads back to itself", event)
        self._nodes += self._sizes[id(node)] if is_alias else 1
        if self._nodes > MOST_NODES:
            self._refuse(f"holds more than {MOST_NODES} values", event)
        if not is_alias:
            self._sizes[id(node)] = self._nodes - before
        return node

    def construct_yaml_float(self, node: yaml.ScalarNode) -> float:
        value = super().construct_yaml_float(node)
        if not math.isfinite(value):
            self._refuse(f"{node.value!r} is not a finite number", node)
        return value

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        if len(node.value) > 100:
            self._refuse(f"a number of {len(node.value)} digits", node)
        return super().construct_yaml_int(node)

    @staticmethod
    def _refuse(problem: str, where: Any) -> NoReturn:
        raise yaml.constructor.ConstructorError(None, None, problem, where.start_mark)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a word", key_node.start_mark)
            if key_node.value in seen:
                problem = f"key {key_node.value!r} appears twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Quotes the strings that `_Loader` would read as numbers."""


_constructors: dict[str, Any] = {"float": _Loader.construct_yaml_float, "int": _Loader.construct_yaml_int}
for _kind, _made in _constructors.items():
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _made)
for _kind in ("timestamp", "binary", "set", "omap", "pairs"):  # what JSON has no word for
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _Loader.yaml_constructors[None])
for _letter in "0123456789":  # a date is a word
    _Loader.yaml_implicit_resolvers[_letter] = [
        (tag, pattern) for tag, pattern in _Loader.yaml_implicit_resolvers[_letter] if not tag.endswith(":timestamp")
    ]
for _yaml in (_Loader, _Dumper):
    _yaml.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$"),
        list("-+0123456789."),
    )
for _letter in "yYnNoO":
    _Loader.yaml_implicit_resolvers[_letter] = [
        (tag, pattern) for tag, pattern in _Loader.yaml_implicit_resolvers[_letter] if not tag.endswith(":bool")
    ]


def parse_yaml(text: str, where: str) -> Any:
    """Parse YAML; `where` names the source in the error."""
    if len(text) > MOST_CHARACTERS:
        raise UserError(f"{where}: {len(text):,} characters; a file of settings has at most {MOST_CHARACTERS:,}")
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        context = f" ({' '.join(error.context.split())})" if error.context else ""
        raise UserError(f"{where}: not valid YAML{place}: {' '.join(str(error.problem).split())}{context}") from None
    except yaml.YAMLError as error:
        said = " ".join(str(error).replace('in "<unicode string>", ', "at ").split())
        raise UserError(f"{where}: not valid YAML: {said}") from None
    except ValueError as error:  # a tag such as !!int before what is none
        raise UserError(f"{where}: not valid YAML: {error}") from None


def load_yaml(path: Path) -> dict[str, Any]:
    """Read one YAML file that must hold a mapping."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    return parse_mapping(text, str(path))


def parse_mapping(text: str, where: str) -> dict[str, Any]:
    """Parse YAML that must hold a mapping."""
    data = parse_yaml(text, where)
    if not isinstance(data, dict):
        raise UserError(f"{where}: expected a mapping of keys, got {type(data).__name__}")
    return data


def dump_yaml(data: Any) -> str:
    """YAML text that keeps the order of keys and reads back to the same data."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def content_hash(data: Any) -> str:
    """16 hex digits that identify JSON-able data, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(data, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:16]


# ---- walking the schema -------------------------------------------------------------------------------------------


def _members(annotation: Any) -> Iterator[Any]:
    """The plain types inside an annotation: Annotated and unions taken apart."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _members(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for arg in get_args(annotation):
            yield from _members(arg)
    else:
        yield annotation


def _records(annotation: Any, kind: Any = None) -> list[type[BaseModel]]:
    """Record classes an annotation admits; narrowed to the one tagged `kind` where there is such a one."""
    found = [m for m in _members(annotation) if isinstance(m, type) and issubclass(m, BaseModel)]
    tagged = [m for m in found if "kind" in m.model_fields and m.model_fields["kind"].default == kind]
    return tagged or found


def _is_free_form(annotation: Any) -> bool:
    return any(get_origin(m) in (dict, Mapping) or m in (dict, Any) for m in _members(annotation))


def check_key(model: type[BaseModel], key: str) -> Any:
    """The annotation of the dotted key in `model`; every member of a union is searched.

    Raises UserError naming the nearest valid key.
    """
    classes: list[type[BaseModel]] = [model]
    parts = key.split(".")
    annotation: Any = model
    for i, part in enumerate(parts):
        fields = {name: field.annotation for cls in classes for name, field in cls.model_fields.items()}
        if part not in fields:
            near = difflib.get_close_matches(part, fields, n=1, cutoff=0.5)
            hint = (
                f"did you mean {'.'.join([*parts[:i], near[0], *parts[i + 1 :]])!r}?"
                if near
                else (f"known here: {', '.join(sorted(fields))}" if fields else "nothing lies below it")
            )
            raise UserError(f"unknown key {key!r}; {hint}")
        annotation = fields[part]
        owners = [cls.model_fields[part].annotation for cls in classes if part in cls.model_fields]
        if any(_is_free_form(owner) for owner in owners):
            return Any
        classes = list({cls: None for owner in owners for cls in _records(owner)})
    return annotation


# ---- overrides ----------------------------------------------------------------------------------------------------


def with_overrides(model: type[BaseModel], data: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """A deep copy of `data` with dotted keys set, every key checked against `model`.

    Setting a `kind` keeps the sibling fields that the new kind also has and drops the others, so that one override
    is enough to change a decay's shape. Kinds are set first, whatever the order of the mapping.
    """
    result: dict[str, Any] = json.loads(json.dumps(data))
    for key in sorted(overrides, key=lambda k: (not k.endswith(".kind"), k.count("."))):
        check_key(model, key)
        *path, last = key.split(".")
        node = result
        annotation: Any = model
        for part in path:
            owner = _owner(annotation, part, node)
            child = node.get(part, _left_out(owner, part))
            annotation = owner.model_fields[part].annotation if owner else Any
            if isinstance(child, dict):
                node[part] = child
            else:
                # A number in the place of a schedule is short for a constant: make room for its fields.
                child = {} if child is None else {"kind": "constant", "start": child}
                node[part] = child
            node = child
        if last == "kind" and node.get("kind") != overrides[key]:
            for cls in _records(annotation, overrides[key]):
                if "kind" in cls.model_fields and cls.model_fields["kind"].default == overrides[key]:
                    for stale in set(node) - set(cls.model_fields):
                        del node[stale]
        if last == "path":
            node.pop("source", None)  # the hash of the code that another path named
        node[last] = overrides[key]
    return result


def _owner(annotation: Any, name: str, node: Mapping[str, Any]) -> type[BaseModel] | None:
    """The record with the field `name`: that of the node's kind, else the first that the annotation admits."""
    candidates = [*_records(annotation, node.get("kind")), *_records(annotation)]
    return next((cls for cls in candidates if name in cls.model_fields), None)


def _left_out(owner: type[BaseModel] | None, name: str) -> dict[str, Any] | None:
    """The plain form of a record that its owner's plain form leaves out, being at its default."""
    default = _later(owner).get(name) if owner else None
    return default.model_dump(mode="json") if isinstance(default, BaseModel) else None


def parse_assignments(words: list[str]) -> dict[str, Any]:
    """Command-line overrides `a.b=value`, the value read as YAML."""
    result = {}
    for word in words:
        key, sep, value = word.partition("=")
        if not sep or not key:
            raise UserError(f"{word!r}: an override has the form key=value, for example optimiser.lr=3e-4")
        result[key] = parse_yaml(value, word)
    return result


# ---- validation ---------------------------------------------------------------------------------------------------


def validate(model: type[M], data: Any, where: str, context: dict[str, Any] | None = None) -> M:
    """Build `model` from plain data; the first problem becomes a one-line UserError that starts with `where`.

    `context` is passed on to the validators.
    """
    try:
        return model.model_validate(data, context=context)
    except ValidationError as error:
        raise UserError(f"{where}: {_describe(model, data, error)}") from None


def _describe(model: type[BaseModel], data: Any, error: ValidationError) -> str:
    first = error.errors()[0]
    path: list[str] = []
    node: Any = data
    for i, part in enumerate(first["loc"]):  # union tags are in `loc` but not in the data: leave them out
        is_list = isinstance(node, list | tuple) and isinstance(part, int) and part < len(node)
        if is_list or (isinstance(node, Mapping) and part in node):
            node = node[part]
        elif i < len(first["loc"]) - 1 or first["type"] != "missing":
            continue
        path.append(str(part))
    key = ".".join(path)
    if first["type"] == "extra_forbidden":
        try:
            check_key(model, key)
        except UserError as unknown:
            return str(unknown)
        return f"{key}: not a field of kind {first['loc'][-2]!r}; choose another {'.'.join([*path[:-1], 'kind'])}"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "union_tag_invalid":
        tags = re.findall(r"'([^']+)'", str(first["ctx"]["expected_tags"]))
        near = difflib.get_close_matches(str(first["ctx"]["tag"]), tags, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return f"{key}.kind: unknown kind {first['ctx']['tag']!r}; {hint}known: {', '.join(tags)}"
    if first["type"] == "value_error":
        joiner = "." if re.match(r"^[a-z_.]+: ", message) and key else ": "
        return f"{key}{joiner}{message}" if key else message
    value = "" if first["type"] == "missing" else f", got {first['input']!r}"
    return f"{key}: {message[0].lower()}{message[1:]}{value}"
