"""A study run in this process: files, states, resuming, refusals."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import fake_training as fake
import pytest
import yaml
from fake_training import ENDINGS, FAKE
from no_mlflow import NoMlflow
from stub_api import Stub

from atod_sweep.config.base import load_yaml
from atod_sweep.config.train import Train, model_key
from atod_sweep.errors import UserError
from atod_sweep.records import ledger
from atod_sweep.records.metrics import read_metrics
from atod_sweep.sweep.backends import local
from atod_sweep.sweep.record.progress import choose
from atod_sweep.sweep.resume import resume_run
from atod_sweep.sweep.studies import run_study as run
from atod_sweep.sweep.studies.run_study import run_study

pytestmark = pytest.mark.usefixtures("no_mlflow")


@pytest.fixture
def go(tmp_path):
    def go(path, **options):
        return run_study(path, out=tmp_path / "runs", **{"backend": "local", "trainer": FAKE, **options})

    return go


def states(run_dir):
    return {trial: row["state"] for trial, row in ledger.fold(ledger.read(run_dir)).trials.items()}


def failures(outcome):
    """The last rows of the trials that failed."""
    rows = ledger.fold(ledger.read(outcome.run_dir)).trials.values()
    return [row for row in rows if row["state"] == "FAILED"]


def test_a_finished_study_leaves_everything(write_study, go, capsys):
    seen = []
    outcome = go(write_study(controls=["teacher"]), after=seen.append)
    folder = outcome.run_dir
    assert (outcome.total, outcome.complete, outcome.failed, outcome.interrupted) == (5, 5, 0, False)
    assert seen == [folder]
    assert load_yaml(folder / "study.yaml")["name"] == "small"
    history = ledger.fold(ledger.read(folder))
    study = history.study
    assert study["reference"] == "slow"
    assert study["arms"] == ["slow", "fast"]
    assert study["models"]["teacher"]["success"] == 0.5
    assert study["numerics"] >= 1
    assert study["versions"]["python"].startswith("3.")
    row = history.trials["fast-s1"]
    assert row["metrics"] == {"eval/success": pytest.approx(0.1 + 0.02 * 40 + 0.001)}
    assert row["start_metrics"] == {"eval/success": pytest.approx(0.101)}
    assert row["cost"] == {"env_steps": 2560.0}
    assert (row["attempt"], row["error"], row["role"]) == (1, None, "arm")
    teacher = history.trials["teacher-s0"]
    assert teacher["metrics"]["eval/path_length"] == len("/models/teacher-[8]")
    assert Train.model_validate(load_yaml(folder / "trials/fast-s1/config.yaml")).optimiser.lr == 0.02
    rows = read_metrics(folder / "trials/fast-s1/metrics.jsonl")
    assert [(r["phase"], r["step"]) for r in rows if r["phase"] == "eval"] == [("eval", s) for s in (0, 10, 20, 30, 40)]
    assert rows[1]["turn_weight"] == [1.0, 0.5]
    lines = capsys.readouterr().out.splitlines()
    assert sum("complete" in line for line in lines) == 5
    assert any(line.startswith("5/5 complete") for line in lines)


def test_the_score_is_the_mean_over_the_last_evaluations(write_study, go):
    outcome = go(write_study(metric={"last": 3}, seeds=1))
    row = ledger.fold(ledger.read(outcome.run_dir)).trials["slow-s0"]
    assert row["score"] == pytest.approx(0.1 + 0.01 * 30)
    assert row["metrics"]["eval/success"] == pytest.approx(0.5)


FAULTS = {
    "diverge": ("diverged", "Diverged"),
    "bug": ("exception", "KeyError"),
    "nan": ("nan_metric", "StoppedError"),
}


def test_a_failing_trial_is_recorded_and_takes_nothing_down(write_study, go):
    arms = {"fine": {}, **{fault: {"env.kwargs": {"fault": fault}} for fault in FAULTS}}
    outcome = go(write_study(arms=arms, seeds=1))
    assert (outcome.complete, outcome.failed) == (1, 3)
    history = ledger.fold(ledger.read(outcome.run_dir))
    for fault, (status, kind) in FAULTS.items():
        row = history.trials[f"{fault}-s0"]
        assert row["state"] == "FAILED"
        assert (row["error"]["status"], row["error"]["type"], row["attempt"]) == (status, kind, 1)
        assert "Traceback" in row["error"]["traceback"]
        assert "metrics" not in row
    assert {row["trial"] for row in failures(outcome)} == {"diverge-s0", "bug-s0", "nan-s0"}


@pytest.mark.parametrize("workers", [1, 2])
def test_what_would_end_the_process_ends_the_trial(write_study, go, workers):
    arms = {"fine": {}, **{fault: {"env.kwargs": {"fault": fault}} for fault in ENDINGS}}
    outcome = go(write_study(arms=arms, seeds=1), concurrency=workers)
    assert (outcome.complete, outcome.failed, outcome.interrupted) == (1, len(ENDINGS), False)
    history = ledger.fold(ledger.read(outcome.run_dir))
    for fault, make in ENDINGS.items():
        error = history.trials[f"{fault}-s0"]["error"]
        assert (error["status"], error["type"]) == ("exception", type(make()).__name__)
        assert error["message"].startswith(f"the trial's code raised {make()!r}, which ends a process")


def test_what_no_file_takes_is_spelled_out(write_study, go):
    outcome = go(write_study(arms={"fine": {}, "half": {"env.kwargs": {"fault": "half"}}}, seeds=1))
    assert (outcome.complete, outcome.failed) == (1, 1)
    assert failures(outcome)[0]["error"]["message"] == r"half a character: \ud83d"


def test_a_trial_cannot_swallow_ctrl_c(write_study, go, monkeypatch):
    import fake_training

    real = fake_training.train

    def deaf(config, directory, report, resume=False):
        try:
            signal.raise_signal(signal.SIGINT)
        except BaseException:
            return real(config, directory, report, resume=resume)

    monkeypatch.setattr(fake_training, "train", deaf)
    outcome = go(write_study())
    assert outcome.interrupted
    assert states(outcome.run_dir) == {"slow-s0": "FAILED"}
    (row,) = ledger.fold(ledger.read(outcome.run_dir)).trials.values()
    assert row["error"]["status"] == "interrupted"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


IN_PROCESS = """
import sys
sys.path[:0] = sys.argv[3:]
from pathlib import Path
from fake_training import FAKE
from no_mlflow import NoMlflow
from stub_api import Stub
from atod_sweep.sweep import session
from atod_sweep.sweep.studies.run_study import run_study
session.Mirror = session.Background = NoMlflow
run_study(Path(sys.argv[1]), out=Path(sys.argv[2]), trainer=FAKE, backend="local")
"""


def test_a_resumed_run_names_the_trial_that_took_the_process_with_it(write_study, tmp_path, capsys):
    path = write_study(arms={"fine": {}, "die": {"env.kwargs": {"fault": "die"}}}, seeds=1)
    command = [sys.executable, "-c", IN_PROCESS, str(path), str(tmp_path), str(Path(fake.__file__).parent)]
    assert subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode == 9
    outcome = resume_run(tmp_path / "small", backend="local", trainer=FAKE)
    assert outcome.complete == 2
    assert "under way when the last process was gone, and now tried again: die-s0\n" in capsys.readouterr().out


def test_foreign_code_runs_in_a_worker_even_one_at_a_time(write_study, go):
    """Where a trial's death costs one attempt."""
    env = {"env.id": "odd_env:Told", "env.kwargs": {"fault": "die"}}
    outcome = go(write_study(arms={"die": env, "fine": {}}, seeds=1))
    assert (outcome.complete, outcome.failed) == (2, 0)
    assert [row["error"]["status"] for row in ledger.read(outcome.run_dir) if row.get("state") == "FAILED"] == [
        "worker_died"
    ]


