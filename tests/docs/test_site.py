"""docs/generated.py shows all there is, its links are the site's, and the site builds without a warning."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml
from doc_pages import PAGES, ROOT, generated

from atod_sweep.cli import app
from atod_sweep.config.schema import records_at
from atod_sweep.config.search import Search
from atod_sweep.config.study import Study
from atod_sweep.config.train import Train

GENERATED = generated()
ASKS = r"<(?:script|img|link|iframe|source)\b[^>]*\b(?:src|href)=\"?(?:https?:)?//[^>]*"
SITE = {"concepts.md", "howto/model.md", "CHANGELOG.md", "studies/results/README.md"}


@pytest.mark.parametrize("record", [Train, Study, Search])
def test_every_field_of_every_record_has_a_row(record) -> None:
    text = GENERATED.fields(record)
    waiting, seen = [record], set()
    while waiting:
        owner = waiting.pop()
        seen.add(owner)
        for name, field in owner.model_fields.items():
            row = name == "kind" or f"| `{name}` |" in text
            assert row, f"{owner.__name__}.{name}"
            assert (field.description or "")[:20].split("`")[0].split("<")[0].split("*")[0] in text
            waiting += [found for found in records_at(owner, [name]) if found not in seen]


def test_a_row_tells_bounds_default_and_kinds() -> None:
    text = GENERATED.fields(Train)
    assert "| `clip_ratio` | number, above 0 | `0.2` | PPO clip range of the probability ratio. |" in text
    assert "| `steps` | whole number, at least 1 | `400` |" in text
    assert "## `objective.distill_weight`, kind `cosine` { #objective-distill_weight-cosine }" in text
    assert "[`none`](#teacher-none)" in text
    assert text.count("kind `cosine` {") == 1  # once, with all its places
    also = text[text.index("{ #objective-distill_weight-cosine }") :].split("\n\n")[2]
    assert also.startswith("Also at ")
    assert "`objective.kl_penalty.coef`" in also
    assert "| `base` | text or mapping | **needed** |" in GENERATED.fields(Study)


def test_every_verb_and_option_is_there() -> None:
    text = GENERATED.verbs()
    names = [name for name, _ in GENERATED.commands(typer.main.get_command(app))]
    assert {"run", "search", "space show", "pack"} <= set(names)
    assert all(f"## `{name}`" in text for name in names)
    assert "| `--until-decided` |" in text


def test_every_mark_is_known_and_every_generator_used() -> None:
    marks = [mark for page in PAGES for mark in GENERATED.MARK.findall(page.read_text(encoding="utf-8"))]
    assert sorted(marks) == sorted(GENERATED.GENERATORS)


@pytest.mark.parametrize(
    ("page", "text", "expected"),
    [
        ("index.md", "[a](concepts.md#x)", "[a](concepts.md#x)"),
        ("howto/model.md", "[a](../concepts.md)", "[a](../concepts.md)"),
        ("howto/model.md", "[a](../../studies/results/README.md)", "[a](../studies/results/README.md)"),
        ("CHANGELOG.md", "([how-to](docs/howto/model.md))", "([how-to](howto/model.md))"),
        ("studies/results/README.md", "![a](../../docs/concepts.md)", "![a](../../concepts.md)"),
        ("index.md", "[`x`](../studies/quickstart.yaml)", "`x`"),  # there, and not in the site
        ("index.md", "[a](#b) [c](mailto:d)", "[a](#b) [c](mailto:d)"),
        ("index.md", "```\n[a](nowhere.md)\n```", "```\n[a](nowhere.md)\n```"),
    ],
)
def test_links_by_the_repository_become_those_of_the_site(page: str, text: str, expected: str) -> None:
    assert GENERATED.linked(text, page, SITE) == expected


def test_a_link_to_nowhere_is_told(caplog) -> None:
    GENERATED.linked("[a](nowhere.md)", "index.md", SITE)
    assert "docs/index.md: links to nowhere.md, which is not there" in caplog.text


def test_every_page_is_in_the_navigation() -> None:
    def leaves(node) -> list[str]:
        if isinstance(node, str):
            return [node]
        children = node.values() if isinstance(node, dict) else node
        return [leaf for child in children for leaf in leaves(child)]

    named = leaves(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    reports = {path.relative_to(ROOT).as_posix() for path in (ROOT / "studies/results").glob("*/report.md")}
    assert pages | reports <= set(named)
    assert all((ROOT / "docs" / name).exists() or (ROOT / name).exists() for name in named)


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_asks_nobody_for_anything(tmp_path: Path) -> None:
    pytest.importorskip("material")
    pytest.importorskip("mkdocstrings")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(tmp_path / "site")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > len(PAGES)
    for page in pages:
        assert not re.findall(ASKS, page.read_text(encoding="utf-8")), page
    for style in (tmp_path / "site").rglob("*.css"):
        assert not re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//", style.read_text(encoding="utf-8")), style
    assert not list((tmp_path / "site").glob("*.py"))
