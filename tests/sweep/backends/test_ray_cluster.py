"""Our own Ray lets nobody in; on the user's, the user's settings hold; what is wrong is said with the remedy."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest
import ray
from ray._private import ray_constants

from atod_sweep.errors import UserError
from atod_sweep.sweep.backends import ray_cluster
from atod_sweep.sweep.backends.ray import check

NAMES = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_TMPDIR", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER")


@pytest.fixture
def seen(monkeypatch, tmp_path):
    """What Ray's start sees: its keywords, the environment, and whether it is on the loopback. No Ray is started."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    seen = {}

    def init(**words):
        seen.update(words, **{name: os.environ.get(name) for name in NAMES})
        seen["loopback"] = not ray_constants.ENABLE_RAY_CLUSTER
        seen["mode"] = stat.S_IMODE(Path(seen["RAY_TMPDIR"]).stat().st_mode) if seen["RAY_TMPDIR"] else None
        if words["address"] == "local":
            os.environ["RAY_AUTH_MODE"] = "token"  # as Ray does on its own
        seen.setdefault("tries", []).append((seen["RAY_AUTH_MODE"], ray_constants.NUM_REDIS_GET_RETRIES))
        if seen.get("asks") and seen["RAY_AUTH_MODE"] != "token":
            os.write(2, TOKEN)
            raise ConnectionError("Failed")
        if error := seen.get("error"):
            os.write(2, seen.get("said", b""))
            raise error

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    return seen


def test_a_cluster_of_our_own_has_a_token_a_folder_and_the_loopback_of_its_own(seen):
    tokens = []
    for _ in range(2):
        with ray_cluster.own():
            tokens.append(seen["RAY_AUTH_TOKEN"])
            assert (seen["address"], seen["RAY_AUTH_MODE"], seen["loopback"]) == ("local", None, True)
            assert (seen["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"], seen["mode"]) == ("0", 0o700)
            assert os.listdir(seen["RAY_TMPDIR"]) == []
        assert not os.path.exists(seen["RAY_TMPDIR"])
        assert [name for name in NAMES if name in os.environ] == []
        assert ray_constants.ENABLE_RAY_CLUSTER
    assert len(set(tokens)) == 2
    assert all(len(token) == 64 for token in tokens)


