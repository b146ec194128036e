"""The formats of a report."""

from __future__ import annotations

from collections.abc import Sequence

from atod_sweep.errors import UserError
from atod_sweep.evidence.report import pdf

FORMATS = ("html", "md", "pdf")


def check_formats(formats: Sequence[str]) -> None:
    """UserError for a format that there is not, or not here: a PDF needs Chromium."""
    if unknown := [name for name in formats if name not in FORMATS]:
        raise UserError(f"--format {unknown[0]!r}: unknown; use {', '.join(FORMATS)}")
    if "pdf" in formats:
        pdf.browser()
