"""Samplers by their path: resumed by handing points back, refused where they cannot hold a space; Optuna's file."""

from __future__ import annotations

import json
from wsgiref.util import setup_testing_defaults

import fake_training
import optuna
import own_sampler
import pytest
import yaml
from fake_training import FAKE
from optuna.storages.journal import JournalFileBackend

from atod_sweep.config.files import load_file
from atod_sweep.config.search import Search
from atod_sweep.errors import UserError
from atod_sweep.records import ledger
from atod_sweep.sweep.resume import resume_run
from atod_sweep.sweep.searches.optuna_file import mean_curve
from atod_sweep.sweep.searches.run_search import run_search, search_work

PARAMETERS = {"optimiser.lr": {"float": [0.001, 0.02]}, "optimiser.max_grad_norm": {"float": [0.1, 2.0]}}
CONDITIONAL = {
    "objective.kl_penalty.kind": {"choice": ["none", "k2"]},
    "objective.kl_penalty.coef": {"when": {"kind": "k2"}, "float": [1.0e-4, 0.3], "log": True},
}
BUDGET = {"configurations": 5, "seeds": 2, "confirm": {"top": 1, "seeds": 2}}


pytestmark = pytest.mark.usefixtures("no_mlflow")


@pytest.fixture
def write(tmp_path):
    def write(sampler, **changes):
        search = {
            "base": {"steps": 40, "evaluation.every": 10, "optimiser.lr": 0.01},
            "parameters": PARAMETERS,
            "sampler": {"kind": "optuna", **sampler},
            "budget": BUDGET,
            **changes,
        }
        path = tmp_path / "tiny.yaml"
        path.write_text(yaml.safe_dump(search, sort_keys=False))
        return path

    return write


def go(path, **options):
    return run_search(path, out=path.parent / "runs", backend="local", trainer=FAKE, **options)


def proposed(folder):
    return [(row["arm"], row["params"]) for row in ledger.read(folder) if row["event"] == "configuration"]


def stored(folder):
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(folder / "optuna.journal")))
    return optuna.load_study(study_name=folder.name, storage=storage)


@pytest.mark.parametrize(
    "sampler",
    [
        {"path": "optuna.samplers:RandomSampler", "seed": 3},
        {"path": "optuna.samplers:NSGAIISampler", "kwargs": {"population_size": 3}},
        {"path": "optuna.samplers:BruteForceSampler"},
        {"path": "own_sampler:Unrepeatable", "kwargs": {"width": 2.0}},
    ],
)
def test_a_sampler_by_its_path_searches(write, sampler):
    parameters = {"optimiser.lr": {"float": [0.002, 0.02], "step": 0.002}} if "Brute" in sampler["path"] else PARAMETERS
    outcome = go(write(sampler, parameters=parameters))
    assert (outcome.complete, outcome.ok) == (5 * 2 + 2 * 2, True)
    assert len({str(params) for _, params in proposed(outcome.run_dir)}) == 5


def test_cma_es_moves_towards_the_better_end(write):
    pytest.importorskip("cmaes")
    path = write({"path": "optuna.samplers:CmaEsSampler"}, budget={**BUDGET, "configurations": 40, "seeds": 1})
    lrs = [params["optimiser.lr"] for _, params in proposed(go(path).run_dir)]
    assert sum(lrs[-10:]) / 10 > 1.2 * sum(lrs[:10]) / 10  # the fake trainer's success grows with it


def test_a_seed_of_the_file_reaches_the_class_and_kwargs_win(write):
    by_seed = [
        proposed(go(write({"path": "optuna.samplers:RandomSampler", **how}), name=f"s{i}").run_dir)
        for i, how in enumerate([{"seed": 1}, {"seed": 1}, {"seed": 2}, {"seed": 1, "kwargs": {"seed": 2}}])
    ]
    assert by_seed[0] == by_seed[1] != by_seed[2] == by_seed[3]


@pytest.mark.parametrize("stop_after", [2, 10, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 5, 8, 12))])
def test_on_resume_recorded_points_are_handed_back_and_not_asked_for_again(write, monkeypatch, stop_after):
    starts = [{"optimiser.lr": 0.011, "optimiser.max_grad_norm": 1.0}]
    path = write({"path": "own_sampler:Unrepeatable"}, start_from=starts)

    class Killed(BaseException):
        pass

    appended = ledger.Ledger.append
    count = 0

    def append(self, row):
        nonlocal count
        appended(self, row)
        count += row.get("state") == "COMPLETE"
        if count == stop_after:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(ledger.Ledger, "append", append)
        with pytest.raises(Killed):
            go(path)
    folder = path.parent / "runs" / "tiny"
    before = proposed(folder)
    own_sampler.Unrepeatable.asked = 0
    outcome = resume_run(folder, trainer=FAKE)
    assert (outcome.complete, outcome.ok) == (5 * 2 + 2 * 2, True)
    after = proposed(folder)
    assert after[: len(before)] == before
    assert before[0][1]["optimiser.lr"] == 0.011
    rehearsed = 2 * 3  # the file is checked, and the search set up, each with three points of a study thrown away
    assert own_sampler.Unrepeatable.asked == rehearsed + len(after) - len(before)


