"""Outcomes of single tasks as a short text: thousands of numbers of which few differ, such as 0 and 1 for success."""

from __future__ import annotations

import base64
import binascii
import zlib
from array import array
from collections.abc import Sequence
from typing import Any

from atod_sweep.errors import UserError


def pack(values: Sequence[float]) -> dict[str, Any]:
    """The distinct values, and for every outcome which of them it is (bytes, compressed, in base 64).

    Up to 256 distinct values take a byte each, up to 65,536 two, before compression: 4,096 coin flips come to 1.0 kB.
    """
    distinct = sorted(set(values))
    place = {value: i for i, value in enumerate(distinct)}
    numbers = array("B" if len(distinct) <= 256 else "H", [place[value] for value in values])
    data = zlib.compress(b"".join(n.to_bytes(numbers.itemsize, "little") for n in numbers), 9)
    return {"values": distinct, "index": base64.b64encode(data).decode()}


def unpack(packed: dict[str, Any]) -> list[float]:
    """The outcomes in their order. UserError for what `pack` has not made."""
    try:
        data = zlib.decompress(base64.b64decode(packed["index"], validate=True))
        values: list[float] = packed["values"]
        width = 1 if len(values) <= 256 else 2
        return [values[int.from_bytes(data[i : i + width], "little")] for i in range(0, len(data), width)]
    except (KeyError, TypeError, IndexError, ValueError, binascii.Error, zlib.error) as error:
        raise UserError(f"outcomes of tasks are damaged ({type(error).__name__}): {str(packed)[:60]!r}") from None
