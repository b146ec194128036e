"""An environment as data: one that is learned in, or one in which it shows what learning took away."""

from __future__ import annotations

from pydantic import Field

from atod_sweep.config.base import Record
from atod_sweep.config.settings import Settings


class Env(Record):
    """Where episodes are played: a shipped family, a Gymnasium id, or your own `module:Class`."""

    id: str = Field("support_desk", description="Shipped family, registered Gymnasium id, or `package.module:Class`.")
    horizon: int = Field(8, ge=1, description="Longest episode, in turns; longer ones are truncated.")
    kwargs: Settings = Field(default_factory=dict, description="Further arguments of the environment's constructor.")
