"""Paths as people write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from atod_sweep.config.files import load_train
from atod_sweep.errors import UserError
from atod_sweep.paths import expanded, local_model, located


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DATA", str(tmp_path / "data"))
    monkeypatch.delenv("NOWHERE", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("~", "."),
        ("~/x", "x"),
        ("$DATA/x", "data/x"),
        ("${DATA}x", "datax"),
        ("x/~", None),
        ("x", None),
        (".", None),
        ("a$", None),
        ("50$-off", None),
    ],
)
def test_what_is_meant(written: str, meant: str | None, tmp_path: Path) -> None:
    assert expanded(written) == (Path(written) if meant is None else tmp_path / meant)
    assert expanded(Path(written)) == expanded(written)


@pytest.mark.parametrize("written", ["$NOWHERE/x", "~/${NOWHERE}", "~nobody-of-that-name/x"])
def test_what_cannot_be_filled_in(written: str) -> None:
    with pytest.raises(UserError, match=r"is not set; set it, or|no such user; write"):
        expanded(written)


def test_a_file_that_is_really_called_so_is_meant(tmp_path: Path) -> None:
    (tmp_path / "$NOWHERE").write_text("")
    assert expanded("$NOWHERE") == Path("$NOWHERE")


def test_models_are_folders_or_hub_ids(tmp_path: Path) -> None:
    assert [local_model(name) for name in ("gpt2", "owner/name")] == [None, None]
    assert [local_model(name) for name in ("./m", "~/m", "$DATA/m", "/m", "a/b/c")] == [
        *(Path("m"), tmp_path / "m", tmp_path / "data" / "m", Path("/m"), Path("a/b/c"))
    ]


def test_uris_are_left_alone(tmp_path: Path) -> None:
    assert located("s3://a/~/$NOWHERE") == "s3://a/~/$NOWHERE"
    assert located("~/x") == str(tmp_path / "x")


def test_a_base_is_found_by_them(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("steps: 7\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "own.yaml").write_text("base: ~/base.yaml\n")
    assert load_train("$DATA/own.yaml").steps == load_train({"base": "~/base.yaml"}).steps == 7
    with pytest.raises(UserError, match="NOWHERE is not set"):
        load_train({"base": "$NOWHERE/base.yaml"})
