"""The worked examples in the docstrings of `objective/` are true, and every public function there has one."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil

import pytest

from atod_sweep import objective

MODULES = sorted(module.name for module in pkgutil.walk_packages(objective.__path__, "atod_sweep.objective."))


@pytest.mark.parametrize("name", MODULES)
def test_worked_examples(name: str) -> None:
    module = importlib.import_module(name)
    result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0
    public = [
        member
        for key, member in inspect.getmembers(module, inspect.isfunction)
        if member.__module__ == name
        and not key.startswith("_")
        # what calls a function of the user's own is shown in docs/howto/custom_kinds.md
        and "path" not in inspect.signature(member).parameters
    ]
    assert [f.__qualname__ for f in public if ">>>" not in (inspect.unwrap(f).__doc__ or "")] == []
