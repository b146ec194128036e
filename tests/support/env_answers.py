"""What any environment must answer to any text."""

from __future__ import annotations

from typing import Any


def check_answers(env: Any, texts: list[str], longest: int = 2000) -> None:
    env.reset(seed=0)
    for text in texts:
        observation, reward, terminated, truncated, _ = env.step(text)
        assert observation in env.observation_space
        assert len(observation) < longest
        assert reward in (0.0, 1.0)
        if terminated or truncated:
            break
