"""The fields of WebShop's records, in the many shapes in which people have them. Raises Unusable for any other."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from atod_sweep.envs.benchmarks.records import Unusable, quote

_NUMBER = r"(\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d{1,3}(?:\.\d{3})+,\d{1,2}|\d+(?:[.,]\d+)?|\.\d+)"
_DEAREST = 1e9  # a price is at most this
_IN_DOLLARS = re.compile(rf"\$\s*{_NUMBER}(?:\s*(?:-|–|to)\s*{_NUMBER})?")


def is_missing(value: Any) -> bool:
    """Whether a field says nothing: null, NaN (as pandas writes null), or blank."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, float) and math.isnan(value))


def _is_text(value: str) -> bool:
    """Whether it can be encoded: JSON may hold halves of characters."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def text(record: Mapping[str, Any], field: str) -> str:
    """A text or a number as text; "" where there is none."""
    value = record.get(field)
    if is_missing(value):
        return ""
    if isinstance(value, str | int | float) and not isinstance(value, bool) and _is_text(str(value)):
        return str(value)
    raise Unusable(f"{field} {quote(value)}")


def needed(record: Mapping[str, Any], field: str) -> str:
    """A text that must be there."""
    if found := text(record, field):
        return found
    raise Unusable(f"{field} {quote(record[field]) if field in record else 'missing'}")


def texts(record: Mapping[str, Any], field: str) -> tuple[str, ...]:
    """A list of texts, or a single one; without what is null or blank in it."""
    value = record.get(field)
    if is_missing(value):
        return ()
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list):
        return tuple(text({field: each}, field) for each in value if not is_missing(each))
    raise Unusable(f"{field} {quote(value)}")


def prices(value: Any) -> list[float]:
    """The one or two numbers of a price or a range; none where none is given.

    "$9.99", "$9.99$14.99", "from $9.99.", "$1,299.00", "12.99 - 15", "12,99", "1.299,00", 12.99, [9.99, 14.99],
    {"low": 9.99}.
    """
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        return [price for each in value for price in prices(each)[:1]][:2]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return [float(value)] if 0 <= value <= _DEAREST else []
    if not isinstance(value, str):
        return []
    found = _IN_DOLLARS.findall(value) or re.findall(_NUMBER, value)
    numbers = [number for each in found for number in ([each] if isinstance(each, str) else each) if number]
    return [price for number in numbers if (price := _float(number)) <= _DEAREST][:2]


def _float(number: str) -> float:
    """A comma before three digits parts thousands; any other is a decimal point, and dots before it part thousands."""
    if re.search(r"\..*,", number):
        number = number.replace(".", "")
    return float(re.sub(r",(?=\d{3}(?:\D|$))", "", number).replace(",", "."))


def options(record: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Name and values of every option, in lower case; those without values are left out."""
    field = "customization_options"
    choices = record.get(field)
    if is_missing(choices) or choices == []:
        return
    if not isinstance(choices, Mapping):
        raise Unusable(f"{field} {quote(choices)}")
    for name, values in choices.items():
        if not _is_text(name):
            raise Unusable(f"{field} {quote(name)}")
        if is_missing(values):
            continue
        listed = values if isinstance(values, list) else [values]
        found = [each.get("value") if isinstance(each, Mapping) else each for each in listed]
        said = texts({f"{field}.{name}": found}, f"{field}.{name}")
        if said or not listed:
            yield name.lower(), tuple(value.strip().replace("/", " | ").lower() for value in said)


def wishes(record: Mapping[str, Any]) -> tuple[str, ...]:
    """The option values that a goal asks for: a list of them, or a mapping or a list of pairs from option to value."""
    field = "instruction_options"
    value = record.get(field)
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        value = [each[1] if isinstance(each, list) and len(each) == 2 else each for each in value]
    return texts({field: value}, field)
