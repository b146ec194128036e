"""Credentials that people put into URIs, taken out of everything that is written down or printed."""

from __future__ import annotations

import re

HIDDEN = "***"

# `user:password@` (the user stays: it says which account), or `token@`. A password may hold @ and / although it should
# not; digits in its place are a port, and what follows them is a path. (Lengths are bounded: time is to stay linear.)
_LOGIN = re.compile(
    r"\b(?P<scheme>[a-z][a-z0-9+.-]{0,30})://"
    r"(?:(?P<user>[^\s:/@?#]{0,200}):(?!\d{0,5}(?:[/?#,'\"\s]|$))\S{0,2048}|[^\s/?#'\"]{0,2048})@",
    re.IGNORECASE,
)
_CONTAINERS = ("abfs", "abfss", "wasb", "wasbs")  # Azure: what stands before the @ alone is a folder

# Parameters whose names say that their values are secret: of a query, a fragment, or an ODBC string.
_PARAMETER = re.compile(
    r"(?P<name>[?&;#][\w.%-]{0,60}"
    r"(?:token|pass|pwd|secret|key|sig|credential|auth|jwt|bearer|session|cookie|odbc_connect)"
    r"[\w.%-]{0,60}=)[^&;#\s'\"]+",
    re.IGNORECASE,
)

# Names of settings whose values are secret by themselves; a count of tokens is none.
_SECRET = re.compile(
    r"(?:.*[._-])?(?:token|password|passwd|pwd|secret|credentials?|api_?key|access_?key)", re.IGNORECASE
)


def is_secret(name: str) -> bool:
    """Whether the text under a key of this name (`env.kwargs.api_key`) is a secret."""
    return _SECRET.fullmatch(name) is not None


def redacted(text: str) -> str:
    """`text` with `***` in place of the credentials in its URIs; text without any comes back as it is."""
    return _PARAMETER.sub(rf"\g<name>{HIDDEN}", _LOGIN.sub(_without_login, text))


def _without_login(found: re.Match[str]) -> str:
    if found["user"]:
        return f"{found['scheme']}://{found['user']}:{HIDDEN}@"
    if found["user"] is None and found["scheme"].lower() in _CONTAINERS:
        return found[0]
    return f"{found['scheme']}://{HIDDEN}@"
