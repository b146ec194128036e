"""A cluster that may grow is waited for, and looked at again while trials run."""

from __future__ import annotations

import pytest
import ray

from atod_sweep.config.study import Resources
from atod_sweep.errors import UserError
from atod_sweep.sweep.backends import ray_size


@pytest.fixture
def growing(monkeypatch):
    """A cluster whose size is a list, the last one for ever; returns what was asked of the autoscaler."""
    asked = []
    monkeypatch.setattr(ray_size, "_LOOK", 0.001)
    monkeypatch.setattr("ray.autoscaler.sdk.request_resources", lambda bundles: asked.append(bundles))

    def grow(*sizes):
        left = list(sizes)
        monkeypatch.setattr(ray, "cluster_resources", lambda: left.pop(0) if len(left) > 1 else left[0])
        return asked

    return grow


def test_a_cluster_that_grows_is_waited_for_with_a_line(growing):
    said = []
    asked = growing({}, {"CPU": 1.0}, {"CPU": 2.0}, {"CPU": 2.0, "GPU": 1.0})
    ray_size.wait_for_room(Resources(cpu=2, gpu=0.5), "auto", said.append)
    assert said == [
        "resources.cpu: a trial needs 2 but Ray has 0 so far; waiting up to 10 minutes for the cluster to grow"
    ]
    assert asked == [[{"CPU": 2.0, "GPU": 0.5}], []]
    ray_size.wait_for_room(Resources(cpu=2), "auto", pytest.fail)


def test_one_that_does_not_grow_is_an_error(growing, monkeypatch):
    asked = growing({"CPU": 1.0})
    with pytest.raises(UserError, match="a trial needs 2 but Ray has 1; ask for less, or join a larger cluster with"):
        ray_size.wait_for_room(Resources(cpu=2), None, pytest.fail)
    assert asked == []
    monkeypatch.setattr(ray_size, "_WAIT", 0.01)
    with pytest.raises(UserError, match="a trial needs 2 but Ray has 1 after 0 minutes; ask for less, or add nodes"):
        ray_size.wait_for_room(Resources(cpu=2), "auto", lambda line: None)
    assert asked[-1] == []


def test_the_size_is_looked_at_again(growing, monkeypatch):
    growing({"CPU": 2.0}, {"CPU": 5.0})
    monkeypatch.setattr(ray_size, "_GROWTH", 0.01)
    left = [True, True]
    monkeypatch.setattr(ray, "is_initialized", lambda: bool(left) and left.pop())
    size = ray_size.Size(lambda there: int(there["CPU"]))
    assert size.fits == 2
    size.start()
    size.join()
    assert size.fits == 5
