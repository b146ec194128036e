"""What Ray puts first on the path of its workers."""

from __future__ import annotations

import os

from atod_sweep.sweep.backends.ray import _NotFirst


def test_the_current_folder_is_not_among_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = _NotFirst()
    folders.extend(["/usr/bin", os.path.abspath(os.path.curdir)])
    assert list(folders) == ["/usr/bin"]
