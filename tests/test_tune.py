"""Our trials in a sweep of somebody else's: Tune's own searchers, schedulers and callbacks."""

from __future__ import annotations

import json

import pytest
from small import BASE

import atod_sweep
from atod_sweep.errors import UserError
from atod_sweep.tune import _scalars

# No network, small models, an evaluation at every second step.
TRIAL = {**BASE, "steps": 6, "evaluation.every": 2, "evaluation.tasks": 8}


def test_scalars_are_what_a_logger_can_read():
    row = {"phase": "eval", "step": 3, "eval/success": 0.5, "eval/ended": [1, 2], "loss": float("nan"), "name": "x"}
    assert _scalars(row) == {"step": 3, "eval/success": 0.5}


def test_a_wrong_base_is_refused_before_ray_starts():
    with pytest.raises(UserError, match="optimizer"):
        atod_sweep.tune.trainable({"base": "presets/support_desk_compact", "optimizer.lr": 1.0})


@pytest.fixture(scope="module")
def ray_here(cache_for_workers):
    """Ray on two cores, whose workers find the fakes and a cache of ours."""
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="CRITICAL")
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def cache_for_workers(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATOD_SWEEP_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("RAY_AIR_NEW_OUTPUT", "0")
        yield


@pytest.mark.slow
def test_optuna_and_asha_read_our_metrics_and_a_logger_hears_them(ray_here, tmp_path):
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    heard = []

    class Listener(tune.Callback):
        def on_trial_result(self, iteration, trials, trial, result, **info):
            heard.append(result["eval/success"])

    found = tune.Tuner(
        atod_sweep.tune.trainable(TRIAL),
        param_space={"objective.distill_weight.end": tune.uniform(0.0, 0.3)},
        tune_config=tune.TuneConfig(
            metric="eval/success",
            mode="max",
            num_samples=3,
            search_alg=OptunaSearch(seed=0),
            scheduler=ASHAScheduler(time_attr="step", max_t=6, grace_period=2, reduction_factor=2),
        ),
        run_config=tune.RunConfig(storage_path=str(tmp_path), name="asha", verbose=0, callbacks=[Listener()]),
    ).fit()
    assert found.num_errors == 0
    table = found.get_dataframe()
    assert {"eval/success", "cost/seconds", "kl/teacher", "step"} <= set(table.columns)
    assert len(heard) >= 3 * 2
    best = found.get_best_result()
    with best.checkpoint.as_directory() as folder:
        import pathlib

        assert list(pathlib.Path(folder).iterdir())


@pytest.mark.slow
def test_a_population_goes_on_from_a_checkpoint_under_another_schedule(ray_here, tmp_path):
    from ray import tune
    from ray.tune.schedulers import PopulationBasedTraining

    scheduler = PopulationBasedTraining(
        time_attr="step",
        perturbation_interval=2,
        hyperparam_mutations={
            "optimiser.lr": [1e-4, 1e-3],
            "objective.distill_weight.end": tune.uniform(0.0, 0.3),
        },
        quantile_fraction=0.5,
        resample_probability=1.0,
        synch=True,
    )
    found = tune.Tuner(
        atod_sweep.tune.trainable({**TRIAL, "steps": 8}),
        param_space={"optimiser.lr": tune.choice([1e-4, 1e-3]), "objective.distill_weight.end": 0.1},
        tune_config=tune.TuneConfig(metric="eval/success", mode="max", num_samples=2, scheduler=scheduler),
        run_config=tune.RunConfig(storage_path=str(tmp_path), name="pbt", verbose=0),
    ).fit()
    assert found.num_errors == 0
    assert [int(result.metrics["step"]) for result in found] == [8, 8]
    lines = [json.loads(line) for path in tmp_path.rglob("pbt_policy_*.txt") for line in path.read_text().splitlines()]
    assert lines, "no trial took over another's weights"
