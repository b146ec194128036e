"""What every config shares: strict records, YAML with real numbers, dotted overrides, one-line errors."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, NoReturn, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, ValidationError, model_serializer

from atod_sweep.config.schema import check_key, records
from atod_sweep.config.told import told
from atod_sweep.errors import Gathered, Mistakes, UserError

M = TypeVar("M", bound=BaseModel)


LATER: dict[str, Any] = {"later": True}


def Later(default: Any = ..., **rules: Any) -> Any:
    """A `Field` that was added to a record after runs with it had been recorded; see Record."""
    return Field(default, json_schema_extra=LATER, **rules)


class Record(BaseModel):
    """An immutable config record; unknown keys, NaN and infinite numbers are errors.

    **A field that is added later, and is at its default, is not there.** The plain form of a record (`model_dump`) is
    what configs, models, checkpoints and definitions are hashed by, and what ledgers and `config.yaml` hold. So a new
    field is a `Later` one, its default being what the code did before there was the field:

        clip_low: float | None = Later(None, gt=0, description="…")

    At its default it is then left out of the plain form, at any depth: hashes stay what they were, cached models are
    found, and runs recorded before go on. Give the default as the field will hold it (a record, not the mapping that it
    is read from), never change it afterwards, and read the field from the record: in plain data it may be absent.
    What enters a hash by hand (`definition` of a study or search) has to leave it out by hand.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)
    elsewhere: ClassVar[dict[str, str]] = {}  # keys that one might look for here, and why they are not

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        later = _later(type(self))
        return {key: value for key, value in dump(self).items() if key not in later or getattr(self, key) != later[key]}


@functools.cache
def _later(record: type[BaseModel]) -> dict[str, Any]:
    """The fields of a record that were added later, with their defaults."""
    marked = {name: field for name, field in record.model_fields.items() if field.json_schema_extra == LATER}
    return {name: field.get_default(call_default_factory=True) for name, field in marked.items()}


# What generators take, and how many seeds one run can ask for.
LARGEST_SEED, MOST_SEEDS = 2**32 - 1, 100_000
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]


# ---- YAML --------------------------------------------------------------------------------------------------------


DEEPEST, MOST_NODES, MOST_CHARACTERS = 50, 100_000, 2_000_000


class _Loader(yaml.SafeLoader):
    """YAML in which 1e-4 is a number, on, off, yes and no are words, and a repeated key is an error.

    PyYAML reads YAML 1.1: there 1e-4 is a string, and a factor level called `off` is a boolean. What is too deep or too
    large once its aliases are written out, leads back to itself, is no finite number, or is read as another one than it
    looks like (010 as 8, 4:30 as 270), is an error, too.
    """

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._open: list[int] = []  # of the nodes that are being read: the deepest level below each so far
        self._nodes = 0
        self._read: dict[int, tuple[int, int]] = {}  # of those that were: how many nodes and levels they are

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        is_alias = isinstance(event, yaml.AliasEvent)
        level, before = len(self._open) + 1, self._nodes
        if level > DEEPEST:
            self._refuse(f"is nested more than {DEEPEST} levels deep", event)
        self._open.append(level)
        node = super().compose_node(parent, index)
        deepest = self._open.pop()
        if is_alias:
            if id(node) not in self._read:
                self._refuse(f"alias {event.anchor!r} leads back to itself", event)
            size, levels = self._read[id(node)]
            deepest = level + levels - 1
            if deepest > DEEPEST:
                self._refuse(f"is nested more than {DEEPEST} levels deep", event)
        else:
            size = 1
        self._nodes += size
        if self._nodes > MOST_NODES:
            self._refuse(f"holds more than {MOST_NODES} values", event)
        if self._open:
            self._open[-1] = max(self._open[-1], deepest)
        if not is_alias:
            self._read[id(node)] = (self._nodes - before, deepest - level + 1)
        return node

    def construct_yaml_str(self, node: yaml.ScalarNode) -> str:
        value = super().construct_yaml_str(node)
        for sign, what in ((r"\0", "a zero byte"), (r"[\ud800-\udfff]", "half of a character")):
            if re.search(sign, value):
                self._refuse(f"a text that holds {what}", node)
        return value

    def construct_yaml_float(self, node: yaml.ScalarNode) -> float:
        value = super().construct_yaml_float(node)
        if ":" in node.value:
            self._refuse(f"{node.value!r} would be {value}: write the number that is meant, or a text in quotes", node)
        if not math.isfinite(value):
            self._refuse(f"{node.value!r} is not a finite number", node)
        return value

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        if len(node.value) > 100:
            self._refuse(f"a number of {len(node.value)} digits", node)
        value = super().construct_yaml_int(node)
        if ":" in node.value or re.match(r"[-+]?0[0-7_]", node.value):
            self._refuse(f"{node.value!r} would be {value}: write the number that is meant, or a text in quotes", node)
        return value

    @staticmethod
    def _refuse(problem: str, where: Any) -> NoReturn:
        raise yaml.constructor.ConstructorError(None, None, problem, where.start_mark)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._refuse("a key must be a word", key_node)
            if key_node.value in seen:
                self._refuse(f"key {key_node.value!r} appears twice", key_node)
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Quotes the strings that `_Loader` would read as numbers."""


class _OwnLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Fast, for what `_Dumper` has written."""


