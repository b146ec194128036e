"""What an export was made of, as others read it; a key behind it; the hub."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from run_files import write_run

from atod_sweep import api
from atod_sweep.errors import UserError
from atod_sweep.export import attestation, manifest, signing
from atod_sweep.export.schedule import bundle
from atod_sweep.export.schedule.verify import verify

ARMS = {"cosine": ({"objective.distill_weight.kind": "cosine"}, {0: 0.6, 1: 0.7})}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", ARMS, pairs={})


@pytest.fixture
def written(run: Path, tmp_path: Path) -> Path:
    return bundle.write(run, tmp_path / "bundle")


def said(folder: Path) -> dict:
    return json.loads((folder / attestation.FILE_NAME).read_text(encoding="utf-8"))


def test_it_names_every_file_and_what_they_were_made_of(run: Path, written: Path) -> None:
    found = said(written)
    digests = {subject["name"]: subject["digest"]["sha256"] for subject in found["subject"]}
    own = {attestation.FILE_NAME, manifest.FILE_NAME}
    assert digests == {p.name: manifest.sha256(p) for p in written.iterdir() if p.name not in own}
    definition = found["predicate"]["buildDefinition"]
    assert definition["externalParameters"]["seeds"] == [0, 1]
    assert definition["externalParameters"]["config"]["objective"]["distill_weight"]["kind"] == "cosine"
    made_of = {one["name"]: one for one in definition["resolvedDependencies"]}
    ledger = (run / "ledger.jsonl").read_bytes()
    assert made_of["ledger"]["digest"]["sha256"] == hashlib.sha256(ledger).hexdigest()
    head = hashlib.sha256(ledger.split(b"\n")[-2]).hexdigest()
    assert made_of["ledger"]["annotations"] == {"rows": 3, "head": head}
    assert made_of["code"]["digest"] == {"gitCommit": "319a3db"}


def test_others_read_it(written: Path) -> None:
    library = pytest.importorskip("in_toto_attestation.v1.statement")
    found = said(written)
    statement = library.Statement.copy_from_pb(_as_pb(found))
    statement.validate()


def _as_pb(found: dict) -> object:
    from google.protobuf.json_format import ParseDict
    from in_toto_attestation.v1 import statement_pb2

    return ParseDict(found, statement_pb2.Statement())


@pytest.mark.parametrize("name", [attestation.FILE_NAME, "provenance.json", "README.md"])
def test_any_change_is_noticed_even_with_a_manifest_to_match(name: str, written: Path) -> None:
    path = written / name
    path.write_bytes(path.read_bytes().replace(b"cosine", b"linear"))
    manifest.write(written, [p.name for p in written.iterdir() if p.name != manifest.FILE_NAME])
    with pytest.raises(UserError):
        verify(written)


def test_what_is_uploaded_is_told_before(written: Path) -> None:
    first, *files = api.publish(written, push="me/schedule", dry_run=True)
    assert first == "would push       8 files to me/schedule:"
    assert any(line.startswith("provenance.json") for line in files)
    with pytest.raises(UserError, match="name a repository of the hub as ORG/NAME"):
        api.publish(written, push="schedule")
    with pytest.raises(UserError, match=r"--push me/schedule: .*; the export itself is whole"):
        api.publish(written, push="me/schedule")  # offline


# ---- signatures ----------------------------------------------------------------------------------------------------


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    """A private key and its public half."""
    pytest.importorskip("model_signing.signing")
    return pair(tmp_path, "mine")


def pair(folder: Path, name: str) -> tuple[Path, Path]:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    form = serialization.PrivateFormat.PKCS8
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    public.write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, spki))
    return private, public


def test_a_signature_holds_for_these_files_and_this_key_alone(
    written: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    private, public = keys
    api.publish(written, sign=private)
    monkeypatch.chdir(written.parent)
    assert api.verify(written.name, key=public)[-1] == f"signed by the holder of {public}"
    assert api.verify(written, key=public)[-1] == f"signed by the holder of {public}"
    assert "nobody has checked" in api.verify(written)[-1]
    _, other = pair(public.parent, "other")
    with pytest.raises(UserError, match="is not a signature of these files by"):
        api.verify(written, key=other)
    for path in sorted(written.iterdir()):
        before = path.read_bytes()
        path.write_bytes(before[:-2] + bytes([before[-2] ^ 1]) + before[-1:])
        with pytest.raises(UserError, match="is not a signature of these files"):
            api.verify(written, key=public)
        path.write_bytes(before)
    (written / ".git").mkdir()
    (written / ".git" / "more").write_text("x")
    with pytest.raises(UserError):
        api.verify(written, key=public)


def test_what_is_no_key_is_named(written: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the export is not signed"):
        api.verify(written, key=keys[1])
    with pytest.raises(UserError, match="no such file; name a key in PEM form"):
        api.publish(written, sign=tmp_path / "none.pem")
    (tmp_path / "text.pem").write_text("a key")
    with pytest.raises(UserError, match="is no private key that signs"):
        api.publish(written, sign=tmp_path / "text.pem")


def test_without_the_library_the_extra_is_named(written: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "model_signing.signing", None)
    with pytest.raises(UserError, match=r'pip install "atod-sweep\[sign\]"'):
        signing.sign(written, tmp_path / "key.pem")


def test_a_new_export_leaves_no_old_signature(run: Path, written: Path) -> None:
    (written / manifest.SIGNATURE).write_text("{}")
    bundle.write(run, written)
    assert not (written / manifest.SIGNATURE).exists()
