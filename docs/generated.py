"""What the site shows of the code and of the repository, made while it is built (see `mkdocs.yml`).

A line `<!-- generated: NAME -->` of a page is replaced by what `GENERATORS[NAME]` makes: the reference says what the
code says. Pages of the repository outside docs/ (reports of studies, benchmarks, the changelog) join the site as they
are. Every page links by paths of the repository, which also work where that is browsed; links to files that the site
does not show become plain text, and links to what is not there fail the build.
"""

from __future__ import annotations

import json
import logging
import posixpath
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from pydantic.fields import FieldInfo

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
MARK = re.compile(r"^<!-- generated: (.+?) -->$", re.MULTILINE)
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^)\s]+)\)")
FENCED = re.compile(r"(^```.*?^```[^\n]*$)", re.MULTILINE | re.DOTALL)

# Files of the repository that the site shows where they lie there.
INCLUDED = (
    *("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "benchmarks/*.md", "benchmarks/trainer/results/*.*"),
    *("studies/results/*.md", "studies/results/*/*.md", "studies/results/*/figures/*.png"),
    "studies/results/*/export/*.md",
)
log = logging.getLogger("mkdocs.hooks.generated")


# ---- fields of a record ------------------------------------------------------------------------------------------


def fields(model: type[BaseModel], root: str = "") -> str:
    """Markdown: a table of fields for a record and for every record below it, each once, with all its places."""
    from atod_sweep.config.schema import records_at

    places: dict[type[BaseModel], list[str]] = {model: [root]}
    waiting = [(model, root)]
    while waiting:
        owner, path = waiting.pop(0)
        for name in owner.model_fields:
            below = f"{path}.{name}".lstrip(".")
            for record in records_at(owner, [name]):
                if record not in places:
                    places[record] = []
                    waiting.append((record, below))
                if below not in places[record]:
                    places[record].append(below)
    return "\n\n".join(_section(record, paths, places) for record, paths in places.items())


Places = dict[type[BaseModel], list[str]]


def _section(record: type[BaseModel], paths: list[str], places: Places) -> str:
    rows = [
        f"| `{name}` | {_type(record, name, field, places)} | {_default(field)} | {_cell(field.description or '')} |"
        for name, field in record.model_fields.items()
        if name not in ("kind", "cut_from")  # a row's title says it; said by the package, never by a file
    ]
    head = ["| key | takes | default | |", "|---|---|---|---|"]
    also = [f"Also at {', '.join(f'`{path}`' for path in paths[1:])}."] if len(paths) > 1 else []
    title = [f"## {_title(record, paths)} {{ #{_anchor(record, paths)} }}"] if paths[0] else []
    doc = (record.__doc__ or "").strip()
    said = " ".join(doc.split("\n\n")[0].split())
    return "\n\n".join(filter(None, ["\n".join(title), _prose(said), *also, "\n".join([*head, *rows]) if rows else ""]))


def _kind(record: type[BaseModel]) -> str | None:
    return record.model_fields["kind"].default if "kind" in record.model_fields else None


def _title(record: type[BaseModel], paths: list[str]) -> str:
    kind = _kind(record)
    return f"`{paths[0]}`, kind `{kind}`" if isinstance(kind, str) else f"`{paths[0]}`"


def _anchor(record: type[BaseModel], paths: list[str]) -> str:
    kind = _kind(record)
    return "-".join([paths[0].replace(".", "-"), *([kind] if isinstance(kind, str) else [])])


def _type(owner: type[BaseModel], name: str, field: FieldInfo, places: Places) -> str:
    from atod_sweep.config.schema import records_at

    linked = [
        f"[{f'`{_kind(record)}`' if _kind(record) else 'its keys'}](#{_anchor(record, places[record])})"
        for record in records_at(owner, [name])
    ]
    words = [word for word in dict.fromkeys(_words(field.annotation)) if word]
    bounds = [f"{sign} {getattr(m, at):,}" for m in field.metadata for at, sign in _BOUNDS.items() if hasattr(m, at)]
    return _cell(", ".join([" or ".join([*words, *linked]).replace("list of or", "list of"), *bounds]))


_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
_PLAIN = {int: "whole number", float: "number", str: "text", bool: "true or false", type(None): "null", Any: "anything"}


def _words(annotation: Any) -> Iterator[str]:
    """What an annotation admits, in words; nothing for records, which are linked."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _words(get_args(annotation)[0])
    elif origin is Literal:
        yield from (f"`{value}`" for value in get_args(annotation))
    elif origin in (list, tuple):
        items = dict.fromkeys(word for item in get_args(annotation) if item is not ... for word in _words(item))
        yield f"list of {' or '.join(filter(None, items))}".strip()
    elif origin is dict or annotation is dict:
        yield "mapping"
    elif get_args(annotation):
        for member in get_args(annotation):
            yield from _words(member)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield ""
    else:
        yield _PLAIN[annotation]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**needed**"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        given = {
            key: item for key, item in value.model_dump(mode="json").items() if key in {"kind", *value.model_fields_set}
        }
        return "`{" + ", ".join(f"{key}: {item}" for key, item in given.items()) + "}`" if given else "its own"
    return f"`{json.dumps(value, ensure_ascii=False, default=list)}`"


def _cell(text: str) -> str:
    return _prose(text).replace("|", "\\|")


def _prose(text: str) -> str:
    """Text of the code as Markdown: brackets, stars and underscores mean themselves outside of code."""
    parts = re.split(r"(`[^`]+`)", text)
    return "".join(part if i % 2 else re.sub(r"(?<!\])([*<])", r"\\\1", part) for i, part in enumerate(parts))


# ---- the other generators ----------------------------------------------------------------------------------------


def verbs() -> str:
    """Markdown: every verb of the command line with its arguments and options."""
    import typer

    from atod_sweep.cli import app

    return "\n\n".join(_verb(name, verb) for name, verb in commands(typer.main.get_command(app)))


def commands(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    """Every verb of the command line by name: `run`, `space show`."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{before}{name} ")
        else:
            yield before + name, command


def _verb(name: str, command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    usage = " ".join(p.name.upper() if p.required else f"[{p.name.upper()}]" for p in arguments)
    rows = [f"| `{_spelled(p)}` | {_cell(p.help or '')} |" for p in command.params if p.name != "help"]
    table = "\n".join(["| | |", "|---|---|", *rows]) if rows else ""
    line = f"```text\natod-sweep {f'{name} {usage}'.strip()}\n```"
    return f"## `{name}`\n\n{_prose(command.help.strip())}\n\n{line}\n\n{table}"


def _spelled(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.name).upper()
    return ", ".join(sorted(parameter.opts, key=len))


def functions() -> str:
    """Markdown for mkdocstrings: every public name."""
    from atod_sweep import api

    return "\n\n".join(f"::: atod_sweep.api.{name}" for name in api.__all__) + "\n\n::: atod_sweep.tune.trainable"


def study() -> str:
    from atod_sweep.config.study import Study

    return fields(Study)


def search() -> str:
    from atod_sweep.config.search import Search

    return fields(Search)


def train() -> str:
    from atod_sweep.config.train import Train

    return fields(Train)


def ranges() -> str:
    """Markdown: what a parameter of a search space takes."""
    from atod_sweep.config.domains import Float, Int

    return "\n\n".join(f"## `{key}: [low, high]`\n\n{fields(cls)}" for key, cls in (("float", Float), ("int", Int)))


def matrix() -> str:
    """Markdown: what each target carries, and how it is launched."""
    from atod_sweep.export.targets.registry import TARGETS, capability_table

    rows = [f"| `--to {t.name}` | {t.title} | `{t.package}` | {_cell(t.counter)} |" for t in TARGETS.values()]
    return (
        "\n".join(
            ["| | trainer | written for | its step |", "|---|---|---|---|", *rows, "", "## What each carries", ""]
        )
        + f"\n{capability_table()}"
    )


def mappings() -> str:
    """Markdown: trainers of which only the keys are known, one section each, below a heading of the page."""
    from atod_sweep.export.targets.registry import documented_mappings

    return re.sub(r"^#+ ", "### ", documented_mappings(), flags=re.MULTILINE)


def controls() -> str:
    """Markdown: the controls that a study can name."""
    from atod_sweep.config.study import CONTROLS
    from atod_sweep.evidence.report.glossary import CONTROLS as MEANING

    return "\n".join(["| control | is |", "|---|---|", *(f"| `{name}` | {MEANING[name]} |" for name in CONTROLS)])


def shipped() -> str:
    """Markdown: studies and spaces that ship, with the reports that were made of them."""
    from atod_sweep.config.shipped import listing

    rows = ["| name | question | time | report |", "|---|---|---|---|"]
    for one, run in [
        *((s, s.name) for s in listing("studies")),
        *((s, f"{s.name}_search") for s in listing("search_spaces")),
    ]:
        has_report = (ROOT / "studies/results" / run / "report.md").is_file()
        link = f"[report](../studies/results/{run}/report.md)" if has_report else ""
        rows.append(f"| `{one.name}` | {_cell(one.question)} | {one.time} | {link} |")
    return "\n".join(rows)


def cards() -> str:
    """Markdown: the cards of the shipped environments that need no further package."""
    from atod_sweep.envs import registry

    names = [name for name, place in registry.FAMILIES.items() if ".families." in place]
    return "\n\n".join(f"## `{name}`\n\n```text\n{registry.card(name).strip()}\n```" for name in names)


def metrics() -> str:
    """Markdown: the trainer's numbers, their units and which way is better."""
    from atod_sweep.records.metric_names import COSTS, TRAINING, direction, unit

    better = {"max": "more", "min": "less", None: ""}
    rows = [f"| `{name}` | {unit(name)} | {better[direction(name)]} |" for name in (*COSTS, *TRAINING)]
    return "\n".join(["| name | unit | better |", "|---|---|---|", *rows])


def events() -> str:
    """Markdown: the kinds of a ledger's rows, and their fields."""
    from atod_sweep.records.ledger_rows import Row

    rows = ["| event | says | fields |", "|---|---|---|"]
    for kind in get_args(Row):
        hints = get_type_hints(kind, include_extras=True)
        event = get_args(hints.pop("event"))[0]
        fields = [f"[`{name}`]" if get_origin(hint) is NotRequired else f"`{name}`" for name, hint in hints.items()]
        said = _cell(" ".join((kind.__doc__ or "").split("\n\n")[0].split()))
        rows.append(f"| `{event}` | {said} | {', '.join(fields)} |")
    return "\n".join(rows)


def statuses() -> str:
    """Markdown: why attempts fail, and which failures are tried again."""
    from atod_sweep.records.status import Status

    rows = [f"| `{s.value}` | {_cell(s.meaning)} | {'yes' if s.retried else ''} |" for s in Status]
    return "\n".join(["| word | what happened | tried again |", "|---|---|---|", *rows])


GENERATORS: dict[str, Callable[[], str]] = {
    made.__name__: made
    for made in (
        *(study, search, train, ranges, verbs, functions, matrix),
        *(mappings, controls, shipped, cards, metrics, events, statuses),
    )
}


# ---- the build ---------------------------------------------------------------------------------------------------


def included() -> list[str]:
    """Paths of the repository that the site shows beside docs/."""
    return sorted({path.relative_to(ROOT).as_posix() for glob in INCLUDED for path in ROOT.glob(glob)})


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """The pages and pictures of the repository join those of docs/."""
    from mkdocs.structure.files import File

    for path in included():
        files.append(File(path, str(ROOT), config.site_dir, config.use_directory_urls))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Marks are replaced, then links are those of the site."""
    text = MARK.sub(lambda mark: GENERATORS[mark[1]](), markdown)
    return linked(text, page.file.src_uri, set(files.src_uris))


def linked(markdown: str, page: str, site: set[str]) -> str:
    """Markdown of the site's page `page`, its links by the repository turned into links by the site."""
    home = page if page in included() else f"docs/{page}"

    def link(found: re.Match[str]) -> str:
        is_picture, text, target = found.groups()
        path, sign, anchor = target.partition("#")
        if not path or re.match(r"[a-z]+:", target):
            return found[0]
        place = posixpath.normpath(posixpath.join(posixpath.dirname(home), path))
        shown = place.removeprefix("docs/")
        if shown in site:
            return f"{is_picture}[{text}]({posixpath.relpath(shown, posixpath.dirname(page) or '.')}{sign}{anchor})"
        if not (ROOT / place).exists():
            log.warning("%s: links to %s, which is not there", home, target)
        return text

    parts = FENCED.split(markdown)
    return "".join(part if i % 2 else LINK.sub(link, part) for i, part in enumerate(parts))
