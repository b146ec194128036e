"""The pages that people read: README and docs/, their blocks of code, and docs/generated.py."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def name_of(page: Path) -> str:
    """For the id of a test."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return [text for found, text in FENCE.findall(page.read_text(encoding="utf-8")) if found == language]


def spans(page: Path) -> list[str]:
    """What stands in backticks outside of blocks."""
    return re.findall(r"`([^`\n]+)`", FENCE.sub("", page.read_text(encoding="utf-8")))


def file_name(block: str) -> str | None:
    """`space.yaml` of a block that begins with `# space.yaml`."""
    found = re.match(r"# (\w+\.(?:py|yaml))\n", block)
    return found[1] if found else None


def generated() -> ModuleType:
    """docs/generated.py."""
    spec = importlib.util.spec_from_file_location("generated", ROOT / "docs" / "generated.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
