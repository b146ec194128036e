"""How an environment can fail: in one line for the user, under a status of its own in the ledger."""

from __future__ import annotations

from atod_sweep.errors import UserError
from atod_sweep.records.status import Status


class EnvironmentFailed(UserError):
    """An environment raised, took its worker down, or answered what the contract does not allow."""

    status = Status.ENVIRONMENT_FAILED


class EnvironmentTimeout(UserError):
    """An environment step took longer than `rollout.step_timeout`."""

    status = Status.ENVIRONMENT_TIMEOUT
