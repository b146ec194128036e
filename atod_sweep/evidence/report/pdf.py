"""The formats of a report; report.html as a PDF, printed by a Chromium that is already here."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from atod_sweep.errors import UserError

FORMATS = ("html", "md", "pdf")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")
SECONDS = 120.0


def check_formats(formats: Sequence[str]) -> None:
    """UserError for a format that there is not, or not here: a PDF needs Chromium."""
    if unknown := [name for name in formats if name not in FORMATS]:
        raise UserError(f"--format {unknown[0]!r}: unknown; use {', '.join(FORMATS)}")
    if "pdf" in formats:
        browser()


def browser() -> str:
    """The first of `BROWSERS` on the path. UserError if there is none."""
    for name in BROWSERS:
        if found := shutil.which(name):
            return found
    raise UserError(
        "--format 'pdf': needs Chromium, and found none of "
        f"{', '.join(BROWSERS)}; install one (Debian: apt-get install chromium), or print report.html from your browser"
    )


def print_page(html: Path, pdf: Path) -> None:
    """Print one HTML file. UserError if the browser does not manage to."""
    # Chromium refuses to run as root in its own sandbox; the page is ours, and its policy forbids every request.
    root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    command = [browser(), "--headless", "--disable-gpu", *root, "--no-pdf-header-footer"]
    command += [f"--print-to-pdf={pdf.resolve()}", html.resolve().as_uri()]
    pdf.unlink(missing_ok=True)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise UserError(f"{pdf}: {command[0]} did not print within {SECONDS:g} s; print {html} by hand") from None
    if not pdf.is_file():
        words = " ".join(done.stderr.split())[-200:]
        raise UserError(f"{pdf}: {command[0]} did not print (exit code {done.returncode}): {words}")
