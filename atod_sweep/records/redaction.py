"""What is kept from readers: credentials that people put into URIs, and characters that would steer a terminal."""

from __future__ import annotations

import re

HIDDEN = "***"

# `user:password@` (the user stays: it says which account), or `token@`. A password may hold @, / and blanks although it
# should not; digits in its place are a port, and what follows them is a path. (Lengths are bounded: time is to stay
# linear.)
_LOGIN = re.compile(
    r"\b(?P<scheme>[a-z][a-z0-9+.-]{0,30}):(?P<slashes>//?)(?=[^@\n]{0,2248}@)"
    r"(?:(?P<user>[^\s:/@?#]{0,200}):(?!\d{0,5}(?:[/?#,'\"\s]|$))(?:\S{0,2048}(?:@[^@\n:/'\"]{0,200})?|[^@\n]{0,200})|[^\s/?#'\"]{0,2048})@",
    re.IGNORECASE,
)
_CONTAINERS = ("abfs", "abfss", "wasb", "wasbs")  # Azure: what stands before the @ alone is a folder

# Parameters whose names say that their values are secret: of a query, a fragment, or an ODBC string.
_PARAMETER = re.compile(
    r"(?P<name>[?&;#][\w.%-]{0,60}"
    r"(?:token|pass|pwd|pw(?==)|secret|key|sig|sas(?==)|credential|auth|jwt|bearer|session|cookie|odbc_connect)"
    r"[\w.%-]{0,60}=)[^&;#\s'\"]+",
    re.IGNORECASE,
)

# The same without a scheme, as somebody may write it who has forgotten `http://`: only if it is all that there is.
_BARE = re.compile(
    r"\A(?P<name>(?:--[\w-]{1,40}=)?[\w.%+-]{1,200}:)(?!/|\d{1,5}(?:/|$))\S{1,2048}(?=@[\w.-]+(?:[:/]|$))"
)

# Variables of the environment, connection strings, headers, as libraries quote them.
_QUOTED = re.compile(
    r"(?P<name>\b(?:(?:[A-Z0-9]{1,40}_){0,8}(?:TOKEN|PASSWORD|PASSWD|SECRET|(?:API|ACCESS|SECRET|ACCOUNT)_?KEY)(?:_ID)?"
    r"['\"]?(?:=|: ?)['\"]?|(?<!\.)(?:password|passwd|pwd|aws_secret_access_key|aws_session_token) ?= ?['\"]?"
    r"|(?i:(?:authorization|x-api-key)['\"]?(?:=|: ?)['\"]?(?:(?:bearer|basic|token) )?)))[^\s'\",;&]+"
)

# Names of settings whose values are secret by themselves; a count of tokens is none.
_SECRET = re.compile(
    r"(?:.*[._-])?(?:token|password|passwd|pwd|secret|credentials?|api_?key|access_?key)", re.IGNORECASE
)


# Controls but for tab and new line, and what turns the direction of text around: studies, runs and environments come
# from others, and a terminal would obey.
_STEERING = (*range(9), *range(11, 32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_SHOWN = {code: ascii(chr(code))[1:-1] for code in _STEERING}


def shown(text: str) -> str:
    """`text` for a terminal: characters that would steer it as their escapes."""
    return text.translate(_SHOWN)


def is_secret(name: str) -> bool:
    """Whether the text under a key of this name (`env.kwargs.api_key`) is a secret."""
    return _SECRET.fullmatch(name) is not None


def redacted(text: str) -> str:
    """`text` with `***` in place of the credentials in its URIs; text without any comes back as it is."""
    text = _LOGIN.sub(_without_login, text)
    for pattern in (_PARAMETER, _BARE, _QUOTED):
        text = pattern.sub(rf"\g<name>{HIDDEN}", text)
    return text


def _without_login(found: re.Match[str]) -> str:
    start = f"{found['scheme']}:{found['slashes']}"
    if found["user"]:
        return f"{start}{found['user']}:{HIDDEN}@"
    if found["user"] is None and found["scheme"].lower() in _CONTAINERS:
        return found[0]
    return f"{start}{HIDDEN}@"
