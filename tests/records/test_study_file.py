"""The file that a run was started from: whether what lies in its folder still is that."""

from __future__ import annotations

import pytest
from ledger_files import study_row

from atod_sweep.errors import UserError
from atod_sweep.records.study_file import fingerprint, read

TEXT = b"# why\nname: small\r\n"


def _rows(*known):
    return [study_row(), *(study_row(file_sha256=fingerprint(text)) for text in known)]


def _file(tmp_path, data, name="study.yaml"):
    run = tmp_path / "runs" / "small"
    run.mkdir(parents=True)
    (run / name).write_bytes(data)
    return run / name


@pytest.mark.parametrize("rows", [_rows(TEXT), _rows(TEXT, b"a later one"), _rows(b"an earlier one", TEXT), _rows()])
def test_the_file_of_any_definition_is_read_as_it_stands(tmp_path, rows):
    assert read(_file(tmp_path, TEXT), rows) == TEXT.decode()


@pytest.mark.parametrize(
    ("data", "rows", "said"),
    [
        (TEXT.replace(b"why", b"wHy"), _rows(TEXT), "is not the file that the run was started from"),
        (TEXT.replace(b"\r", b""), _rows(TEXT), "is not the file that the run was started from"),
        (b"", _rows(TEXT), "is not the file that the run was started from"),
        (b"\xff", _rows(TEXT), "is not the file that the run was started from"),
        (b"\xff", _rows(), "is not UTF-8 text"),
    ],
)
def test_another_one_is_refused_in_a_line_with_the_remedy(tmp_path, data, rows, said):
    path = _file(tmp_path, data)
    with pytest.raises(UserError, match=f"study.yaml: {said}") as refusal:
        read(path, rows)
    assert f"atod-sweep run YOUR.yaml --resume --out {tmp_path / 'runs'} --name small" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_file_that_is_gone_is_asked_for(tmp_path):
    path = _file(tmp_path, TEXT, "search.yaml")
    path.unlink()
    with pytest.raises(UserError, match=r"search.yaml: is gone; .*: atod-sweep search YOUR.yaml --resume"):
        read(path, _rows(TEXT))