@pytest.mark.parametrize("cluster", [ray_cluster.own, lambda: ray_cluster.joined("10.0.0.1:6379")])
def test_a_sweep_of_the_users_own_finds_tune_as_it_was(seen, monkeypatch, cluster):
    for name in ray_cluster.TUNE_ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TUNE_RESULT_BUFFER_LENGTH", "7")  # the user's stays, inside too
    before = dict(os.environ)
    with cluster():
        inside = {name: os.environ[name] for name in ray_cluster.TUNE_ENVIRONMENT}
    assert inside == ray_cluster.TUNE_ENVIRONMENT | {"TUNE_RESULT_BUFFER_LENGTH": "7"}
    assert {name: os.environ.get(name) for name in before | inside} == {
        name: before.get(name) for name in before | inside
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [("RAY_AUTH_TOKEN", "a" * 64), ("RAY_AUTH_TOKEN_PATH", "/etc/token"), ("RAY_AUTH_MODE", "disabled")],
)
def test_what_the_user_has_set_about_tokens_stays(seen, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with ray_cluster.own():
        assert seen[name] == value
        assert [other for other in NAMES[:3] if seen[other]] == [name]
        assert seen["loopback"]
    assert os.environ[name] == value


@pytest.mark.parametrize(
    ("given", "file", "asks", "mode"),
    [
        ({}, False, False, None),  # no token anywhere: Ray's own default
        ({}, True, True, "token"),
        ({}, True, False, None),  # its nodes could not call back one who asks for a token
        ({"RAY_AUTH_TOKEN": "a" * 64}, False, True, "token"),
        ({"RAY_AUTH_TOKEN": "a" * 64}, False, False, None),
        ({"RAY_AUTH_TOKEN_PATH": "/etc/token"}, False, True, "token"),
        ({"RAY_AUTH_MODE": "disabled"}, True, False, "disabled"),
        ({"RAY_AUTH_MODE": "token"}, False, True, "token"),
    ],
)
def test_a_token_is_sent_to_a_cluster_of_the_users_that_asks(seen, monkeypatch, tmp_path, given, file, asks, mode):
    seen["asks"] = asks
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    if file:
        (tmp_path / ".ray").mkdir()
        (tmp_path / ".ray" / "auth_token").write_text("b" * 64)
    with ray_cluster.joined("10.0.0.1:6379"):
        assert (seen["address"], seen["RAY_AUTH_MODE"], seen["loopback"]) == ("10.0.0.1:6379", mode, False)
        assert (seen["RAY_TMPDIR"], seen["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"]) == (None, None)
    assert {name: os.environ.get(name) for name in NAMES} == {**dict.fromkeys(NAMES), **given}
    probes = [(None, 2)] if (file or given) and "RAY_AUTH_MODE" not in given else []
    assert seen["tries"] == [*probes, (mode, 20)]


TOKEN = b"gcs_client.cc:210: Unauthenticated: RPC error: InvalidAuthToken: Authentication token is missing or incorrect"


@pytest.mark.parametrize(
    ("error", "said", "mode", "message"),
    [
        (ConnectionError("Failed to connect"), b"", None, "--address 'h:1': no Ray cluster answers there: Failed to"),
        (SystemExit(15), b"Timed out", None, "--address 'h:1': no Ray cluster answers there: it took too long"),
        (
            ConnectionError("Failed"),
            TOKEN,
            None,
            "asks for its token, and ours is missing or another: set RAY_AUTH_TOKEN",
        ),
        (
            ConnectionError("Failed"),
            TOKEN,
            "disabled",
            "RAY_AUTH_MODE=disabled is set, which sends none: unset it, and set",
        ),
    ],
)
def test_a_cluster_that_does_not_take_us_is_one_line(seen, monkeypatch, capfd, error, said, mode, message):
    seen |= {"error": error, "said": said}
    if mode:
        monkeypatch.setenv("RAY_AUTH_MODE", mode)
    with pytest.raises(UserError) as refused, ray_cluster.joined("h:1"):
        pass
    assert message in str(refused.value)
    assert capfd.readouterr().err == ""
    os.write(2, b"heard again")
    assert capfd.readouterr().err == "heard again"


def test_a_ray_of_our_own_that_does_not_start_leaves_nothing(seen):
    seen["error"] = RuntimeError("no\n  room")
    with pytest.raises(UserError, match="not start: no room; try again, or use --backend"), ray_cluster.own():
        pass
    assert not os.path.exists(seen["RAY_TMPDIR"])
    assert [name for name in NAMES if name in os.environ] == []


# ---- paths of sockets -----------------------------------------------------------------------------------------------


def test_a_long_folder_for_temporary_files_is_passed_over(tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    long = tmp_path / ("x" * 107)
    long.mkdir()
    for folder, taken in ((long, "/tmp"), (Path("/dev/shm"), "/dev/shm")):
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        assert ray_cluster._place() == taken
    monkeypatch.setenv("RAY_TMPDIR", "/var")
    assert ray_cluster._place() == "/var"
    monkeypatch.setenv("RAY_TMPDIR", str(long))
    monkeypatch.setattr(os, "access", lambda folder, mode: folder != "/tmp")
    with pytest.raises(UserError, match=rf"{long}: too long a path .* \({len(str(long))} characters.*RAY_TMPDIR"):
        ray_cluster._place()


# ---- options that do not go together --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("local", None, None, "sqlite:///optuna.db"),
            "--storage 'sqlite:///optuna.db': brings back files .* --address",
        ),
        (("ray", None, None, "s3://me:geheim@b"), r"--storage 's3://me:\*\*\*@b'"),
        (
            ("local", None, "auto", None),
            "--address 'auto': is a Ray cluster's, and --backend local uses none; drop one",
        ),
        (("ray", 0, None, None), "--concurrency 0"),
        (("slurm", None, None, None), "--backend 'slurm'"),
    ],
)
def test_options_that_would_be_taken_no_notice_of_are_refused(words, message):
    check("ray", 2, "auto", "s3://b")
    with pytest.raises(UserError, match=message):
        check(*words)
