"""Outcomes of tasks, packed and unpacked."""

import json

import pytest

from atod_sweep.errors import UserError
from atod_sweep.records.outcomes import pack, unpack


@pytest.mark.parametrize(
    "values",
    [
        [],
        [1.0],
        [0.0, 1.0, 1.0, 0.0, 0.5],
        [i / 7 for i in range(256)],
        [i / 7 for i in range(257)] * 2,  # a byte is no longer enough
    ],
)
def test_there_and_back(values: list[float]) -> None:
    assert unpack(json.loads(json.dumps(pack(values)))) == values


def test_it_is_short() -> None:
    coins = [float(bit) for bit in f"{3**2584:b}"[:4096]]
    assert len(coins) == 4096
    assert len(json.dumps(pack(coins))) < 1024


@pytest.mark.parametrize(
    "damaged",
    [
        {},
        {"values": [0.0]},
        {"values": [0.0], "index": "!"},
        {"values": [0.0], "index": "AAAA"},
        {**pack([0.5, 1.0]), "values": [0.5]},
    ],
)
def test_damaged(damaged: dict) -> None:
    with pytest.raises(UserError, match=r"outcomes of tasks are damaged \(.*\): ") as error:
        unpack(damaged)
    assert "\n" not in str(error.value)
