"""TensorBoard and W&B beside MLflow: what their files hold, also after a resume; a broken one stops nothing."""

from __future__ import annotations

from typing import ClassVar

import pytest
from fake_training import FAKE
from ledger_files import study_row, trial_row
from no_mlflow import NoMlflow

from atod_sweep import api
from atod_sweep.errors import UserError
from atod_sweep.records import ledger
from atod_sweep.records.answer import Answer
from atod_sweep.sweep import session
from atod_sweep.sweep.loggers import content
from atod_sweep.sweep.loggers.choice import LOGGERS, checked
from atod_sweep.sweep.resume import resume_run
from atod_sweep.sweep.studies.run_study import run_study

ANSWER = Answer("**Borne out.**", {"best/mean": 0.9, "trials/complete": 4.0}, {"verdicts": "fast > slow: supported"})
ARMS = {"fast": {"optimiser.lr": 0.02}, "flaky": {"env.kwargs": {"fault": "flaky"}}}


@pytest.fixture(autouse=True)
def _no_mlflow(monkeypatch):
    monkeypatch.setattr(session, "is_installed", lambda: False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("WANDB_PROJECT", "WANDB_DIR", "WANDB_RUN_GROUP", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def go(write_study, tmp_path):
    def go(*loggers, **changes):
        path = write_study(**{"arms": ARMS, "reference": "fast", **changes})
        return run_study(
            path,
            out=tmp_path / "runs",
            backend="local",
            trainer=FAKE,
            loggers=loggers,
            max_retries=0,
            after=lambda folder: ANSWER,
        )

    return go


def again(folder):
    """Resumes, which tries the flaky trials anew, with the loggers that the run was started with."""
    return resume_run(folder, trainer=FAKE, after=lambda folder: ANSWER)


# ---- the choice ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["wadb"], r"--logger 'wadb': unknown; did you mean 'wandb'\? known: wandb, tensorboard"),
        (["tensorboard", "comet"], "--logger 'comet': unknown; known: wandb, tensorboard"),
        (["mlflow"], r"--logger 'mlflow': unknown; .* \(MLflow is written to in any case\)"),
    ],
)
def test_an_unknown_logger_is_refused_before_anything_runs(go, tmp_path, monkeypatch, names, said):
    monkeypatch.setitem(LOGGERS, "tensorboard", (LOGGERS["tensorboard"][0], lambda: None))
    with pytest.raises(UserError, match=said):
        go(*names)
    assert not (tmp_path / "runs").exists()


def test_sync_says_that_it_brings_mlflow_up_to_date_too(tmp_path):
    with pytest.raises(UserError, match=r"'wnb': unknown; .*known: mlflow, wandb, tensorboard$"):
        api.sync(tmp_path, logger="wnb")


@pytest.mark.parametrize("name", LOGGERS)
def test_a_missing_package_is_one_line_that_names_the_extra(monkeypatch, name):
    monkeypatch.setattr(f"atod_sweep.sweep.loggers.{name}.find_spec", lambda package: None)
    with pytest.raises(UserError, match=rf"--logger '{name}': needs a package; pip install \"atod-sweep\[{name}\]\""):
        checked([name])


class Broken:
    """A logger whose library raises wherever it is used."""

    name, option, place = "Broken", " --logger broken", "nowhere"

    def __init__(self, run_dir, study):
        pass

    def _fail(self, *args):
        raise RuntimeError("no such thing")

    begin = trial = end = _fail

    def explain(self, error):
        return f"Broken says: {error}"


def test_a_logger_that_fails_stops_nothing_and_says_so(go, monkeypatch, capsys):
    monkeypatch.setattr("atod_sweep.sweep.loggers.background.INTERVAL", 0.05)
    monkeypatch.setitem(LOGGERS, "broken", (Broken, lambda: None))
    outcome = go("broken", arms={"slow": {}, "fast": {"optimiser.lr": 0.02}})
    assert outcome.ok
    (line,) = {line for line in capsys.readouterr().out.splitlines() if "behind" in line}
    assert line == (
        "Broken is behind the ledger (Broken says: no such thing); "
        f"catch up with: atod-sweep sync {outcome.run_dir} --logger broken"
    )