@pytest.mark.parametrize(
    ("sampler", "changes", "said"),
    [
        ({"path": "optuna.samplers:CmaEs"}, {}, "has no 'CmaEs'; "),
        ({"path": "optuna_samplers:X"}, {}, "needs the module 'optuna_samplers', which is not installed here"),
        ({"path": "CmaEsSampler"}, {}, "sampler.path"),
        ({"path": "own_sampler:NoSampler"}, {}, "is not a class of optuna.samplers.BaseSampler's kind"),
        ({"path": "own_sampler:Failing"}, {}, "sampler.path: 'own_sampler:Failing': no idea"),
        ({"path": "optuna.samplers:TPESampler", "kwargs": {"candidates": 3}}, {}, "unexpected keyword argument"),
        (
            {"path": "optuna.samplers:GridSampler", "kwargs": {"search_space": {"x": [1]}}},
            {},
            "lr, is not found in",
        ),
        ({"path": "optuna.samplers:CmaEsSampler"}, {"parameters": CONDITIONAL}, "CmaEsSampler needs a space without"),
        ({"path": "optuna.samplers:GPSampler"}, {"parameters": CONDITIONAL}, "but objective.kl_penalty.coef has"),
        ({"path": "optuna.samplers:NSGAIISampler"}, {"parameters": CONDITIONAL}, "use kind: tpe or random"),
        ({"path": "own_sampler:Tuned"}, {"parameters": CONDITIONAL}, "a CmaEsSampler needs a space without conditions"),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_line_before_anything_runs(write, sampler, changes, said):
    path = write(sampler, **changes)
    with pytest.raises(UserError) as refused:
        search_work(load_file(Search, path), path.parent, str(path))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["TPESampler", "RandomSampler"])
def test_samplers_that_hold_conditions_may_have_them(write, name):
    path = write({"path": f"optuna.samplers:{name}"}, parameters=CONDITIONAL)
    assert search_work(load_file(Search, path), path.parent, str(path)).configs


# ---- the copy for Optuna's tools -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("curves", "mean"),
    [
        ([], {}),
        ([{}, {}], {}),
        ([{0: 1.0, 10: 3.0}], {0: 1.0, 10: 3.0}),
        ([{0: 1.0, 10: 3.0}, {0: 3.0, 10: 5.0}], {0: 2.0, 10: 4.0}),
        ([{0: 1.0, 10: 3.0}, {0: 3.0}], {0: 2.0}),  # not a mean over other seeds at every step
        ([{0: 1.0, 10: 3.0}, {}], {0: 1.0, 10: 3.0}),
    ],
)
def test_a_mean_is_over_the_same_seeds_at_every_step(curves, mean):
    assert mean_curve(curves) == mean


def test_the_copy_has_every_configuration_with_its_curve_also_the_failed_ones(write, monkeypatch):
    real, row = fake_training.train, fake_training.row

    def train(config, directory, report, resume=False):
        if config.optimiser.lr < 0.01:
            return real(config, directory, report, resume=resume)
        report([row(config, 0), row(config, 10)])
        raise RuntimeError("large steps")

    monkeypatch.setattr(fake_training, "train", train)
    path = write({"path": "optuna.samplers:RandomSampler"}, budget={**BUDGET, "configurations": 8})
    folder = go(path, max_retries=0).run_dir
    study = stored(folder)
    assert study.metric_names == ["eval/success"]
    told = {row["arm"]: row for row in ledger.read(folder) if row["event"] == "told"}
    assert {t.user_attrs["arm"]: (t.state.name, t.values) for t in study.trials} == {
        arm: (row["state"], row["values"]) for arm, row in told.items()
    }
    assert {t.state.name for t in study.trials} == {"COMPLETE", "FAIL"}
    for trial in study.trials:
        lr = trial.params["optimiser.lr"]
        steps = (0, 10, 20, 30, 40) if trial.state.name == "COMPLETE" else (0, 10)
        assert trial.intermediate_values == {s: pytest.approx(0.1 + lr * s + 0.0005) for s in steps}
        assert trial.datetime_start <= trial.datetime_complete
        assert trial.user_attrs["seeds"] == [0, 1]


@pytest.mark.slow
def test_the_dashboard_reads_the_copy(write):
    dashboard = pytest.importorskip("optuna_dashboard")
    folder = go(write({"path": "optuna.samplers:RandomSampler"})).run_dir
    app = dashboard.wsgi(optuna.storages.JournalStorage(JournalFileBackend(str(folder / "optuna.journal"))))
    status: list[str] = []
    environ = {"PATH_INFO": "/api/studies/0"}
    setup_testing_defaults(environ)
    body = b"".join(app(environ, lambda said, *rest: status.append(said)))
    assert status == ["200 OK"]
    shown = json.loads(body)["trials"]
    assert [[point["step"] for point in trial["intermediate_values"]] for trial in shown] == [[0, 10, 20, 30, 40]] * 5
