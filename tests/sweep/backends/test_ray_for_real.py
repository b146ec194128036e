"""One short study on a Ray that is really started: a worker dies in it, and a stranger knocks meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest
import ray
from fake_training import FAKE

from atod_sweep.records import ledger
from atod_sweep.sweep.record.progress import Quiet
from atod_sweep.sweep.studies.run_study import run_study

STRANGER = """
import sys, ray
try:
    ray.init(address=sys.argv[1], log_to_driver=False, configure_logging=False)
except BaseException as refused:
    print("refused:", type(refused).__name__)
else:
    print("let in")
"""


class Visited(Quiet):
    """As soon as a trial runs: who listens where, and what a stranger without the token hears."""

    heard = ""

    def trial(self, row):
        if self.heard:
            return
        mine = {process.pid for process in psutil.Process().children(recursive=True)} | {os.getpid()}
        ports = [one for one in psutil.net_connections("tcp") if one.status == psutil.CONN_LISTEN and one.pid in mine]
        self.hosts = {one.laddr.ip.removeprefix("::ffff:") for one in ports}
        head = ray.get_runtime_context().gcs_address
        self.head_is_seen = int(head.rpartition(":")[2]) in {one.laddr.port for one in ports}
        stranger = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "HOME"))}
        # the stranger is on this machine, and knocks twice and not for 20 s
        stranger |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_NUM_REDIS_GET_RETRIES": "2", "HOME": "/nonexistent"}
        done = subprocess.run([sys.executable, "-c", STRANGER, head], env=stranger, capture_output=True, text=True)
        self.heard, self.said = done.stdout, done.stderr


def test_a_killed_worker_is_replaced_and_a_stranger_is_refused(write_study, tmp_path, no_mlflow, capfd):
    if "RAY_AUTH_MODE" in os.environ:
        pytest.skip("RAY_AUTH_MODE is set, and what a user sets holds")
    arms = {"fine": {}, "die": {"env.kwargs": {"fault": "die"}}}
    show, before = Visited(), dict(os.environ)
    outcome = run_study(write_study(arms=arms, seeds=1), out=tmp_path, trainer=FAKE, concurrency=2, show=show)
    assert (outcome.complete, outcome.failed) == (2, 0)
    rows = [row for row in ledger.read(outcome.run_dir) if row.get("trial") == "die-s0"]
    assert [(row["attempt"], row["state"]) for row in rows] == [
        (1, "RUNNING"),
        (1, "FAILED"),
        (2, "RUNNING"),
        (2, "COMPLETE"),
    ]
    assert rows[1]["error"]["status"] == "worker_died"
    assert show.heard == "refused: ConnectionError\n"
    assert "InvalidAuthToken" in show.said
    assert show.head_is_seen
    assert show.hosts == {"127.0.0.1"}
    assert not (outcome.run_dir / "ray").exists()
    assert "RAY_AUTH_TOKEN" not in os.environ
    assert os.environ.get("RAY_AUTH_MODE") == before.get("RAY_AUTH_MODE")
    assert capfd.readouterr().err == ""
