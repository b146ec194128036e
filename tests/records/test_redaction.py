"""No credential of a URI survives, and nothing else changes."""

from __future__ import annotations

import pytest

from atod_sweep.records.redaction import redacted, shown

HIDDEN = {
    "http://alice:S3cretPw@127.0.0.1:5055": "http://alice:***@127.0.0.1:5055",
    "--tracking-uri=HTTPS://a:b@h/x": "--tracking-uri=HTTPS://a:***@h/x",
    "postgresql+psycopg://u:p@ss@h:5432/db?sslmode=require": "postgresql+psycopg://u:***@h:5432/db?sslmode=require",
    "mysql://u:p/w@h/db": "mysql://u:***@h/db",
    "http://u:12@h": "http://u:***@h",
    "http://u:a\"b'c@h": "http://u:***@h",
    "https://ghp_token@host/x": "https://***@host/x",
    "redis://:pw@h:1/0": "redis://***@h:1/0",
    "s3://AKIA:secret@bucket/p": "s3://AKIA:***@bucket/p",
    "abfss://c:pw@acct.dfs/x": "abfss://c:***@acct.dfs/x",
    "s3://b/p?X-Amz-Signature=ab%2F&X-Amz-Date=1": "s3://b/p?X-Amz-Signature=***&X-Amz-Date=1",
    "https://b/p?sv=1&sig=Zm9v%3D&se=2": "https://b/p?sv=1&sig=***&se=2",
    "http://h/?api_key=1&access_token=2&Password=3&pwd=4": "http://h/?api_key=***&access_token=***&Password=***&pwd=***",
    "http://h/x#access_token=2": "http://h/x#access_token=***",
    "mssql+pyodbc:///?odbc_connect=DRIVER%3D1%3BPWD%3Ds": "mssql+pyodbc:///?odbc_connect=***",
    f"https://oauth2:{'x' * 1800}@h/y": "https://oauth2:***@h/y",
    f"https://{'x' * 1800}@h/y": "https://***@h/y",
    "mongodb://u:p@h1,u2:p2@h2/d": "mongodb://u:***@h2/d",
    "http://u:p@[::1]:80/": "http://u:***@[::1]:80/",
    "sqlite+pysqlcipher://:pw@/f?pass=1": "sqlite+pysqlcipher://***@/f?pass=***",
    "https://h/?jwt=a&sessionid=b&passphrase=c&page=2": "https://h/?jwt=***&sessionid=***&passphrase=***&page=2",
    "'http://a:pw@h': no http://a:pw@h/api (try http://c@d)": "'http://a:***@h': no http://a:***@h/api (try http://***@d)",
    '["http://h:80","http://a:b@c"]': '["http://h:80","http://a:***@c"]',
    "http://alice:my pw@h:5000/x": "http://alice:***@h:5000/x",
    "--tracking-uri=http://u:p w\tx@h": "--tracking-uri=http://u:***@h",
    "'HTTP://u:p w@h/x': no answer": "'HTTP://u:***@h/x': no answer",
    "http://alice:p@ss w@h/x": "http://alice:***@h/x",
    "http://u:p@h http://u:q w@g": "http://u:***@h http://u:***@g",
    "http:/u:p@h": "http:/u:***@h",
    "http://user@example.com:pw@h": "http://***@h",
    "https://h/path;jsessionid=ABC?x=1": "https://h/path;jsessionid=***",
    "http://h/?user=a&pw=b&sas=sv%3D1": "http://h/?user=a&pw=***&sas=***",
    "alice:pw@host:5000": "alice:***@host:5000",
    "--storage=alice:p@w@host/x": "--storage=alice:***@host/x",
    "AWS_ACCESS_KEY_ID=AK AWS_SECRET_ACCESS_KEY=a/b+c x": "AWS_ACCESS_KEY_ID=*** AWS_SECRET_ACCESS_KEY=*** x",
    "{'MLFLOW_TRACKING_PASSWORD': 'abc', 'HOME': '/me'}": "{'MLFLOW_TRACKING_PASSWORD': '***', 'HOME': '/me'}",
    "host=h user=u password=abc dbname=d": "host=h user=u password=*** dbname=d",
    "aws_secret_access_key = abc": "aws_secret_access_key = ***",
    "Authorization: Bearer abc.def": "Authorization: Bearer ***",
    "{'authorization': 'Basic dTpw'}": "{'authorization': 'Basic ***'}",
    "x-api-key: abc": "x-api-key: ***",
}
KEPT = [
    "",
    "sqlite:////home/me/runs/mlflow.db",
    "http://127.0.0.1:5000",
    "http://host:5000/experiments/1?x=me@there.org",
    "http://host:5000/a@b",
    '["http://h:80","x@y"]',
    "abfss://container@account.dfs.core.windows.net/runs",
    "s3://bucket/runs?region=eu-west-1&endpoint_override=host:9000",
    "mail me@there.org about a:b@c, env.kwargs.token=3",
    "env.id=my_module:Class, PWD=/home/me, TOKENIZERS_PARALLELISM=false, the password: must be set, eos_token=</s>",
    "host:5000/a@b",
    "sqlite:////home/me@work/my runs/mlflow.db",
]


@pytest.mark.parametrize(("given", "shown"), HIDDEN.items())
def test_credentials_are_hidden(given, shown):
    assert redacted(given) == shown
    assert redacted(shown) == shown


@pytest.mark.parametrize("text", KEPT)
def test_what_holds_none_stays(text):
    assert redacted(text) == text


@pytest.mark.parametrize(
    "piece", ["a", "http://", "http://a:", "?key", "key", "&a", "http://x ", "a.", "A_", "http://a:x "]
)
def test_a_long_line_takes_time_in_proportion(piece):
    assert redacted(piece * 5_000) == piece * 5_000


def test_a_terminal_is_not_steered():
    text = "\x1b]0;title\x07\x1b[2Jgone \u202etxt.exe\r\x9b1m\tя 🙂\n"
    assert shown(text) == r"\x1b]0;title\x07\x1b[2Jgone \u202etxt.exe\r\x9b1m" + "\tя 🙂\n"