def test_the_command_line_and_the_ledger_keep_the_choice(go, monkeypatch, capsys):
    made = []
    monkeypatch.setattr(session, "Background", lambda logger, *rest: made.append(logger) or NoMlflow())
    for name in LOGGERS:
        monkeypatch.setitem(LOGGERS, name, (lambda run_dir, study, name=name: name, lambda: None))
    folder = go("tensorboard", "wandb", "tensorboard").run_dir
    assert made == ["tensorboard", "wandb"]
    assert ledger.read(folder)[0]["started_with"] == {"backend": "local", "loggers": ["tensorboard", "wandb"]}
    again(folder)
    assert made == ["tensorboard", "wandb"] * 2


# ---- what they hold --------------------------------------------------------------------------------------------------


def curve(seed=0):
    return {step: pytest.approx(0.1 + 0.02 * step + seed / 1000, abs=1e-6) for step in (0, 10, 20, 30, 40)}


@pytest.mark.slow
def test_tensorboard_has_a_folder_per_trial_also_after_a_resume(go):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def check(folder, runs):
        assert {path.name for path in (folder / "tensorboard").iterdir()} == runs
        for run in runs:
            assert len(list((folder / "tensorboard" / run).iterdir())) == 1  # one file, nothing doubled
        events = EventAccumulator(str(folder / "tensorboard" / "fast-s1")).Reload()
        assert {event.step: event.value for event in events.Scalars("eval/success")} == {
            **curve(1),
            40: pytest.approx(0.901, abs=1e-6),
        }
        assert [event.step for event in events.Scalars("loss")] == [10, 20, 30, 40]
        assert events.Scalars("cost/env_steps")[-1].value == 2560.0
        hyperparameters = events.SummaryMetadata("_hparams_/session_start_info")
        assert b"optimiser.lr" in hyperparameters.plugin_data.content
        study = EventAccumulator(str(folder / "tensorboard" / "study")).Reload()
        assert study.Scalars("best/mean")[0].value == pytest.approx(0.9)
        assert study.Tensors("answer")[0].tensor_proto.string_val == [b"**Borne out.**"]

    folder = go("tensorboard").run_dir
    runs = {"fast-s0", "fast-s1", "flaky-s0", "flaky-s1", "study"}
    check(folder, runs)
    again(folder)
    check(folder, runs)
    flaky = EventAccumulator(str(folder / "tensorboard" / "flaky-s0")).Reload()
    assert [event.step for event in flaky.Scalars("eval/success")] == [0, 10, 20, 30, 40, 40]  # its total, too
    for left in (folder / "tensorboard").rglob("events*"):
        left.unlink()
    assert api.sync(folder, logger="tensorboard") == 4  # from the run's files alone


@pytest.mark.slow
def test_wandb_offline_has_a_run_per_trial_and_the_studys_also_after_a_resume(go):
    pytest.importorskip("wandb")
    from wandb_files import offline_runs

    folder = go("wandb", seeds=1).run_dir
    for attempt in (1, 2):
        runs = offline_runs(folder)  # which refuses a run that is there twice
        assert set(runs) == {"fast-s0", "flaky-s0", "small"}
        fast, flaky, study = runs["fast-s0"], runs["flaky-s0"], runs["small"]
        assert (fast["project"], fast["group"], fast["kind"], fast["tags"]) == ("atod-sweep", "small", "fast", ["arm"])
        assert (fast["config"]["optimiser"]["lr"], fast["config"]["arm"], fast["config"]["seed"]) == (0.02, "fast", 0)
        points = {row["_step"]: row["eval/success"] for row in fast["history"] if "eval/success" in row}
        assert points == curve()
        assert [row["_step"] for row in fast["history"] if "loss" in row] == [10, 20, 30, 40]
        assert (fast["summary"]["state"], fast["summary"]["cost/env_steps"], fast["exit"]) == ("COMPLETE", 2560, 0)
        assert (flaky["summary"]["state"], flaky["exit"]) == (("FAILED", 1) if attempt == 1 else ("COMPLETE", 0))
        if attempt == 1:
            assert flaky["summary"]["error"].startswith("environment_failed: ")
        assert (study["kind"], study["notes"], study["exit"]) == ("study", "**Borne out.**", 0)
        assert study["summary"]["best/mean"] == 0.9
        assert study["summary"]["verdicts"] == "fast > slow: supported"
        again(folder)


