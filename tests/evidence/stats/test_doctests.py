"""The worked examples in the docstrings are true."""

import doctest
import importlib
import pkgutil

import pytest

from atod_sweep.evidence import stats
from atod_sweep.records import metric_names

MODULES = [f"{stats.__name__}.{module.name}" for module in pkgutil.iter_modules(stats.__path__)]


@pytest.mark.parametrize("name", [*MODULES, metric_names.__name__])
def test_examples(name: str) -> None:
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert failed == 0
