"""The README of a bundle: what the schedule is, how to use it, what it was tested on, and what not."""

from __future__ import annotations

from typing import Any

from atod_sweep.config.penalties import WithReference
from atod_sweep.evidence.analysis.text import inert
from atod_sweep.export.schedule import own_code
from atod_sweep.export.schedule.schedule_file import ScheduleFile
from atod_sweep.export.schedule.table import symbols
from atod_sweep.export.targets import registry

FIRST_FORMAT = "atod-sweep/provenance/1"  # of exports without a manifest, whose cards held texts as they came
_MEASURED = {
    "distill": "the teacher's weight follows the measured teacher-student gap (`controllers.py`)",
    "beta_kl": "the KL coefficient follows the measured KL (`controllers.py`)",
    "turns": "the turns' weights follow the log-probs of each trajectory (`turn_weights.py`)",
}


def card(schedule: ScheduleFile, provenance: dict[str, Any]) -> str:
    """Markdown for README.md."""
    sections = [
        _title(schedule, provenance),
        _use(schedule),
        _meaning(schedule),
        _open_loop(schedule),
        _targets(schedule, provenance),
        evidence(provenance),
        _untested(provenance),
        _files(schedule, provenance),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _title(schedule: ScheduleFile, p: dict[str, Any]) -> str:
    weight = schedule.objective.distill_weight
    turns = schedule.objective.turns.kind
    return (
        f"# Distillation schedule: {said(p, p['arm'])} of {said(p, p['study'])}\n\n"
        f"A `{weight.kind}` decay of the teacher's weight with `{turns}` turn weights, for on-policy distillation "
        f"mixed with reward ({schedule.objective.kind} objective), over {schedule.steps} optimiser steps and episodes "
        f"of {schedule.horizon} turns.\n\nQuestion of the study: {said(p, p['question'])}"
    )


def said(p: dict[str, Any], text: str) -> str:
    """What the study's author wrote, or what names of theirs stand in."""
    return text if p["format"] == FIRST_FORMAT else inert(text)


def _use(schedule: ScheduleFile) -> str:
    steps, horizon = schedule.steps, schedule.horizon
    return f"""## Use it

```python
from schedule import weights  # schedule.py needs nothing but Python

for step in range({steps}):
    w = weights(step, turn, total_steps={steps}, horizon={horizon})
    loss = w["distill"] * distill_loss + w["reward"] * reward_loss + w["beta_kl"] * kl_to_initial_student
```

`w["distill"]` and `w["reward"]` depend on the turn, so they multiply the tokens of that turn; every term is a sum over
generated tokens divided by their unweighted number. `w["temperature"]` is the sampling temperature of the rollouts.
Other values of `total_steps` and `horizon` keep the schedule's fractions. With atod-sweep:
`atod-sweep train presets/NAME --schedule THIS_FOLDER`. `atod-sweep verify THIS_FOLDER` re-derives every file."""


def _meaning(schedule: ScheduleFile) -> str:
    lines = [f"| `{column}` | {symbol} |" for column, symbol in symbols(schedule).items()]
    penalty = schedule.objective.kl_penalty
    if isinstance(penalty, WithReference):
        place = "taken off each token's reward" if penalty.in_reward else "in the loss"
        note = f"The penalty's estimator is {penalty.kind}, {place}."
    else:
        note = "There is no KL penalty; a reference model is not needed."
    return (
        "## What the columns are\n\n| column | in the method's formulas |\n|---|---|\n"
        + "\n".join(lines)
        + f"\n\n{note}"
    )


def _open_loop(schedule: ScheduleFile) -> str:
    if not schedule.measured:
        return ""
    parts = "; ".join(_MEASURED[part] for part in schedule.measured)
    return (
        f"## Open loop\n\nThis schedule is not a function of step and turn alone: {parts}. `schedule.csv`, "
        "`schedule.json` and, unless you pass live values, `schedule.py` replay what the run recorded, as a mean over "
        "seeds (`trace_open_loop.csv`). A replay repeats that run; on other data the rule would have done otherwise."
    )


def _targets(schedule: ScheduleFile, p: dict[str, Any]) -> str:
    written: list[str] = p["targets"]
    if not written:
        return ""
    rows = [f"| {name} | {registry.summary(name, schedule)} | `README.{name}.md` |" for name in written]
    refused = [name for name in registry.TARGETS if name not in written] if p["target"] == registry.EVERY else []
    rows += [f"| {name} | {registry.summary(name, schedule)} | not written (`--allow-lossy`) |" for name in refused]
    table = "| target | of this schedule | how to launch |\n|---|---|---|\n" + "\n".join(rows)
    sections = ["## Other trainers\n\nEach takes the files that its README names; `schedule.py` serves all.", table]
    if p["target"] == registry.EVERY:
        sections += [
            registry.capability_table(schedule).rstrip(),
            f"slime, prime-rl and NeMo-RL: where each part would go is in `{registry.MAPPINGS}`; nobody ran them.",
        ]
    return "\n\n".join(sections)


def evidence(p: dict[str, Any]) -> str:
    """What the study found for this arm, as a section."""
    result = p["result"]
    bounds = f" [{result['low']:.3f}, {result['high']:.3f}]" if result["low"] is not None else ""
    seeds = ", ".join(f"{seed}: {score:.3f}" for seed, score in p["scores"].items())
    start = f" (before training {p['start']:.3f})" if p["start"] is not None else ""
    lines = [
        f"- {p['metric']['name']} {result['mean']:.3f}{bounds} over {result['n']} seeds{start}; by seed {seeds}.",
        *(f"- {said(p, note)}" for note in p["notes"]),
        *(f"- Verdict: {said(p, v['claim'])}: {v['outcome']}. {said(p, v['sentence'])}" for v in p["verdicts"]),
    ]
    return "## Evidence\n\n" + "\n".join(lines)


def _untested(p: dict[str, Any]) -> str:
    env, run, exported = p["env"], p["run"], p["exported"]
    lines = [
        f"- Any environment other than `{env['id']}` at a horizon of {run['horizon']} turns.",
        f"- Any other teacher or base student than those of the study: {models(p['models'])}.",
        f"- Any run length other than {run['steps']} optimiser steps.",
        "- Any other trainer: the targets apply the same weights, not the same optimiser, sampling or batches.",
    ]
    if run != exported:
        lines.append(
            f"- This very table: it was rescaled from {run['steps']} steps and {run['horizon']} turns to "
            f"{exported['steps']} steps and {exported['horizon']} turns, and not run at that size."
        )
    return "## Not tested on\n\n" + "\n".join(lines)


def models(digests: dict[str, Any]) -> str:
    """Teacher and base student with the hashes of what made them."""
    described = [
        f"{name} `{model['digest']}`" if "digest" in model else f"{name} `{model['model']}` behind an API"
        for name, model in digests.items()
    ]
    return ", ".join(described) or "none recorded"


def _files(schedule: ScheduleFile, p: dict[str, Any]) -> str:
    lines = [
        "- `schedule.yaml`: the config (versioned schema)",
        "- `schedule.csv`, `schedule.json`: the weights at every step and turn",
        "- `schedule.py`: `weights(step, turn, total_steps, horizon)`",
        "- `provenance.json`: study, scores, models, versions",
    ]
    if p["format"] != FIRST_FORMAT:
        lines.append("- `manifest.sha256`: what vouches for all of them")
    if schedule.measured:
        lines.append("- `trace_open_loop.csv`: what the run applied where there is no closed form")
    if {"distill", "beta_kl"} & set(schedule.measured):
        lines.append("- `controllers.py`: the weights that follow a measurement")
    if "turns" in schedule.measured:
        lines.append("- `turn_weights.py`: turn weights from log-probs (torch)")
    for own in own_code.records(schedule):
        lines.append(f"- `{own_code.file_name(own.path)}`: the study's own `{own.path}`, SHA-256 `{own.source}`")
    return "## Files\n\n" + "\n".join(lines)
