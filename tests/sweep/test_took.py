"""What a run says of its size in its first lines, and where it knows that from."""

from __future__ import annotations

import json

import fake_training
import pytest
from fake_training import FAKE

from atod_sweep.config.files import load_train
from atod_sweep.sweep import took
from atod_sweep.sweep.studies.run_study import run_study
from atod_sweep.sweep.took import Pace, Took, trial_seconds

STEP = {"seconds/rollout": 0.3, "seconds/score": 0.1, "seconds/update": 0.1}


def config(**overrides):
    base = {"steps": 40, "evaluation.every": 10, "evaluation.tasks": 64}
    return load_train("presets/support_desk_compact", base | overrides).model_dump(mode="json")


def rows(steps, evaluations=1.0):
    found = [{"phase": "eval", "step": 0, "seconds/eval": evaluations}]
    found += [{"phase": "train", "step": step, **STEP} for step in range(steps)]
    return found


@pytest.fixture(autouse=True)
def _no_earlier_trials(tmp_path, monkeypatch):
    monkeypatch.setenv("ATOD_SWEEP_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("seen", "seconds"),
    [
        ([], None),
        (rows(0), None),
        (rows(1), None),  # the first step warms caches
        (rows(3)[1:], None),  # without an evaluation
        (rows(2), 2 + 40 * 0.5 + 5 * 1.0),
        ([*rows(3), {"phase": "train", "step": 3, "seconds/update": 9.0}], 2 + 40 * 0.5 + 5 * 1.0),  # a median
        ([{"phase": "train", "step": 1, "loss": 0.1}, {"phase": "eval", "step": 10}], None),  # a trainer without times
    ],
)
def test_a_trial_is_as_long_as_its_first_steps_say(seen, seconds):
    assert trial_seconds(config(), seen) == (None if seconds is None else pytest.approx(seconds))


def test_final_sets_are_part_of_it():
    final = {"evaluation.final.sets": 8, "evaluation.final.tasks": 32}
    assert trial_seconds(config(**final), rows(2)) == pytest.approx(2 + 40 * 0.5 + (5 + 8 * 32 / 64) * 1.0)


def test_what_was_kept_is_there_for_trials_of_the_same_size_and_damage_is_nothing():
    size = took.size_of(config())
    assert took.before(size) is None
    took.keep(size, Took(12.5, 10**8))
    assert took.before(took.size_of(config(seed=3, **{"optimiser.lr": 0.01}))) == Took(12.5, 10**8)
    assert took.before(took.size_of(config(steps=41))) is None
    for damaged in ("", "[]", '{"hours": 1}'):
        took._place(size).write_text(damaged)
        assert took.before(size) is None


def test_the_pace_is_known_once_every_size_is():
    short, long = config(), config(steps=80)
    pace = Pace([short, short, long], are_ours=True)
    assert pace.mean is None
    pace.hear("a", short, rows(2))
    assert pace.mean is None
    pace.hear("b", long, rows(1))
    pace.hear("b", long, [{"phase": "train", "step": 1, **STEP}])
    assert pace.mean == pytest.approx((2 * 27.0 + (2 + 80 * 0.5 + 9)) / 3)
    took.keep(took.size_of(short), Took(10.0))
    took.keep(took.size_of(long), Took(40.0))
    assert Pace([short, short, long], are_ours=True).mean == pytest.approx(20.0)
    assert Pace([short, short, long], are_ours=False).mean is None


def _lines(capsys):
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith(("memory:", "time:"))]


def test_a_run_says_what_its_trials_take_once_that_is_known(write_study, tmp_path, capsys, monkeypatch):
    """On a first run after some steps; on the next one, of our own trainer, at its start."""

    def train(config, directory, report, resume=False):
        report([{**row, "eval/success": 0.2} for row in rows(0)])
        report([*rows(10)[1:], {"phase": "eval", "step": 40, "eval/success": 0.4, "seconds/eval": 1.0}])
        return fake_training.Result({"eval/success": 0.4}, {})

    monkeypatch.setattr(fake_training, "train", train)
    study = write_study(base={"steps": 40, "evaluation.every": 10})
    run_study(study, out=tmp_path / "runs", backend="local", trainer=FAKE)
    memory, before, after = _lines(capsys)
    # 2 layers of (4 · 64² + 3 · 64 · 192 + 2 · 64) and 64 more
    assert memory.startswith("memory: 0.1 M parameters are trained, 2 MB with gradients and optimiser, of ")
    assert before == "time: told after the first steps; --dry-run times some before"
    assert after == "time: 4 trials of about 0:27, 1 at a time: about 1:48"
    assert not (tmp_path / "cache").exists()  # other trainers tell nothing of ours

    monkeypatch.setattr("atod_sweep.sweep.session.Trainer", lambda: FAKE)
    run_study(study, out=tmp_path / "runs", name="again", backend="local", trainer=FAKE)
    capsys.readouterr()
    (kept,) = (tmp_path / "cache" / "took").iterdir()
    assert json.loads(kept.read_text())["memory"] > 10**7  # this process
    kept.write_text(json.dumps({"seconds": 90.0, "memory": 5 * 10**8}))
    run_study(study, out=tmp_path / "runs", name="third", backend="local", trainer=FAKE)
    memory, time = _lines(capsys)
    assert memory.startswith("memory: a trial's process held up to 500 MB when one ran here, of ")
    assert time == "time: 4 trials of about 1:30, 1 at a time: about 6:00"


def test_a_file_that_says_its_time_is_quoted(write_study, tmp_path, capsys):
    path = write_study()
    path.write_text("# Measured: 80 seconds on two CPU cores.\n" + path.read_text())
    run_study(path, out=tmp_path / "runs", backend="local", trainer=FAKE)
    assert _lines(capsys)[1:] == ["time: its file says: 80 seconds on two CPU cores"]


@pytest.mark.slow
def test_a_dry_run_tells_the_parts_of_compact_models():
    from small import tiny

    from atod_sweep.config.study import Resources
    from atod_sweep.config.train import model_key
    from atod_sweep.sweep.preflight import of_compact
    from atod_sweep.training.pretraining import cache

    trial = tiny()
    data = trial.model_dump(mode="json")
    (line,) = of_compact([data, {**data, "seed": 1}], Resources(), 2, {model_key(data): cache.ensure(trial)})
    assert line.startswith("memory: a trial needs about ")
    assert "libraries 45 MB, activations" in line