for _kind in ("float", "int", "str"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", getattr(_Loader, f"construct_yaml_{_kind}"))
for _kind in ("timestamp", "binary", "set", "omap", "pairs"):  # what JSON has no word for
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _Loader.yaml_constructors[None])
for _yaml in (_Loader, _Dumper, _OwnLoader):  # each gets resolvers of its own: PyYAML's are those of the whole process
    _yaml.yaml_implicit_resolvers = {
        letter: [one for one in found if not one[0].endswith(":timestamp")]  # a date is a word
        for letter, found in _yaml.yaml_implicit_resolvers.items()
    }
for _letter in "yYnNoO":
    _Loader.yaml_implicit_resolvers[_letter] = [
        one for one in _Loader.yaml_implicit_resolvers[_letter] if not one[0].endswith(":bool")
    ]
for _yaml in (_Loader, _Dumper):
    _yaml.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$"),
        list("-+0123456789."),
    )


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
        if "'\\t'" in str(error.problem):
            context = "; indent with spaces, not with tabs"
        raise UserError(f"{where}: not valid YAML{place}: {' '.join(str(error.problem).split())}{context}") from None
    except yaml.YAMLError as error:
        said = " ".join(str(error).replace('in "<unicode string>", ', "at ").split())
        raise UserError(f"{where}: not valid YAML: {said}") from None
    except (ValueError, LookupError) as error:  # a tag such as !!int or !!bool before what is none
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
    if data is None:
        raise UserError(f"{where}: is empty; write keys and values, such as `seeds: 3`")
    if not isinstance(data, dict):
        raise UserError(f"{where}: expected a mapping of keys, got {type(data).__name__}")
    return data


def dump_yaml(data: Any) -> str:
    """YAML text that keeps the order of keys and reads back to the same data."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def load_own(path: Path) -> Any:
    """What `dump_yaml` wrote into a file."""
    return yaml.load(path.read_text(encoding="utf-8"), _OwnLoader)


def content_hash(data: Any) -> str:
    """16 hex digits that identify JSON-able data, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(data, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:16]


# ---- overrides ----------------------------------------------------------------------------------------------------