@pytest.mark.parametrize(
    ("at_a_time", "asked", "env_ids", "workers"),
    [
        (1, None, ["planner", "webshop"], 0),
        (1, 1, ["planner"], 0),
        (1, None, ["planner", "mine:Env"], 1),
        (1, None, ["CartPole-v1"], 1),
        (1, 1, ["mine:Env"], 0),
        (3, 3, ["planner"], 3),
        (2, None, ["mine:Env"], 2),
    ],
)
def test_how_many_workers(at_a_time, asked, env_ids, workers):
    assert local.workers_for(at_a_time, asked, env_ids) == workers


def test_a_script_without_a_guard_is_told_of_it(write_study, tmp_path):
    path = write_study(base={"env.id": "echo_env:Echo"})
    script = tmp_path / "script.py"
    script.write_text(IN_PROCESS)
    command = [sys.executable, str(script), str(path), str(tmp_path), str(Path(fake.__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no worker can start, the first one ended with exit code 1; a script that runs studies" in done.stderr


def test_a_metric_that_this_config_lacks_fails_at_step_0_and_says_what_there_is(write_study, go):
    outcome = go(write_study(metric={"name": "eval/f1"}, seeds=1))
    assert outcome.failed == 2
    error = failures(outcome)[0]["error"]
    assert error["status"] == "missing_metric"
    assert "'eval/f1'" in error["message"]
    assert "reports eval/success" in error["message"]
    assert failures(outcome)[0]["start_metrics"] == {}


@pytest.mark.parametrize("metric", ["loss", "cost/env_steps"])
def test_numbers_of_training_are_no_metrics_of_evaluations(metric, write_study, go):
    """They are in training rows, which begin later, and a model that is not trained has none."""
    outcome = go(write_study(metric={"name": metric}, controls=["teacher"], hypotheses=[f"fast > slow on {metric}"]))
    assert (outcome.failed, outcome.complete) == (0, 5)
    rows = ledger.fold(ledger.read(outcome.run_dir)).trials
    assert rows["fast-s0"]["score"] == {"loss": 1 / 40, "cost/env_steps": 64.0 * 40}[metric]
    assert rows["teacher-s0"]["score"] is None
    assert outcome.ok


def test_a_passing_failure_is_tried_again_from_its_checkpoint(write_study, go):
    arms = {"flaky": {"env.kwargs": {"fault": "flaky"}}, "fine": {}}
    outcome = go(write_study(arms=arms, seeds=1))
    assert (outcome.complete, outcome.failed) == (2, 0)
    rows = [row for row in ledger.read(outcome.run_dir) if row["event"] == "trial"]
    assert [(row["trial"], row["attempt"], row["state"]) for row in rows] == [
        ("flaky-s0", 1, "RUNNING"),
        ("flaky-s0", 1, "FAILED"),
        ("flaky-s0", 2, "RUNNING"),
        ("flaky-s0", 2, "COMPLETE"),
        ("fine-s0", 1, "RUNNING"),
        ("fine-s0", 1, "COMPLETE"),
    ]
    flaky, fine = (read_metrics(outcome.run_dir / f"trials/{arm}-s0/metrics.jsonl") for arm in ("flaky", "fine"))
    assert [r for r in flaky if r["phase"] == "eval"] == [r for r in fine if r["phase"] == "eval"]
    assert len(flaky) == len(fine)


def test_ctrl_c_leaves_a_run_that_resume_finishes_as_if_nothing_had_happened(write_study, go, monkeypatch):
    path = write_study()
    whole = go(path, name="whole")
    import fake_training

    real, calls = fake_training.train, []

    def interrupted(config, directory, report, resume=False):
        calls.append(config.seed)
        if len(calls) == 3:

            def stop(rows):
                report(rows)
                if rows[-1]["step"] == 20:
                    signal.raise_signal(signal.SIGINT)

            return real(config, directory, stop, resume=resume)
        return real(config, directory, report, resume=resume)

    monkeypatch.setattr(fake_training, "train", interrupted)
    first = go(path)
    assert first.interrupted
    assert ledger.fold(ledger.read(first.run_dir)).trials["slow-s1"]["seconds"] > 0
    assert states(first.run_dir) == {"slow-s0": "COMPLETE", "fast-s0": "COMPLETE", "slow-s1": "FAILED"}
    monkeypatch.setattr(fake_training, "train", real)
    second = resume_run(first.run_dir, backend="local", trainer=FAKE)
    assert (second.complete, second.failed, second.interrupted) == (4, 0, False)
    rows = [row for row in ledger.read(first.run_dir) if row["event"] == "trial" and row["state"] == "COMPLETE"]
    assert sorted(row["trial"] for row in rows) == ["fast-s0", "fast-s1", "slow-s0", "slow-s1"]  # none ran twice
    for trial in states(first.run_dir):
        files = [folder / "trials" / trial / "metrics.jsonl" for folder in (first.run_dir, whole.run_dir)]
        without_pid = [[{**r, "pid": 0} for r in read_metrics(file)] for file in files]
        assert without_pid[0] == without_pid[1]


def test_a_run_is_never_overwritten_or_mixed_up_in_silence(write_study, go):
    path = write_study()
    folder = go(path).run_dir
    with pytest.raises(UserError, match=r"4 of 4 trials complete.*--resume.*--name small-2.*--overwrite"):
        go(path)
    write_study(base={"steps": 40, "evaluation.every": 10, "optimiser.lr": 0.03})
    for options in ({}, {"resume": True}, {"extend": True}):
        with pytest.raises(UserError, match=r"optimiser.lr: 0.01 → 0.03"):
            go(path, **options)
    before = (folder / "ledger.jsonl").read_bytes()
    assert go(path, overwrite=True).complete == 4
    (old,) = (folder.parent / ".trash").iterdir()
    assert (old / "ledger.jsonl").read_bytes() == before


def test_extending_runs_what_is_new_and_keeps_what_is_there(write_study, go):
    path = write_study(hypotheses=["fast > slow"])
    folder = go(path).run_dir
    path = write_study(
        arms={"slow": {}, "fast": {"optimiser.lr": 0.02}, "faster": {"optimiser.lr": 0.03}},
        hypotheses=["fast > slow", "faster > fast"],
    )
    with pytest.raises(UserError, match=r"arms.faster.optimiser.lr: absent → 0.03.*--extend"):
        go(path, resume=True)
    outcome = go(path, extend=True, seeds=3)
    assert outcome.complete == outcome.total == 9
    rows = [row for row in ledger.read(folder) if row["event"] == "trial" and row["state"] == "COMPLETE"]
    assert len(rows) == 9
    first, last = ledger.fold(ledger.read(folder)).studies
    assert [h["sentence"] for h in first["hypotheses"]] == ["fast > slow on eval/success"]
    assert len(last["hypotheses"]) == 2
    assert first["id"] == last["id"]
    assert resume_run(folder, backend="local", trainer=FAKE).complete == 9
    with pytest.raises(UserError, match=r"seeds: \[0, 1, 2\] → \[0\]"):
        go(path, extend=True, seeds=1)


def test_a_number_of_seeds_takes_the_first_of_a_list_or_goes_on_after_it(write_study, go):
    path = write_study()
    path.write_text(path.read_text().replace("seeds: 2", "seeds: [7, 2]"))
    for seeds, how, ran in ((1, {}, [7]), (4, {"extend": True}, [7, 2, 8, 9]), (4, {"resume": True}, [7, 2, 8, 9])):
        rows = ledger.read(go(path, seeds=seeds, **how).run_dir)
        assert ledger.fold(rows).studies[-1]["seeds"] == ran
    for seeds, said in ((0, "at least one seed.*got 0"), (10**9, "at most 100000 of them, got 1000000000")):
        with pytest.raises(UserError, match=said):
            go(path, seeds=seeds, extend=True)


def test_output_that_cannot_be_written_and_folders_of_others_are_refused(write_study, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/small: cannot be written: .*--out"):
        run_study(write_study(), out=tmp_path / "file", backend="local", trainer=FAKE)
    (tmp_path / "runs" / "small").mkdir(parents=True)
    (tmp_path / "runs" / "small" / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="not the folder of a run"):
        run_study(write_study(), out=tmp_path / "runs", backend="local", trainer=FAKE)


def test_json_output_is_one_object_per_event(write_study, go, capsys):
    go(write_study(seeds=1), show=choose(json_output=True))
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    told = [e["event"] for e in events if e["event"] not in ("doing", "evaluation")]
    assert told == ["begin", "memory", "time", "models", *["trial"] * 4]
    assert [e["step"] for e in events if e["event"] == "evaluation" and e["trial"] == "slow-s0"][-1] == 40
    last = [e for e in events if e["event"] == "trial"][-1]
    assert (last["done"], last["failed"], last["total"], last["best"]) == (2, 0, 2, "fast 0.90")


def test_a_study_read_back_from_its_folder_has_the_same_definition(write_study, go):
    tools = {"env.id": "tool_use", "env.horizon": 8}
    levels = {"short": {"env.horizon": 6}, "long": {"env.horizon": 14}, "tools": tools}
    path = write_study(factors={"task": levels}, seeds=1)
    folder = go(path).run_dir
    study = yaml.safe_load((folder / "study.yaml").read_text())
    path.unlink()
    assert study["factors"]
    assert resume_run(folder, backend="local", trainer=FAKE).complete == 6


def test_only_the_folder_of_a_run_is_moved_aside(write_study, go):
    path = write_study()
    thesis = path.parent / "runs" / "small" / "thesis.tex"
    thesis.parent.mkdir(parents=True)
    thesis.write_text("years of work")
    with pytest.raises(UserError, match="is not the folder of a run; use --name"):
        go(path, overwrite=True)
    assert [found.name for found in thesis.parent.parent.rglob("*")] == ["small", "thesis.tex"]


def test_every_pair_of_models_is_on_record(write_study, go):
    levels = {"desk": {"env.horizon": 6}, "tools": {"env.id": "tool_use", "env.horizon": 8}}
    folder = go(write_study(factors={"task": levels}, seeds=1)).run_dir
    history = ledger.fold(ledger.read(folder))
    assert history.study["models"]["teacher"]["path"] == "/models/teacher-[6]"
    taught = {}
    for trial, row in history.trials.items():
        config = load_yaml(folder / "trials" / trial / "config.yaml")
        taught[row["levels"]["task"]] = history.study["pairs"][model_key(config)]["teacher"]["path"]
    assert taught == {"desk": "/models/teacher-[6]", "tools": "/models/teacher-[8]"}


def test_a_metric_of_a_claim_is_asked_of_trials_at_its_own_levels_alone(write_study, go):
    factors = {"horizon": {"short": {"env.horizon": 6}, "long": {"env.horizon": 8}}}
    claims = ["fast > slow on eval/f1 at horizon=short"]
    folder = go(write_study(hypotheses=claims, factors=factors, seeds=1)).run_dir
    ended = {trial: row["state"] for trial, row in ledger.fold(ledger.read(folder)).trials.items()}
    assert {state for trial, state in ended.items() if "short" in trial} == {"FAILED"}
    assert {state for trial, state in ended.items() if "long" in trial} == {"COMPLETE"}


def test_a_metric_of_a_claim_that_trials_lack_ends_them_at_their_first_evaluation(write_study, go):
    metric = "eval/f1"
    folder = go(write_study(hypotheses=[f"fast > slow on {metric}"], seeds=1)).run_dir
    for trial, row in ledger.fold(ledger.read(folder)).trials.items():
        assert (row["state"], row["error"]["status"]) == ("FAILED", "missing_metric")
        assert f"the trial reports no {metric!r}; it reports eval/success" in row["error"]["message"]
        assert len(read_metrics(folder / "trials" / trial / "metrics.jsonl")) == 0


def test_a_report_that_fails_leaves_no_run_open_in_mlflow(write_study, go, monkeypatch):
    ends = []
    monkeypatch.setattr(NoMlflow, "close", lambda self, status, answer=None: ends.append(status))

    def broken(folder):
        raise OSError("no space")

    with pytest.raises(
        UserError, match=r"the report cannot be written: no space; .* make room, then atod-sweep report"
    ):
        go(write_study(seeds=1), after=broken)
    assert ends == ["FAILED"]


def test_a_dry_run_counts_final_sets_without_playing_them(write_study, monkeypatch):
    import fake_training

    def train(config, directory, report, resume=False):
        assert config.evaluation.final is None
        report([{"phase": "train", "step": s, "seconds/rollout": 0.5} for s in range(config.steps)])
        report([{"phase": "eval", "step": config.steps, "seconds/eval": 1.0}])
        return fake_training.Result({}, {})

    monkeypatch.setattr(fake_training, "train", train)
    base = {"steps": 40, "evaluation": {"every": 10, "tasks": 64, "final": {"sets": 4, "tasks": 256}}}
    found = run.dry_run(write_study(base=base, seeds=3), trainer=FAKE)
    assert found.trial_seconds == pytest.approx(40 * 0.5 + 5 + 2 + 4 * 256 / 64)


def test_a_dry_run_times_a_few_steps_and_multiplies(write_study, tmp_path, monkeypatch):
    import fake_training

    def train(config, directory, report, resume=False):
        report([{"phase": "eval", "step": 0, "seconds/eval": 1.0}])
        timed = [
            {"phase": "train", "step": s, "seconds/rollout": 0.3, "seconds/update": 0.2} for s in range(config.steps)
        ]
        timed[0]["seconds/update"] = 9.0  # a cold start that must not count
        report([*timed, {"phase": "eval", "step": config.steps, "seconds/eval": 1.0}])
        return fake_training.Result({}, {"env_steps": 100.0 * config.steps, "tokens": 1000.0 * config.steps})

    monkeypatch.setattr(fake_training, "train", train)
    found = run.dry_run(write_study(seeds=3, resources={"cpu": 2}), trainer=FAKE, concurrency=4)
    # 40 steps of 0.5 s, evaluations at 0, 10, 20, 30, 40, 2 s to start
    assert found.trial_seconds == pytest.approx(40 * 0.5 + 5 + 2)
    assert (found.trials, found.at_a_time) == (6, 4)
    assert found.core_seconds == pytest.approx(6 * 27.0 * 2)
    assert (found.env_steps, found.tokens) == (6 * 40 * 100.0, 6 * 40 * 1000.0)
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_tells_what_a_teacher_behind_an_api_will_cost(write_study, monkeypatch):
    """Of the trials whose objective asks it, which `rl` does not."""
    import fake_training

    def train(config, directory, report, resume=False):
        report([{"phase": "train", "step": s, "seconds/rollout": 0.5} for s in range(config.steps)])
        report([{"phase": "eval", "step": config.steps, "seconds/eval": 1.0}])
        asked = {"teacher_read": 1e3 * config.steps, "teacher_written": 10.0 * config.steps, "teacher_money": 0.004}
        return fake_training.Result({}, asked if config.objective.taught else {})

    server = Stub(say=lambda _: "")
    monkeypatch.setattr(fake_training, "train", train)
    monkeypatch.setattr(
        fake_training, "ensure", lambda config, note: fake_training.Models(None, fake_training.Ref("s"))
    )
    teacher = {"kind": "chat", "url": server.url, "model": "stub", "price": {"input": 1.0, "output": 1.0}}
    base = {"steps": 40, "teacher": teacher, "objective": {"distill": {"kind": "relabel"}}}
    path = write_study(base=base, seeds=1, controls=["rl", "opd"])
    found = run.dry_run(path, trainer=FAKE)
    server.stop()
    assert found.asked == pytest.approx(
        {"teacher_read": 3 * 4e4, "teacher_written": 3 * 400, "teacher_money": 3 * 0.04}
    )
    assert found.lines()[-1].startswith("the teacher reads 1.2e+05 tokens and writes 1.2e+03, 0.12 by teacher.price")
    with pytest.raises(UserError, match=r"^teacher.url: nobody answers at"):
        run.dry_run(path, trainer=FAKE)


def test_a_full_disk_ends_the_run_in_one_line_and_resume_finishes_it(write_study, go, monkeypatch):
    path, real, rows = write_study(), ledger.Ledger.append, []

    def append(self, row):
        rows.append(row)
        if len(rows) == 6:  # study, models, two rows of the first trial, one of the second
            raise OSError(28, "No space left on device")
        real(self, row)

    monkeypatch.setattr(ledger.Ledger, "append", append)
    with pytest.raises(UserError, match=r"No space left on device.*atod-sweep resume"):
        go(path)
    monkeypatch.setattr(ledger.Ledger, "append", real)
    folder = path.parent / "runs" / "small"
    assert states(folder) == {"slow-s0": "COMPLETE", "fast-s0": "RUNNING"}
    assert resume_run(folder, backend="local", trainer=FAKE).complete == 4


def test_overrides_reach_every_trial_and_stay_with_the_run(write_study, go):
    factors = {"horizon": {"short": {"env.horizon": 6}, "long": {"env.horizon": 14}}}
    path = write_study(factors=factors, controls=["rl"], seeds=1)
    overrides = {"optimiser.weight_decay": 0.5, "runtime": {"threads": 2}}
    folder = go(path, overrides=overrides, max_trials=3).run_dir
    outcome = resume_run(folder, backend="local", trainer=FAKE)
    assert outcome.complete == outcome.total == 6
    for file in folder.glob("trials/*/config.yaml"):
        config = Train.model_validate(load_yaml(file))
        assert (config.optimiser.weight_decay, config.runtime.threads, config.steps) == (0.5, 2, 40)
    assert go(folder / "study.yaml", extend=True, seeds=2).complete == 12
    with pytest.raises(UserError, match=r"optimiser.weight_decay: 0.5 → "):
        go(path, resume=True)
    with pytest.raises(UserError, match=r"arms.fast sets 'optimiser.lr' itself"):
        go(path, overrides={"optimiser.lr": 1.0}, name="other")
    with pytest.raises(UserError, match=r"factors.horizon.short sets 'env.horizon' itself"):
        go(path, overrides={"env.horizon": 3}, name="other")
