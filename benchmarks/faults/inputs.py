"""Faults in what is read: damaged records, hostile files, environments that break their contract, received folders."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from atod_sweep.records import layout
from benchmarks.faults.runs import TINY
from benchmarks.faults.tools import Fault, command, fake_run, study

ENVIRONMENTS = """
import gymnasium
class Base(gymnasium.Env):
    observation_space = action_space = gymnasium.spaces.Text(80)
    def __init__(self, horizon=3): self.horizon = horizon
    def reset(self, *, seed=None, options=None): super().reset(seed=seed); self.turn = 0; return "a door", {}
    def step(self, action): self.turn += 1; return "more", 0.1, self.turn == self.horizon, False, {"success": 0.0}
    def demonstrator_action(self): return "more"
    def actions(self): return ["more", "door"]
    def vocabulary(self): return ["a", "door", "more"]
class DictObservation(Base):
    def reset(self, **kw): super().reset(**kw); return {"text": "a door"}, {}
class BytesObservation(Base):
    def reset(self, **kw): super().reset(**kw); return b"a door", {}
class NoneObservation(Base):
    def step(self, action): _, r, d, t, i = super().step(action); return None, r, d, t, i
class Surrogate(Base):
    def reset(self, **kw): super().reset(**kw); return "a d\\ud83dor", {}
class FourTuple(Base):
    def step(self, action): o, r, d, _, i = super().step(action); return o, r, d, i
class BareReset(Base):
    def reset(self, **kw): super().reset(**kw); return "a door"
class NoSeed(Base):
    def reset(self): self.turn = 0; return "a door", {}
class NullInfo(Base):
    def step(self, action): o, r, d, t, _ = super().step(action); return o, r, d, t, None
class NanReward(Base):
    def step(self, action): o, _, d, t, i = super().step(action); return o, float("nan"), d, t, i
class TextReward(Base):
    def step(self, action): o, _, d, t, i = super().step(action); return o, "much", d, t, i
class TooSuccessful(Base):
    def step(self, action): o, r, d, t, _ = super().step(action); return o, r, d, t, {"success": 7.0}
class WordMetric(Base):
    def step(self, action):
        o, r, d, t, _ = super().step(action)
        return o, r, d, t, {"success": 1.0, "metrics": {"room": "hall"}}
class Exits(Base):
    def step(self, action): raise SystemExit(0)
class Raises(Base):
    def __init__(self, horizon=3): raise RuntimeError("no licence")
