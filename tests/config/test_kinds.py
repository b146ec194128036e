"""Tables with one row per kind: what is missing or too much is named when the table is built."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import Field

from atod_sweep.config.base import Record
from atod_sweep.config.kinds import kinds, one_each
from atod_sweep.config.schedules import ClosedForm, Schedule
from atod_sweep.config.signals import Distill


class Fir(Record):
    kind: Literal["fir"] = "fir"


class Oak(Record):
    kind: Literal["oak"] = "oak"


Tree = Annotated[Fir | Oak, Field(discriminator="kind")]


def test_kinds_of_plain_and_annotated_unions() -> None:
    assert kinds(Tree) == kinds(Fir | Oak) == {"fir": Fir, "oak": Oak}
    assert list(kinds(Schedule)) == [*kinds(ClosedForm), "adaptive"]
    assert "forward_kl" in kinds(Distill)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"fir": 1}, r"no row for kind 'oak' \(.*Oak\)"),
        ({}, "no row for kind 'fir'"),
        ({"fir": 1, "oak": 2, "elm": 3}, "a row for 'elm', which is no kind; known: fir, oak"),
    ],
)
def test_a_table_has_one_row_for_every_kind(rows: dict[str, int], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        one_each(Tree, rows)


def test_a_whole_table_is_returned_as_it_is() -> None:
    assert one_each(Tree, {"oak": 2, "fir": 1}) == {"fir": 1, "oak": 2}
