"""One line for the words that a stranger meets first: controls, the metric, kinds of turn weights and objectives."""

from __future__ import annotations

from typing import Any

from atod_sweep.config.files import flatten
from atod_sweep.evidence.analysis.results import Results
from atod_sweep.evidence.analysis.scores import tasks_of
from atod_sweep.evidence.analysis.text import plural

CONTROLS = {
    "teacher": "the frozen model that students learn from, playing by itself",
    "base": "the student before training, playing by itself",
    "opd": "on-policy distillation alone, the teacher's word on what the student plays, no reward",
    "rl": "reward alone, no teacher",
    "fixed_mix": "teacher and reward at constant weights",
    "shuffled_teacher": "the base with the teacher's word on other turns of the same length: a null control",
    "random_teacher": "the base with a teacher that nobody trained: a null control",
    "constant_push": "the base with one push off unlikely tokens in the teacher's place: a null control",
    "tuned_constant": "the base with the best of a few constant weights of the teacher, chosen on other seeds",
}
METRICS = {
    "success": "share of held-out tasks that are solved",
    "reward": "sum of rewards in an episode",
    "turns": "turns that an episode takes",
}
# Values of `kind` fields by which arms differ.
KINDS = {
    "t_dur": "turns weigh more where the student disagrees with the teacher or is unsure",
    "token_level": "the same weights for single tokens",
    "thresholds": "one weight of the teacher on early turns, another on late ones",
    "product": "thresholds times t_dur",
    "hybrid": "teacher and reward in one advantage, weights κ and ρ",
    "interpolated": "loss of λ parts teacher and 1 − λ parts reward",
    "sft": "imitation of the teacher's own episodes",
    "dpo": "preference of the student's better episode over its worse one",
    "spin": "preference of the teacher's episodes over the student's own",
}


def terms(results: Results) -> dict[str, str]:
    """The words of this study that are not its own with their meaning, in the order: metric, controls, kinds."""
    study = results.study
    names = [name for name in CONTROLS if name in study.controls]
    found = {study.metric.name: _measure(results)} | {name: CONTROLS[name] + _chosen(results, name) for name in names}
    arms = study.latest.get("definition", {}).get("arms", {})
    own = arms if isinstance(arms, dict) else {}
    kinds = {str(v) for o in own.values() for k, v in flatten(o).items() if k.endswith("kind")}
    found |= {kind: meaning for kind, meaning in KINDS.items() if kind in kinds}
    return {word: meaning for word, meaning in found.items() if meaning}


def _chosen(results: Results, control: str) -> str:
    """What a control that is chosen came to be, at each combination of levels."""
    tops = [row["top"][0] for row in results.ledger if row["event"] == "selection" and row["arms"] == [control]]
    chosen = [" at ".join([*map(str, top["values"].values()), *filter(None, [top["levels"]])]) for top in tops]
    return f": {', '.join(chosen)}" if chosen else ""


def _measure(results: Results) -> str:
    where, _, what = results.study.metric.name.partition("/")
    meaning = METRICS.get(what, "")
    if not meaning or where not in ("eval", "final"):
        return meaning
    tasks = tasks_of(results, results.study.metric)
    if where == "final":
        sets = results.task_sets(results.study.metric.name)
        many = f"{sets} fresh sets of {tasks // sets} tasks" if tasks and sets else "fresh task sets"
        return f"{meaning}, {many} that nothing was chosen by"
    if not tasks:
        return meaning
    base = flatten(results.study.latest["definition"]["base"])["evaluation.tasks"]
    many = plural(tasks, "held-out task") if tasks == base else f"{tasks} or more held-out tasks"
    return meaning.replace("held-out tasks", many)


def changes(results: Results) -> dict[str, str]:
    """What each arm overrides, in words; empty where the ledger does not say."""
    arms: Any = results.study.latest.get("definition", {}).get("arms", {})
    if not isinstance(arms, dict):
        return {}
    return {
        arm: "; ".join(_change(k, v) for k, v in flatten(own).items()) or "the base config as it is"
        for arm, own in arms.items()
    }


def _change(key: str, value: Any) -> str:
    key = key.removeprefix("objective.")
    if key.endswith(".match_mean_of"):
        return f"{key.removesuffix('.match_mean_of')}: as needed for the mean of {value}"
    return f"{key}: {value}"
