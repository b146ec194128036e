"""A package whose every config record has one more field, `grown`, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_GROW = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pydantic import create_model
from atod_sweep.config import base
grown = (int, base.Later(7, description="New."))
base.Record = create_model("Record", __base__=base.Record, grown=grown)  # before any other module takes it from there
"""


def grown(program: str, *arguments: str) -> str:
    """What the program prints there; AssertionError with its stderr if it fails."""
    command = [sys.executable, "-c", _GROW + program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