@pytest.mark.slow
def test_wandb_online_without_a_login_is_refused_at_once(go, monkeypatch, tmp_path):
    pytest.importorskip("wandb")
    import wandb

    monkeypatch.setattr(wandb, "login", lambda **how: how != {"verify": False, "prompt": False})
    monkeypatch.setattr(wandb, "setup", lambda: type("S", (), {"settings": type("T", (), {"mode": "online"})}))
    with pytest.raises(UserError, match="--logger 'wandb': nobody is logged in; wandb login, or set WANDB_MODE=offl"):
        go("wandb")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "key",
    [
        "eval/[x](http://evil)",
        "eval/../x",
        "eval//x",
        "eval/",
        "/a",
        ".",
        "..",
        "",
        "/" * 300,
        "eval/a/" * 60,
        "é" * 300,
    ],
)
def test_every_name_of_an_environment_is_one_that_mlflow_takes(key):
    validation = pytest.importorskip("mlflow.utils.validation")
    validation._validate_metric_name(content.name(key))
    assert content.name("eval/my room: 1") == "eval/my room: 1"


@pytest.mark.parametrize(
    ("one", "other"), [("a+b", "a*b"), ("a+b", "a_b"), ("a/..", "a/_.."), ("eval/x@4", "eval/x_4")]
)
def test_keys_that_differ_in_signs_that_mlflow_refuses_stay_apart(one, other):
    assert sorted(content.params({one: 1, other: 2}).values()) == ["1", "2"]
    assert content.name("eval/pass@4") == "eval/pass_4"


class Handle:
    """A run or a file of a library, which knows whether it is open."""

    made: ClassVar[list[Handle]] = []

    def __init__(self, *args):
        self.open = True
        self.config = self.summary = self
        self.made.append(self)

    def close(self, exit_code=0):
        self.open = False

    finish = close

    def log(self, *args, **more):
        pass

    update = scalars = flush = hyperparameters = log


@pytest.mark.parametrize("name", LOGGERS)
def test_a_logger_that_begins_anew_leaves_nothing_open_that_was(tmp_path, monkeypatch, name):
    monkeypatch.setattr(Handle, "made", [])
    monkeypatch.setattr("atod_sweep.sweep.loggers.tensorboard._EventFile", Handle)
    monkeypatch.setattr("atod_sweep.sweep.loggers.wandb.WandB._open", lambda *args: Handle())
    (tmp_path / "trials" / "a-s0").mkdir(parents=True)
    (tmp_path / "trials" / "a-s0" / "config.yaml").write_text("{steps: 1}")
    logger = LOGGERS[name][0](tmp_path, study_row())
    for begun in (1, 2):
        logger.begin()
        logger.trial(trial_row())
        assert [handle.open for handle in Handle.made].count(True) == len(Handle.made) / begun


@pytest.mark.parametrize("longest", [249, 250, 251, 400])
def test_long_keys_that_begin_alike_stay_apart(longest):
    stem = "k" * (longest - 1)
    found = content.params({stem + "a": 1, stem + "b": 2})
    assert sorted(found.values()) == ["1", "2"]
    assert {len(key) for key in found} == {min(longest, 250)}
