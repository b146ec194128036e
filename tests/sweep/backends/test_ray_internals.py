"""The names that Ray keeps to itself: the installed version has them all, and one without them stops no run."""

from __future__ import annotations

import os

import pytest
from ray import _raylet
from ray._private import ray_constants, services, worker
from ray.job_config import JobConfig
from ray.tune.experiment import Trial

from atod_sweep.sweep.backends import ray_internals


def test_the_installed_ray_has_every_name():
    assert callable(worker.print_to_stdstream)
    assert ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR == ray_internals.LOOPBACK
    assert ray_constants.ENABLE_RAY_CLUSTER is True
    assert ray_constants.NUM_REDIS_GET_RETRIES == 20
    assert callable(_raylet.Config.initialize)
    assert callable(_raylet.AuthenticationTokenLoader.instance().reset_cache)
    assert isinstance(JobConfig()._py_driver_sys_path, list)
    trial = Trial("x", stub=True)
    assert vars(trial).keys() >= {"config", "evaluated_params", "_Trial__unresolved_config"}
    assert trial._default_result_or_future is None


def test_inside_ray_is_on_the_loopback_and_says_nothing(capsys):
    assert services.get_node_ip_address() != "127.0.0.1"
    with ray_internals.on_loopback(), ray_internals.silent_worker_logs():
        assert services.get_node_ip_address() == "127.0.0.1"
        worker.print_to_stdstream({"lines": ["noise"], "is_err": False}, ignore_prefix=True)
    assert services.get_node_ip_address() != "127.0.0.1"
    assert worker.print_to_stdstream.__module__ == worker.__name__
    assert capsys.readouterr().out == ""


def test_a_ray_without_these_names_stops_no_run(monkeypatch):
    monkeypatch.delattr(worker, "print_to_stdstream")
    monkeypatch.delattr(ray_constants, "ENABLE_RAY_CLUSTER")
    monkeypatch.delattr(ray_constants, "NUM_REDIS_GET_RETRIES")
    monkeypatch.delattr(_raylet, "AuthenticationTokenLoader")
    monkeypatch.setattr("ray.job_config.JobConfig", type("JobConfig", (), {}))
    with ray_internals.on_loopback(), ray_internals.silent_worker_logs(), ray_internals.little_patience():
        ray_internals.read_authentication_anew()
    assert vars(ray_internals.job_config()) == {}
    bare = type("Trial", (), {})()
    ray_internals.let_go(bare)
    assert vars(bare) == {}
    assert not hasattr(worker, "print_to_stdstream")
    assert not hasattr(ray_constants, "ENABLE_RAY_CLUSTER")


def test_an_error_inside_leaves_ray_as_it_was():
    with pytest.raises(KeyError), ray_internals.on_loopback(), ray_internals.silent_worker_logs():
        raise KeyError
    assert ray_constants.ENABLE_RAY_CLUSTER is True
    assert worker.print_to_stdstream.__module__ == worker.__name__


def test_the_current_folder_is_not_put_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = ray_internals.job_config()._py_driver_sys_path
    folders.extend(["/usr/bin", os.path.abspath(os.path.curdir)])
    assert list(folders) == ["/usr/bin"]
