"""A search space in words: its tree, its size, and samples resolved to trainer configs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path

from atod_sweep.config.domains import Branch, Choice, Fixed, Int, Parameter
from atod_sweep.config.given import given
from atod_sweep.config.search import Search
from atod_sweep.sweep.searches.draws import random_units
from atod_sweep.sweep.searches.samplers.grid import every_point
from atod_sweep.sweep.searches.samplers.listed import feasible
from atod_sweep.sweep.searches.space import Space, resolve_space

_COUNTED = 10_000  # points that are tried out, one by one: some break constraints, or come to the same


def space_lines(path: Path, samples: int = 5) -> list[str]:
    """What `atod-sweep space show FILE` prints. UserError if the file is no valid space."""
    found = given(Search, path, resolve_space)
    search, space = found.record, resolve_space(found.record, found.folder, found.where)
    lines = [f"{search.name}: {_size(space)}", ""]
    lines += list(_tree(space.parameters))
    lines += [f"  constraint: {constraint}" for constraint in space.constraints]
    for i, sample in enumerate(itertools.islice(feasible(space, random_units(0)), samples)):
        lines += ["", f"sample {i + 1}  ({sample.hash})"]
        lines += [f"  {key}: {_value(value)}" for key, value in sample.values.items()]
    return lines


def _size(space: Space) -> str:
    varying = space.varying
    words = f"{len(varying)} parameters" + (
        ", some only beside certain values of others" if space.is_conditional else ""
    )
    sizes = [max(1 if isinstance(b.domain, Fixed) else b.domain.size for b in p.branches) for p in varying]
    if endless := sizes.count(math.inf):
        return f"{words}; {endless} of them continuous"
    if (most := math.prod(sizes)) > _COUNTED:
        return f"{words}; up to {most} configurations"
    return f"{words}; {len({sample.hash for sample in every_point(space)})} configurations"


def _tree(parameters: tuple[Parameter, ...]) -> Iterator[str]:
    group = ""
    for parameter in parameters:
        parent, _, name = parameter.key.rpartition(".")
        if parent != group:
            yield f"  {parent}" if parent else ""
            group = parent
        for branch in parameter.branches:
            words = _conditions(branch, parent) or ("   otherwise" if len(parameter.branches) > 1 else "")
            yield f"    {name:18} {_domain(branch)}{words}"


def _domain(branch: Branch) -> str:
    domain = branch.domain
    if isinstance(domain, Fixed):
        return f"= {_value(domain.value)}"
    if isinstance(domain, Choice):
        return " | ".join(_value(value) for value in domain.values)
    is_whole = isinstance(domain, Int)
    kind = "whole numbers" if is_whole else "real"
    scale = ", log" if domain.log else ""
    step = "" if domain.step is None or (is_whole and domain.step == 1) else f", step {domain.step:g}"
    plus = f" above {domain.plus}" if domain.plus else ""
    cut = f"; cut from {domain.cut_from:g}" if domain.cut_from is not None else ""
    return f"{domain.low:g} .. {domain.high:g}  ({kind}{scale}{step}{cut}){plus}"


def _conditions(branch: Branch, parent: str) -> str:
    words = [f"{k.removeprefix(parent + '.')} is {' or '.join(map(_value, v))}" for k, v in branch.when.items()]
    return f"   if {' and '.join(words)}" if words else ""


def _value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
