"""What is taken out of records that are published, and what is left as it is."""

from __future__ import annotations

import getpass
import platform
from pathlib import Path

import pytest
from ledger_files import failed_row, models_row, study_row, trial_row

from atod_sweep.records.anonymous import anonymous, anonymous_row, anonymous_text, anonymous_yaml
from atod_sweep.records.outcomes import pack

ME = getpass.getuser()
TEXTS = {
    "/home/ada/games/a.json": "a.json",
    "/home/ada": "~",
    "cannot open '/home/ada/games/a.json' (again)": "cannot open 'a.json' (again)",
    'File "/opt/py thon/lib/x.py", line 5': 'File "py thon/lib/x.py", line 5',
    "config.yaml:/srv/data/set: bad": "config.yaml:set: bad",
    "PYTHONPATH=/srv/a/b:/srv/c/d": "PYTHONPATH=b:d",
    "~/studies/x.yaml": "x.yaml",
    "~ada/models/q": "models/q",
    f"{Path.home()}/x": "x",
    f"s3://bucket/{ME}/x": "s3://bucket/USER/x",
    "sqlite:////srv/runs/mlflow.db": "sqlite:/mlflow.db",
    "file:///srv/runs/x": "file:/x",
    "https://ada:pass@host/a/b": "https://ada:***@host/a/b",
    "postgresql://host/db?password=abc": "postgresql://host/db?password=***",
}
KEPT = (
    "Is it and/or, or 1/2 of eval/success?",
    "https://example.org/papers/1",
    "studies/annealing.yaml",
    "presets/support_desk_compact",
    "</s>",
    "a // b",
    "my_env:MyEnv",
    "",
)


@pytest.mark.parametrize(("text", "left"), TEXTS.items())
def test_places_and_secrets_leave_texts(text, left):
    assert anonymous_text(text) == left


@pytest.mark.parametrize("text", KEPT)
def test_other_texts_stay(text):
    assert anonymous(text) == anonymous_text(text) == text


def test_data_lose_paths_and_what_is_secret_by_its_name():
    data = {
        "env": {"kwargs": {"api_key": "abc", "data": "/mnt/my games/set 1", "max_tokens": 8, "token_level": "no"}},
        "student": {"path": "../models/qwen"},
        "stop": ["</s>"],
    }
    assert anonymous(data) == {
        "env": {"kwargs": {"api_key": "***", "data": "set 1", "max_tokens": 8, "token_level": "no"}},
        "student": {"path": "qwen"},
        "stop": ["</s>"],
    }


def test_a_study_file_keeps_its_comments_and_its_order():
    text = "# why: and/or\nbase:\n  env.kwargs: {data: /mnt/x/y}\n  # /home/ada/notes/z\n  max_tokens: 8\n"
    assert anonymous_yaml(text) == "# why: and/or\nbase:\n  env.kwargs: {data: y}\n  # z\n  max_tokens: 8\n"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("a:\n  password: abc\n  b: 1\n", "a:\n  password: '***'\n  b: 1\n"),
        ("env.kwargs.api_key: 'a b, c'  # mine\n", "env.kwargs.api_key: '***'  # mine\n"),
        ("env.kwargs: {horizon: 3, token: abc, b: 1}\n", "env.kwargs: {horizon: 3, token: '***', b: 1}\n"),
        ('- {"secret": "abc"}\n', "- {\"secret\": '***'}\n"),
        ("max_action_tokens: 3\nkind: token_level\n", "max_action_tokens: 3\nkind: token_level\n"),
    ],
)
def test_a_study_file_loses_its_secrets(text, left):
    assert anonymous_yaml(text) == left


def test_rows_lose_the_machine_and_keep_their_numbers():
    argv = ["/opt/bin/atod-sweep", "run", "/home/ada/s.yaml", "--out", "/mnt/x", "--storage=s3://b/c", "a.b=/x/y", "-v"]
    row = anonymous_row(study_row(argv=argv, started_with={"tracking_uri": "http://10.0.0.1"}))
    assert row["argv"] == ["atod-sweep", "run", "s.yaml", "a.b=y", "-v"]
    assert "started_with" not in row
    assert anonymous_row(models_row())["models"]["teacher"]["path"] == "aaaa"
    message = f"{ME} on {platform.node()} may not read /home/ada/x"
    error = {"status": "exception", "type": "OSError", "message": message, "traceback": 'File "/a/b.py"'}
    failed = anonymous_row(failed_row(error=error))
    assert failed["error"] == {**error, "message": "USER on HOST may not read x", "traceback": 'File "b.py"'}
    assert "worker" not in failed
    outcomes = pack([float(i % 7 in (0, 2, 3)) for i in range(4000)])
    outcomes["index"] += "+/ab/cd/ef+"  # base 64 may look like a path
    done = trial_row(state="COMPLETE", metrics={"final/outcomes": outcomes})
    assert anonymous_row(done)["metrics"] == done["metrics"]