"""
NAMES = re.findall(r"^class (\w+)\(Base\)", ENVIRONMENTS, re.MULTILINE)
FILES: dict[str, str | bytes] = {
    "nested 2,000 deep": "a: " + "[" * 2000 + "]" * 2000,
    "an alias of itself": "a: &a [*a]\n",
    "aliases that multiply (a billion laughs)": "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"{c}: &{c} [{','.join(['*' + p] * 9)}]\n" for p, c in zip("abcdefgh", "bcdefghi", strict=True)),
    "not UTF-8": b"name: \xff\xfe\n",
    "empty": "",
    "a list": "- a\n- b\n",
    "a tab": "name:\tx\n\tarms: {}\n",
    "a key twice": "name: a\nname: b\n",
    "infinity in env.kwargs": "base: {env.kwargs: {x: .inf}}\n",
    "NaN in env.kwargs": "base: {env.kwargs: {x: .nan}}\n",
    "a Python tag": "name: !!python/object/apply:os.system ['true']\n",
    "a name that leaves its folder": "name: ../../x\n",
    "a name that ends in a line break": 'name: "x\\n"\n',
    "a name of 300 letters": f"name: {'x' * 300}\n",
    "seeds above 2^32": "seeds: [4294967296]\n",
    "a hypothesis of 20,000 letters": "hypotheses: ['a > b on m at " + "x=y," * 5000 + " !']\n",
    "an unknown environment": "base: {env.id: suport_desk}\n",
    "a model directory that is not there": "base: {student: {kind: pretrained, path: ./nowhere}}\n",
    "a misspelt key": "armz: {a: {}}\n",
    "a misspelt metric": "hypotheses: ['a > b on eval/sucess']\n",
}
FLIPS = 300
REST = {"name": "x", "question": "Q?", "base": "presets/support_desk_compact", "arms": {"a": {}, "b": {}}, "seeds": 1}


def faults() -> Iterator[Fault]:
    """All of them."""
    for name, text in FILES.items():
        yield Fault(
            "files",
            f"a study file: {name}",
            "refused, one line per mistake, exit 2, nothing left behind",
            lambda place, text=text: _refused(place, text),
        )
    for name in NAMES:
        yield Fault(
            "environments",
            f"an environment with {name}",
            "one line that quotes what came, exit 2; or that trial fails by its name",
            lambda place, name=name: _environment(place, name),
        )
    import bit_flips  # of tests/support, which `python -m` has not on its path before main()

    for name in bit_flips.FILES:
        yield Fault(
            "records",
            f"{FLIPS} random bit flips in {name}",
            "noticed in one line, or without effect; never silent, never a traceback",
            lambda place, name=name: _flips(place, name),
        )
    for name, tail in {
        "a torn row": '{"event": "tri',
        "null": "null\n",
        "a number": "1\n",
        "an empty object": "{}\n",
    }.items():
        yield Fault(
            "records",
            f"a ledger that ends in {name}",
            "a torn row is dropped, any other is one line",
            lambda place, tail=tail: _tail(place, tail),
        )
    yield Fault("received", "a bundle with a numpy.py, verified in its folder", "the file is never imported", _numpy)
    yield Fault("received", "200 one-byte changes in a bundle", "each is noticed", _bundle)


def _refused(place: Path, text: str | bytes) -> str:
    import yaml

    path = place / "s.yaml"
    if isinstance(text, bytes):
        path.write_bytes(text)
    else:
        try:
            own = set(yaml.safe_load(text[:400]) or {}) if len(text) < 400 else set()
        except (yaml.YAMLError, TypeError, RecursionError):
            own = set(REST)
        if text and not text.startswith("-") and not text.startswith("a: "):
            rest = {key: value for key, value in REST.items() if key not in own and f"{key}:" not in text}
            text += yaml.safe_dump(rest)
        path.write_text(text)
    done = command(place, "run", "s.yaml", "--backend", "local")
    assert "Traceback" not in done.err, done.err[-400:]
    assert done.code == 2, f"exit {done.code}: {done.last}"
    assert not (place / "runs").exists() or not any((place / "runs").iterdir()), "a folder was left behind"
    return f"refused: {done.err.strip().splitlines()[0][:140]}"


def _environment(place: Path, name: str) -> str:
    (place / "odd.py").write_text(ENVIRONMENTS)
    words = ["student.recipe.steps=4", "teacher.recipe.steps=2", "student.recipe.success=[0,1]", "steps=2"]
    small = ["rollout.tasks=2", "rollout.group_size=2", "evaluation.tasks=2", "student.hidden=16", "teacher.hidden=16"]
    done = command(
        place,
        "train",
        "presets/support_desk_compact",
        f"env.id=odd:{name}",
        "env.horizon=3",
        *words,
        *small,
    )
    assert "Traceback" not in done.err, done.err[-300:]
    return done.one_line()


def _flips(place: Path, name: str) -> str:
    from bit_flips import FILES as FLIPPED
    from bit_flips import flip_bits, read_run

    file = FLIPPED[name]
    if file.read is read_run:  # of a real run
        study(place)
        assert fake_run(place).code == 0
        folder = place / "runs" / "small"
    else:
        folder = file.make(place)
    seen = flip_bits(folder / file.name, lambda: file.read(folder), FLIPS, random.Random(name))
    assert not seen.wrong, seen.wrong
    return f"{seen.noticed} noticed, {seen.harmless} without effect, none silent, no traceback"


def _tail(place: Path, tail: str) -> str:
    study(place)
    assert fake_run(place).code == 0
    path = place / "runs" / "small" / layout.LEDGER
    path.write_text(path.read_text() + tail)
    done = command(place, "report", "runs/small", "--out", "again")
    assert "Traceback" not in done.err, done.err[-300:]
    return f"exit {done.code}: {done.last.replace(str(place), '')[:130]}"


def _exported(place: Path) -> Path:
    import yaml

    arms = {"a": {}, "b": {"objective.distill_weight.kind": "linear"}}
    (place / "s.yaml").write_text(yaml.safe_dump({**REST, "base": TINY, "arms": arms}))
    assert command(place, "run", "s.yaml", "--backend", "local").code == 0
    assert command(place, "export", "runs/x").code == 0
    assert command(place, "verify", "runs/x/export/bundle").code == 0
    return place / "runs" / "x" / "export" / "bundle"


def _numpy(place: Path) -> str:
    bundle = _exported(place)
    for name in ("numpy", "torch", "yaml", "pydantic", "typer"):
        (bundle / f"{name}.py").write_text("open('ran', 'w').write('x')\nraise SystemExit('mine')\n")
    done = command(bundle, "verify", ".", ATOD_SWEEP_CACHE=str(place / "cache"))
    assert not (bundle / "ran").exists(), "code of the received folder ran"
    assert "mine" not in done.err + done.out
    return f"exit {done.code}: {done.last[:130]}"


def _bundle(place: Path) -> str:
    from atod_sweep.errors import UserError
    from atod_sweep.export.schedule.verify import verify

    bundle = _exported(place)
    rng = random.Random(1)
    files = sorted(path for path in bundle.rglob("*") if path.is_file())
    for _ in range(200):
        path = rng.choice(files)
        whole = path.read_bytes()
        at = rng.randrange(len(whole))
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << rng.randrange(8))]) + whole[at + 1 :])
        try:
            verify(bundle)
        except UserError:
            pass
        else:
            raise AssertionError(f"{path.name}, byte {at}: unnoticed")
        finally:
            path.write_bytes(whole)
    shutil.rmtree(bundle)
    return "200 of 200 noticed, one line each"
