"""A key behind an export: OpenSSF model signing over every file, with an elliptic-curve key of the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from atod_sweep.errors import UserError
from atod_sweep.export.manifest import SIGNATURE

INSTALL = 'pip install "atod-sweep[sign]"'


def sign(folder: Path, key: Path) -> Path:
    """Write the signature of all files of `folder` beside them. UserError without the library, or a usable key."""
    signing, hashing = _library("signing"), _library("hashing")
    _there(key, "--sign")
    path = folder / SIGNATURE
    path.unlink(missing_ok=True)
    try:
        config = signing.Config().use_elliptic_key_signer(private_key=key)
        config.set_hashing_config(_everything(hashing, path)).sign(folder.resolve(), path.resolve())
    except (ValueError, TypeError) as error:
        raise UserError(
            f"--sign {key}: is no private key that signs ({_said(error)}); make one with "
            "openssl ecparam -name prime256v1 -genkey -noout -out key.pem"
        ) from None
    return path


def verify(folder: Path, key: Path) -> str:
    """That the holder of `key`'s private half signed exactly these files; UserError for any other."""
    verifying, hashing = _library("verifying"), _library("hashing")
    _there(key, "--key")
    path = folder / SIGNATURE
    if not path.is_file():
        raise UserError(f"{path}: is not there: the export is not signed; export it again with --sign")
    try:
        config = verifying.Config().use_elliptic_key_verifier(public_key=key)
        config.set_hashing_config(_everything(hashing, path)).verify(folder.resolve(), path.resolve())
    except Exception as error:  # libraries below it raise what they like at what is no signature
        raise UserError(f"{path}: is not a signature of these files by {key} ({_said(error)})") from None
    return f"signed by the holder of {key}"


def _library(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(f"model_signing.{name}")
    except ImportError:
        raise UserError(f"signatures need model-signing, which is not installed; {INSTALL}") from None


def _everything(hashing: Any, signature: Path) -> Any:
    return hashing.Config().set_ignored_paths(paths=[signature.resolve()], ignore_git_paths=False)


def _there(key: Path, option: str) -> None:
    if not key.is_file():
        raise UserError(f"{option} {key}: no such file; name a key in PEM form")


def _said(error: BaseException) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
