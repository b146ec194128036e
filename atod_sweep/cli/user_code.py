"""Whose code a verb imports: installed packages, and in verbs that run studies what lies in the user's folders."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def admit(*files: Path) -> None:
    """Let `env.id: my_module:MyEnv` name a module in the current folder, or in that of a study, search or config.

    They come last: a `numpy.py` that lies there is not numpy. A verb that only reads never calls this.
    """
    folders = [os.getcwd(), *(str(file.resolve().parent) for file in files if file.is_file())]
    sys.path.extend(folder for folder in dict.fromkeys(folders) if folder not in sys.path)
