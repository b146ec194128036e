"""Texts of a received run that mean harm to whoever renders its report: none of them is alive in it."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest
from claim_ledgers import write_claims
from ledger_files import read_ledger, write_ledger
from markdown_it import MarkdownIt
from markdown_it.token import Token

from atod_sweep.evidence.analysis.text import inert, markdown_cell
from atod_sweep.evidence.report.write import write

pytestmark = pytest.mark.usefixtures("blank_pictures")

FETCHED = "http://evil.example/x"
HOSTILE = [
    f"![a]({FETCHED})",
    f"[a]({FETCHED})",
    f"\\![a]({FETCHED})",
    f"[a\\]({FETCHED})",
    f"![a][b]\n\n[b]: {FETCHED}",
    f"<img src={FETCHED}>",
    f"\\<img src={FETCHED}>",
    f"<{FETCHED}>",
    f"`` ` ``<script src={FETCHED}></script>",
    f"a`![b]({FETCHED})`",
    f"a | b\n# c\n<!--\n![d]({FETCHED})",
    f"x\n```\n![a]({FETCHED})",
    f'"><img src="{FETCHED}"',
]
LIVE = {"image", "link_open", "html_inline", "html_block", "fence"}


def alive(text: str) -> list[str]:
    """What of a Markdown document would be fetched, followed, or read as HTML, beyond its own pictures and anchors."""
    blocks = MarkdownIt("gfm-like", {"linkify": False}).parse(text)
    tokens = [token for block in blocks for token in [block, *(block.children or [])] if token.type in LIVE]
    return [f"{t.type} {t.info} {t.attrs} {t.content}" for t in tokens if not is_own(t)]


def is_own(token: Token) -> bool:
    """A figure of the report, an anchor in it, or its study file."""
    target = str(token.attrs.get("src", token.attrs.get("href", "")))
    return target.startswith(("figures/", "#")) or (token.type == "fence" and token.info == "yaml")


class Addresses(HTMLParser):
    """The attributes of a page's elements that name an address outside of it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found += [f"{tag} {name}={value}" for name, value in attrs if "evil" in (value or "") and name != "alt"]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("escape", [inert, markdown_cell])
def test_a_text_is_dead_wherever_it_stands(text, escape):
    assert alive(f"# {escape(text)}\n\nQuestion: {escape(text)}\n\n- **{escape(text)}**: {escape(text)}\n") == []


@pytest.mark.parametrize("text", HOSTILE)
def test_a_run_that_is_hostile_everywhere(tmp_path: Path, text: str):
    run = write_claims(
        tmp_path / "run", {f"a{text}": [0.6, 0.7], "b": [0.5, 0.5]}, [{"arm": f"a{text}", "other": "b"}], question=text
    )
    study, *trials = read_ledger(run)
    ref = {"digest": text, "success": 0.5, "path": text}
    hardware = {"cpu": text, "cores": 2, "memory_gb": 1.0, "gpu": text}
    harm = {"name": text, "git": text, "definition_hash": text, "argv": [text, text], "versions": {text: text}}
    harm |= {"models": {text: ref}, "hardware": hardware, "definition": {text: text}}
    write_ledger(run, [{**study, **harm}, *trials])
    paths = write(run)
    assert alive(paths.markdown.read_text(encoding="utf-8")) == []
    assert Addresses(paths.html.read_text(encoding="utf-8")).found == []


def test_a_living_picture_is_seen():
    assert alive(f"![a]({FETCHED})") != []
    assert alive(f"<img src={FETCHED}>") != []
    assert alive("![a](figures/a.png) [b](#b)") == []
    assert Addresses(f"<p title='x'><img src={FETCHED} alt='{FETCHED}'>").found == [f"img src={FETCHED}"]
