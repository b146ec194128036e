"""A study file of seconds, with models of a few thousand parameters."""

from __future__ import annotations

from pathlib import Path

import yaml

TINY = {"hidden": 16, "layers": 1, "heads": 2}


RECIPE = {"steps": 3, "episodes": 4}


BASE = {
    "base": "presets/support_desk_compact",
    "teacher": {**TINY, "recipe": RECIPE},
    "student": {**TINY, "recipe": {"steps": 10, "episodes": 4, "success": [0.0, 1.0]}},
    "rollout": {"tasks": 2, "group_size": 2},
    "evaluation": {"every": 2, "tasks": 8},
    "steps": 4,
}


STUDY = {
    "name": "tiny",
    "question": "Does it run?",
    "base": BASE,
    "arms": {
        "cosine": {"objective.distill_weight.kind": "cosine"},
        "linear": {"objective.distill_weight.kind": "linear"},
    },
    "reference": "linear",
    "controls": ["teacher", "rl"],
    "seeds": 2,
    "hypotheses": ["cosine > linear on eval/success"],
}


def write(path: Path, **changes: object) -> str:
    path.write_text(yaml.safe_dump({**STUDY, **changes}))
    return str(path)