def with_overrides(
    model: type[BaseModel], data: Mapping[str, Any], overrides: Mapping[str, Any], mistakes: Gathered | None = None
) -> dict[str, Any]:
    """A deep copy of `data` with dotted keys set, every key checked against `model`.

    UserError for an unknown key; with `mistakes`, it is left out, and told there. Setting a `kind` keeps the sibling
    fields that the new kind also has and drops the others, so that one override is enough to change a decay's shape.
    Kinds are set first, whatever the order of the mapping.
    """
    result: dict[str, Any] = json.loads(json.dumps(data))
    known = []
    for key in overrides:
        with mistakes.noted() if mistakes else contextlib.nullcontext():
            check_key(model, key)
            known.append(key)
    for key in sorted(known, key=lambda k: (not k.endswith(".kind"), k.count("."))):
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
            for cls in records(annotation, overrides[key]):
                if "kind" in cls.model_fields and cls.model_fields["kind"].default == overrides[key]:
                    for stale in set(node) - {name for name in node if _carries(annotation, node, cls, name)}:
                        del node[stale]
        if last == "path":
            node.pop("source", None)  # the hash of the code that another path named
        node[last] = overrides[key]
    return result


def _owner(annotation: Any, name: str, node: Mapping[str, Any]) -> type[BaseModel] | None:
    """The record with the field `name`: that of the node's kind, else the first that the annotation admits."""
    candidates = [*records(annotation, node.get("kind")), *records(annotation)]
    return next((cls for cls in candidates if name in cls.model_fields), None)


def _carries(annotation: Any, node: Mapping[str, Any], new: type[BaseModel], name: str) -> bool:
    """Whether a field's value goes along when the node becomes of the `new` kind, which must mean the same by it."""
    owner, field = _owner(annotation, name, node), new.model_fields.get(name)
    if owner is None or field is None:
        return field is not None
    return list(records(owner.model_fields[name].annotation)) == list(records(field.annotation))


def _left_out(owner: type[BaseModel] | None, name: str) -> dict[str, Any] | None:
    """The plain form of a record that its owner's plain form leaves out, being at its default."""
    default = _later(owner).get(name) if owner else None
    return default.model_dump(mode="json") if isinstance(default, BaseModel) else None


def parse_assignments(words: list[str]) -> dict[str, Any]:
    """Command-line overrides `a.b=value`, the value read as YAML."""
    result = {}
    for word in words:
        key, sep, value = word.partition("=")
        shown = word if len(word) <= 100 else f"{word[:100]}…"
        if not sep or not key:
            raise UserError(f"{shown!r}: an override has the form key=value, for example optimiser.lr=3e-4")
        result[key] = parse_yaml(value, shown)
    return result


# ---- validation ---------------------------------------------------------------------------------------------------


def validate(model: type[M], data: Any, where: str, context: dict[str, Any] | None = None) -> M:
    """Build `model` from plain data. UserError that starts with `where` and tells all that is wrong.

    `context` is passed on to the validators.
    """
    try:
        found = model.model_validate(data, context=context)
    except ValidationError as error:
        raise Mistakes(where, told(model, data, error)) from None
    if truths := list(_truths(data, found)):
        raise Mistakes(where, [f"{key}: expected a number, got {value}" for key, value in truths])
    return found


def _truths(data: Any, found: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Keys of truth values that were taken for numbers, as pydantic takes them, and the values as a file has them."""
    pairs: Iterable[tuple[Any, Any, Any]] = ()
    if isinstance(data, bool) and isinstance(found, int | float) and not isinstance(found, bool):
        yield key, str(data).lower()
    elif isinstance(data, Mapping) and isinstance(found, BaseModel):
        pairs = ((name, value, getattr(found, str(name), None)) for name, value in data.items())
    elif isinstance(data, Mapping) and isinstance(found, Mapping):
        pairs = ((name, value, found.get(name)) for name, value in data.items())
    elif isinstance(data, list | tuple) and isinstance(found, list | tuple):
        pairs = zip(range(len(data)), data, found, strict=False)
    for name, value, made in pairs:
        yield from _truths(value, made, f"{key}.{name}".lstrip("."))
