"""A field that is added to a record and is at its default changes no hash, and no run that was recorded without it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import pytest
from grown_records import grown
from pydantic import Field

from atod_sweep.config.base import Later, Record, content_hash, validate, with_overrides
from atod_sweep.config.train import Train, model_key

RESULTS = Path(__file__).parents[2] / "studies" / "results"


class Soft(Record):
    kind: Literal["soft"] = "soft"
    width: float = Field(1.0)
    slope: float = Field(2.0)


class Hard(Record):
    kind: Literal["hard"] = "hard"
    width: float = Field(0.5)


class Inner(Record):
    old: int = 1
    new: float | None = Later(None)


class Outer(Record):
    """All of it: later fields at two depths, in lists, a union, and one made by a factory."""

    inner: Inner = Field(default_factory=Inner)
    several: list[Inner] = Field(default_factory=list)
    clip: Annotated[Soft | Hard, Field(discriminator="kind")] = Later(default_factory=Soft)
    bounds: tuple[float, float] = Later((0.0, 1.0))


BEFORE = {"inner": {"old": 1}, "several": [{"old": 2}, {"old": 3}]}
CHANGES = {
    "inside": ({"inner": {"new": 0.5}}, {**BEFORE, "inner": {"old": 1, "new": 0.5}}),
    "in a list": ({"several": [{"old": 2}, {"old": 3, "new": 0.0}]},) * 2,
    "another kind": ({"clip": {"kind": "hard"}}, {**BEFORE, "clip": {"kind": "hard", "width": 0.5}}),
    "a field of the default kind": (
        {"clip": {"kind": "soft", "slope": 3.0}},
        {**BEFORE, "clip": {"kind": "soft", "width": 1.0, "slope": 3.0}},
    ),
    "a tuple": ({"bounds": [0.0, 2.0]}, {**BEFORE, "bounds": [0.0, 2.0]}),
}


def test_at_its_default_it_is_not_there():
    assert Outer.model_validate(BEFORE).model_dump(mode="json") == BEFORE
    spelt_out = {
        "inner": {"old": 1, "new": None},
        "several": BEFORE["several"],
        "clip": {"kind": "soft", "width": 1.0, "slope": 2.0},
        "bounds": [0.0, 1.0],
    }
    assert Outer.model_validate(spelt_out).model_dump(mode="json") == BEFORE
    assert json.loads(Outer.model_validate(spelt_out).model_dump_json()) == BEFORE
    assert Outer.model_validate(BEFORE).model_dump(include={"bounds", "inner"}) == {"inner": {"old": 1}}
    assert Outer.model_validate(BEFORE).model_dump(exclude={"inner"}) == {"several": BEFORE["several"]}


@pytest.mark.parametrize(("change", "want"), CHANGES.values(), ids=CHANGES)
def test_at_another_value_it_is_there_and_reads_back(change, want):
    record = Outer.model_validate({**BEFORE, **change})
    assert record.model_dump(mode="json") == {**BEFORE, **want}
    assert Outer.model_validate(record.model_dump(mode="json")) == record


OVERRIDES = {
    "a number": ({"inner.new": 0.5}, {**BEFORE, "inner": {"old": 1, "new": 0.5}}),
    "inside a record that was left out": (
        {"clip.slope": 3.0},
        {**BEFORE, "clip": {"kind": "soft", "width": 1.0, "slope": 3.0}},
    ),
    "its kind, whose fields stay": (
        {"clip.kind": "hard", "clip.width": 0.25},
        {**BEFORE, "clip": {"kind": "hard", "width": 0.25}},
    ),
    "back to its default": ({"clip.slope": 2.0, "inner.new": None}, BEFORE),
}


@pytest.mark.parametrize(("overrides", "want"), OVERRIDES.values(), ids=OVERRIDES)
def test_overrides_reach_what_was_left_out(overrides, want):
    data = with_overrides(Outer, BEFORE, overrides)
    assert validate(Outer, data, "outer").model_dump(mode="json") == want


HASHES = """
import json
from atod_sweep.config import search, study, train
from atod_sweep.config.base import Record, content_hash, validate, with_overrides

def everything(cls):
    return [cls, *(found for sub in cls.__subclasses__() for found in everything(sub))]

records = everything(Record)
assert len(records) > 50 and all("grown" in record.model_fields for record in records)
bases = json.load(open(sys.argv[1]))
configs = [validate(train.Train, base, "base").model_dump(mode="json") for base in bases]
other = validate(train.Train, with_overrides(train.Train, bases[0], {"teacher.recipe.grown": 8}), "base")
print(json.dumps({
    "hashes": [content_hash(config) for config in configs],
    "models": [train.model_key(config) for config in configs],
    "other": [content_hash(other.model_dump(mode="json")), train.model_key(other.model_dump(mode="json"))],
}))
"""


def test_every_record_may_grow_and_committed_configs_keep_their_hashes(tmp_path):
    ledgers = sorted(RESULTS.glob("*/ledger.jsonl"))
    assert len(ledgers) >= 6
    rows = [json.loads(ledger.read_text(encoding="utf-8").splitlines()[0]) for ledger in ledgers]
    bases = [validate(Train, row["definition"]["base"], "base").model_dump(mode="json") for row in rows]
    (tmp_path / "bases.json").write_text(json.dumps(bases))
    found = json.loads(grown(HASHES, str(tmp_path / "bases.json")))
    assert found["hashes"] == [content_hash(base) for base in bases]
    assert found["models"] == [model_key(base) for base in bases]
    assert found["other"][0] != found["hashes"][0]
    assert found["other"][1] != found["models"][0]
