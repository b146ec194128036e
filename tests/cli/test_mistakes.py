"""A table of mistakes that first-time users made, or could: each is answered at once, in one line that names the fix.

They are tried in one process of its own, which notes what each of them imports: what can be known without torch, Ray
and their like is told before they are loaded. Rows marked `heavy` may import torch: they are tried in the tests' own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import mistaken
import pytest

PUBLISHED = Path(__file__).parents[2] / "studies" / "results" / "cosine_vs_linear"

STUDY = """
name: mine
question: Does it run?
base: presets/support_desk_compact
arms: {cosine: {objective.distill_weight.kind: cosine}, linear: {objective.distill_weight.kind: linear}}
reference: linear
seeds: 3
hypotheses: [cosine > linear]
""".lstrip()
SPACE = """
question: Which?
base: presets/support_desk_compact
parameters: {optimiser.lr: {float: [1.0e-4, 1.0e-2]}}
budget: {configurations: 4, seeds: 1}
""".lstrip()


@dataclass(frozen=True)
class Mistake:
    """What is typed, in a folder that holds `files` (text, or bytes as Latin-1), and what must be answered.

    `said`: words of the answer. `lines`: of the answer; several only where it lists several mistakes.
    """

    what: str
    words: list[str]
    said: list[str]
    files: dict[str, str] = field(default_factory=dict)
    lines: int = 1
    heavy: bool = False


def study(what: str, change: dict[str, str | None], *said: str, lines: int = 1, heavy: bool = False) -> Mistake:
    """A study in whose text top-level keys are replaced, added, or (None) dropped."""
    kept = [line for line in STUDY.splitlines() if line.partition(":")[0] not in change]
    text = "\n".join([*kept, *(f"{key}: {value}" for key, value in change.items() if value is not None)]) + "\n"
    return Mistake(what, ["run", "s.yaml"], list(said), {"s.yaml": text}, lines, heavy)


def file(what: str, text: str | bytes, *said: str) -> Mistake:
    """A study file that cannot be read as one."""
    latin = text.decode("latin-1") if isinstance(text, bytes) else text
    return Mistake(what, ["run", "s.yaml"], ["s.yaml", *said], {"s.yaml": latin})


def space(what: str, change: dict[str, str | None], *said: str, lines: int = 1) -> Mistake:
    """A search in whose text top-level keys are replaced, added, or (None) dropped."""
    kept = [line for line in SPACE.splitlines() if line.partition(":")[0] not in change]
    text = "\n".join([*kept, *(f"{key}: {value}" for key, value in change.items() if value is not None)]) + "\n"
    return Mistake(what, ["search", "f.yaml"], ["f.yaml", *said], {"f.yaml": text}, lines)


def typed(command: str, *said: str, heavy: bool = False) -> Mistake:
    """A command line, in a folder with a study and a search."""
    words = [word.replace("PUBLISHED", str(PUBLISHED)) for word in command.split()]
    return Mistake(command, words, list(said), {"s.yaml": STUDY, "f.yaml": SPACE}, heavy=heavy)


MISTAKES = [
    # -- a study's file
    study("an unknown arm as reference", {"reference": "sine"}, "'sine' is not an arm", "did you mean 'cosine'?"),
    study("an unknown arm in a claim", {"hypotheses": "[cosine > sine]"}, "'sine' is not an arm", "cosine, linear"),
    study("an unknown kind", {"arms": "{a: {objective.distill_weight.kind: cosin}}", "reference": None,
          "hypotheses": None}, "'cosin'", "did you mean 'cosine'?"),
    study("a misspelt key in an arm", {"arms": "{a: {objective.distil_weight.kind: cosine}}", "reference": None,
          "hypotheses": None}, "'objective.distill_weight.kind'"),
    study("a misspelt trainer", {"arms": "{cosine: {trainer.kind: tlr}, linear: {trainer.kind: trl}}"}, "'tlr'",
          "did you mean 'trl'?"),
    study("an argument of TRL's that is ours", {"arms": "{a: {}, b: {trainer: {kind: trl, args: {beta: 1}}}}",
          "reference": None, "hypotheses": None}, "beta is set elsewhere", "objective.kl_penalty"),
    study("a claim between two trainers", {"arms": "{cosine: {}, linear: {trainer.kind: trl}}"}, "hypotheses.0",
          "'cosine' is trained by atod and 'linear' by trl"),
    study("what TRL does not carry", {"arms": "{cosine: {trainer.kind: trl, objective.advantage.kind: gae}}",
          "reference": None, "hypotheses": None}, "GAE over turns", "trainer.kind: atod"),
    study("an exponential decay to 0", {"arms": "{a: {objective.distill_weight: {kind: exponential, end: 0}}}",
          "reference": None, "hypotheses": None}, "got 0.0", "kind: linear"),
    study("thresholds beyond the horizon", {"arms": "{a: {objective.turns: {kind: thresholds, early_turns: 12}}}",
          "reference": None, "hypotheses": None}, "12 turns lie beyond the horizon of 8", "at most 8"),
    study("no seeds", {"seeds": "0"}, "got 0", "seeds: 3"),
    study("a negative seed", {"seeds": "[0, -1]"}, "got [0, -1]"),
    study("a seed twice", {"seeds": "[1, 1]"}, "got [1, 1]", "counts once"),
    study("seeds in words", {"seeds": "two"}, "'two'", "whole number"),
    study("a seed that no generator takes", {"seeds": "[99999999999999999999]"}, "99999999999999999999", "below 2^32"),
    study("too many seeds", {"seeds": "100000000000"}, "100000000000"),
    study("a claim in prose", {"hypotheses": "[cosine beats linear]"}, "'cosine beats linear'", "write for example"),
    study("a claim on a misspelt metric", {"hypotheses": "[cosine > linear on eval/sucess]"}, "eval/sucess",
          "eval/success"),
    study("a misspelt metric", {"metric": "{name: eval/sucess}"}, "eval/sucess", "eval/success"),
    study("a name with a slash", {"name": "a/b"}, "'a/b'", "letters"),
    study("a name with a space", {"name": "my study"}, "'my study'", "letters"),
    study("an arm with a space", {"arms": "{my arm: {}, linear: {}}", "hypotheses": None}, "'my arm'", "letters"),
    study("no question", {"question": None}, "question: is missing"),
    study("armz", {"arms": None, "armz": "{a: {}}", "reference": None, "hypotheses": None},
          "'armz'", "did you mean 'arms'?"),
    study("no arms", {"arms": "{}", "reference": None, "hypotheses": None}, "arms: needs at least 1"),
    study("arms as a list", {"arms": "[cosine, linear]"}, "arms: expected a mapping"),
    study("an unknown preset", {"base": "presets/suport_desk_compact"}, "'presets/support_desk_compact'"),
    study("a base that is not there", {"base": "base.yaml"}, "base.yaml"),
    study("a base in a home that has none", {"base": "~/no_such_base.yaml"}, "no_such_base.yaml"),
    study("a base under a variable that is not set", {"base": "$NO_SUCH_BASE"}, "NO_SUCH_BASE", "is not set"),
    study("an unknown environment", {"base": "{base: presets/support_desk_compact, env.id: suport_desk}"},
          "'suport_desk'", "'support_desk'"),
    study("an environment's module that is not there", {"base": "{env.id: 'no_such_game:Env'}"}, "no_such_game"),
    study("a horizon out of range", {"base": "{base: presets/support_desk_compact, env.horizon: 0}"}, "env.horizon"),
    study("a model that is not there", {"base": "{base: presets/support_desk_compact, student: {kind: pretrained, "
          "path: ~/nomodel}}"}, "'~/nomodel'", "give a directory or a hub id"),
    study("a control twice", {"controls": "[rl, rl]"}, "['rl', 'rl']"),
    study("an unknown control", {"controls": "[teachr]"}, "'teachr'", "'teacher'"),
    study("a null control of no teacher", {"base": "{base: presets/support_desk_compact, objective.distill_weight: 0}",
          "arms": "{a: {}}", "reference": None, "hypotheses": None, "controls": "[shuffled_teacher]"},
          "controls.shuffled_teacher", "distill_weight is 0"),
    study("a chance above 1", {"base": "{base: presets/support_desk_compact, rollout.takeover.probability: 1.5}"},
          "rollout.takeover.probability", "got 1.5"),
    study("a depth from nowhere", {"base": "{base: presets/support_desk_compact, rollout.depth.from: middle}"},
          "'middle'", "start, end"),
    study("a takeover of imitation", {"base": "{base: presets/support_desk_compact, rollout.takeover: {}}",
          "arms": "{a: {objective: {kind: sft}}}", "reference": None, "hypotheses": None}, "rollout.takeover", "'sft'"),
    study("more GPUs than there are", {"resources": "{gpu: 1}"}, "resources.gpu", "0 CUDA devices", heavy=True),
    study("a GPU where there is none", {"base": "{base: presets/support_desk_compact, runtime.device: cuda}"},
          "runtime.device: 'cuda'", "use auto or cpu", heavy=True),
    study("a truth value for a number", {"base": "{base: presets/support_desk_compact, steps: true}"}, "steps",
          "expected a number, got true"),
    study("a truth value among seeds", {"seeds": "[1, true]"}, "seeds", "got [1, 1]"),
    study("one truth value as seeds", {"seeds": "true"}, "seeds", "expected a number, got true"),
    study("a number that YAML reads as octal", {"seeds": "010"}, "'010' would be 8", "in quotes"),
    study("a number that YAML reads as minutes", {"seeds": "4:30"}, "'4:30' would be 270", "in quotes"),
    study("a fraction that YAML reads as minutes", {"base": "{optimiser.lr: 1:30.5}"}, "'1:30.5' would be 90.5"),
    study("a key nested and dotted", {"base": "{env: {horizon: 5}, env.horizon: 6}"}, "'env.horizon'", "keep one"),
    study("a claim twice", {"hypotheses": "[cosine > linear, cosine > linear by 0.0]"}, "hypotheses.1",
          "'cosine > linear on eval/success' is there already"),
    study("a seed in an arm", {"arms": "{cosine: {seed: 5}, linear: {}}"}, "arms.cosine", "got 5", "seeds: of the"),
    study("a seed in a level", {"factors": "{draw: {a: {seed: 5}}}"}, "factors.draw.a", "got 5"),
    study("three mistakes at once", {"armz": "{}", "seeds": "two", "reference": "sine"},
          "3 mistakes", "'armz'", "'two'", "'sine'", lines=4),
    file("an empty file", "", "is empty"),
    file("a list", "- a\n- b\n", "mapping"),
    file("a tab", "name: x\n\tquestion: q\n", "line 2", "tab"),
    file("a key twice", STUDY + "seeds: 4\n", "'seeds'", "line"),
    file("Latin-1", "question: schön\n".encode("latin-1"), "UTF-8"),
    file("UTF-16", STUDY.encode("utf-16"), "UTF-8"),
    file("a search", SPACE, "is a search", "atod-sweep search s.yaml"),
    file("a trainer config", "steps: 3\nenv: {id: support_desk}\n", "is a trainer config", "atod-sweep train s.yaml"),
    # -- a search's file
    space("an unknown sampler", {"sampler": "{kind: cmaes}"}, "'cmaes'", "tpe"),
    space("a range in the wrong order", {"parameters": "{optimiser.lr: {float: [1, 0.1]}}"}, "[1, 0.1]", "in order"),
    space("a parameter that no config has", {"parameters": "{optimiser.learning: {float: [0, 1]}}"},
          "optimiser.learning"),
    space("no parameters", {"parameters": None}, "parameters: is missing"),
    space("no configurations", {"budget": "{configurations: 0, seeds: 1}"}, "budget.configurations", "got 0"),
    space("a metric that no trial reports", {"metric": "{name: eval/sucess}"}, "eval/sucess", "eval/success"),
    Mistake("a study", ["search", "f.yaml"], ["f.yaml", "is a study", "atod-sweep run f.yaml"], {"f.yaml": STUDY}),
    Mistake("a space shown of a study", ["space", "show", "f.yaml"], ["is a study"], {"f.yaml": STUDY}),
    # -- the command line
    typed("run quikstart", "quikstart: no such file", "did you mean 'quickstart'?"),
    typed("run schedule", "atod-sweep search schedule"),
    typed("search quickstart", "atod-sweep run quickstart"),
    typed("search scedule", "did you mean 'schedule'?"),
    typed("run .", "no such file"),
    typed("run s.yaml steps", "'steps'", "key=value"),
    typed("run s.yaml seeds=[1,2]", "'seeds'", "--seeds", "in the file"),
    typed("run s.yaml seed=3", "'seed'", "--seeds"),
    typed("run s.yaml question=Why", "'question'", "in the file"),
    typed("run s.yaml metric.last=3", "'metric.last'", "in the file"),
    typed("run s.yaml arms.cosine.steps=3", "'arms.cosine.steps'", "in the file"),
    typed("search f.yaml budget.seeds=3", "'budget.seeds'", "in the file"),
    typed("search f.yaml seed=3", "'seed'", "in the file"),
    typed("run s.yaml evaluation.retention.0.env.id=tool_use", "items of a list", "evaluation.retention=[…]"),
    typed("run s.yaml steps=010", "'010' would be 8"),
    typed("run s.yaml rollout.tasks=true", "rollout.tasks: expected a number, got true"),
    typed("run s.yaml stepps=3", "'stepps'", "did you mean 'steps'?"),
    typed("run s.yaml steps=many", "steps", "'many'"),
    typed("run s.yaml steps=-3", "steps", "-3"),
    typed("run s.yaml objective.distill_weight.kind=linear", "arms.cosine sets 'objective.distill_weight.kind'"),
    typed("run s.yaml --backend rya", "'rya'", "ray or local"),
    typed("run s.yaml --backend Ray", "'Ray'", "ray or local"),
    typed("run s.yaml --concurrency 0", "--concurrency 0", "1 or more"),
    typed("run s.yaml --seeds 0", "got 0"),
    typed("run s.yaml --max-seeds 9", "add --until-decided"),
    typed("run s.yaml --until-decided --max-seeds 2", "--max-seeds 2"),
    typed("run s.yaml --name a/b", "'a/b'", "letters"),
    typed("run s.yaml --address auto --backend local", "--address 'auto'", "drop one"),
    typed("run s.yaml --storage out", "--storage 'out'", "--address"),
    typed("run s.yaml --out $NO_SUCH_PLACE/x", "NO_SUCH_PLACE", "is not set"),
    typed("run s.yaml --out=~nobody_here/x", "~nobody_here", "no such user"),
    typed("run s.yaml --out s.yaml", "s.yaml"),
    typed("run s.yaml --tracking-uri htp://x", "'htp://x'", "sqlite:///FILE", heavy=True),
    typed("run s.yaml --resume --overwrite", "--overwrite", "--resume"),
    typed("search f.yaml --configurations 0", "got 0"),
    typed("resume runs/nope", "runs/nope", "no such folder"),
    typed("resume .", "holds no run"),
    typed("status runs/nope", "runs/nope", "no such folder"),
    typed("ls nowhere", "nowhere: no such folder"),
    typed("report runs/nope", "runs/nope", "no such folder"),
    typed("report PUBLISHED --format docx", "'docx'", "html, md"),
    typed("report PUBLISHED --out s.yaml", "s.yaml", "cannot be written", heavy=True),
    typed("compare runs/a runs/b", "runs/a", "no such folder"),
    typed("export runs/nope", "runs/nope", "no such folder"),
    typed("export PUBLISHED --to TRL", "'TRL'", "did you mean 'trl'?"),
    typed("export PUBLISHED --to trlx", "'trlx'", "trl"),
    typed("export PUBLISHED --to trl --model", "--to", "--model"),
    typed("export PUBLISHED --register x", "add --model"),
    typed("export PUBLISHED --dry-run", "--dry-run", "add --push ORG/NAME"),
    typed("export PUBLISHED --steps 0 --out new", "steps: must be at least 1, got 0"),
    typed("export PUBLISHED --horizon 0 --out new", "horizon: must be at least 1, got 0"),
    typed("export PUBLISHED --out .", ".: exists and is no exported schedule", "--out"),
    typed("export PUBLISHED --out PUBLISHED", "exists and is no exported schedule", "--out"),
    typed("export PUBLISHED --at horizon", "horizon"),
    typed("export PUBLISHED --at horizon=tall", "tall"),
    typed("verify PUBLISHED", "is a run, not an export", "atod-sweep export"),
    typed("verify nowhere", "nowhere: no such folder"),
    typed("sync runs/nope", "runs/nope", "no such folder"),
    typed("pack runs/nope out", "runs/nope", "no such folder"),
    typed("train presets/suport_desk_compact", "'presets/support_desk_compact'"),
    typed("train no_such.yaml", "no_such.yaml"),
    typed("train presets/support_desk_compact --steps 3", "--steps", "steps=…"),
    typed("train presets/support_desk_compact env.id=suport_desk", "'support_desk'"),
    typed("train presets/support_desk_compact student.kind=pretrained student.path=~/nomodel", "~/nomodel"),
    typed("train presets/support_desk_compact runtime.device=cuda", "runtime.device: 'cuda'", heavy=True),
    typed("train s.yaml", "is a study", "atod-sweep run s.yaml"),
    typed("train presets/support_desk_compact teacher.kind=server teacher.url=http://127.0.0.1:9/v1 teacher.model=m "
          "objective.distill.kind=sampled_reverse_kl", "teacher.url: nobody answers at http://127.0.0.1:9/v1"),
    typed("train presets/support_desk_compact teacher.kind=chat teacher.url=http://127.0.0.1:9/v1 teacher.model=m",
          "'chat' gives text and no log-probs", "relabel"),
    typed("play suport_desk", "'support_desk'"),
    typed("play support_desk --teacher x", "--model"),
    typed("play support_desk --model nowhere", "'nowhere'", "does not exist"),
    typed("check ./nowhere", "./nowhere", "does not exist"),
    typed("envs suport_desk", "'support_desk'"),
    typed("schema trial", "'trial'", "study, search, train"),
    typed("schema Study", "'Study'", "study, search, train"),
    typed("init s.yaml", "s.yaml", "cannot be written"),
    typed("run s.yaml --out PUBLISHED", "cosine_vs_linear: is the folder of a run", "its own, 'mine'"),
    typed("search f.yaml --out PUBLISHED", "is the folder of a run", "its own, 'f'"),
    typed("train presets/support_desk_compact --out PUBLISHED", "holds runs of studies", heavy=True),
    typed("train presets/support_desk_compact --out s.yaml", "s.yaml", "cannot be written", heavy=True),
    typed("run", "'study'", "atod-sweep run --help"),
    typed("rn quickstart", "'rn'", "'run'"),
    typed("run s.yaml --seeds two", "--seeds 'two': expected a whole number"),
    typed("resume x --max-trials=0", "--max-trials '0': must be at least 1"),
    typed("play support_desk --seed -1", "--seed '-1': must be at least 0"),
    typed("run s.yaml --sedes 3", "--sedes", "--seeds"),
    typed("train presets/support_desk_compact steps=", "steps"),
    typed("train presets/support_desk_compact steps", "key=value"),
    typed("train presets/support_desk_compact optimiser.learning_rate=1", "optimiser"),
]  # fmt: skip


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What each mistake was answered: in a new process, or here if it may be heavy."""
    top = tmp_path_factory.mktemp("mistakes")
    (top / "home").mkdir()
    rows = {heavy: [asdict(one) for one in MISTAKES if one.heavy == heavy] for heavy in (False, True)}
    (top / "table.json").write_text(json.dumps(rows[False]))
    ours = {"CUDA_VISIBLE_DEVICES": "", "HOME": str(top / "home"), "COLUMNS": "400", "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, mistaken.__file__, str(top)], env={**os.environ, **ours}, check=True, timeout=600)
    found = json.loads((top / "found.json").read_text())
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ours.items():
            patch.setenv(name, value)
        patch.chdir(top)
        patch.setattr(sys, "argv", [])
        patch.setattr(sys, "path", list(sys.path))
        found |= mistaken.answers(rows[True], top)
    return found


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.what)
def test_one_line_names_the_fix_and_nothing_is_made(mistake: Mistake, answers: dict[str, dict[str, Any]]) -> None:
    answer = answers[mistake.what]
    assert answer["code"] == 2, answer
    lines = answer["err"].strip().splitlines()
    assert len(lines) == mistake.lines, answer["err"]
    for word in mistake.said:
        assert word in answer["err"]
    assert answer["left"] == sorted(mistake.files)
    assert mistake.heavy or not answer["brought"]


def test_no_mistake_is_there_twice() -> None:
    assert [what for what, count in Counter(mistake.what for mistake in MISTAKES).items() if count > 1] == []
    assert len(MISTAKES) >= 60
