"""What somebody who knows MLflow finds: the place that its variables name, and tables, notes, curves and data sets."""

from __future__ import annotations

import json
import platform
import shutil
from pathlib import Path

import pytest
import yaml
from fake_training import FAKE
from ledger_files import study_row, trial_row

from atod_sweep import api
from atod_sweep.api.ending import conclude
from atod_sweep.errors import UserError
from atod_sweep.records.ledger import History, Ledger
from atod_sweep.sweep.loggers.choice import settled
from atod_sweep.sweep.loggers.contract import status_of
from atod_sweep.sweep.mlflow.mirror import Mirror
from atod_sweep.sweep.mlflow.stores import Place, place_of, placed
from atod_sweep.sweep.studies.run_study import run_study
from atod_sweep.sweep.work import Site

GIVEN = "sqlite:////given/m.db"
ENV = "sqlite:////env/m.db"
URI, NAME = "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    monkeypatch.delenv(URI, raising=False)
    monkeypatch.delenv(NAME, raising=False)


# ---- the place -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "environment", "uri", "experiment"),
    [
        ((None, None), {}, "sqlite:////runs/mlflow.db", "atod-sweep"),
        ((None, None), {URI: ENV}, ENV, "atod-sweep"),
        ((None, None), {NAME: "team"}, "sqlite:////runs/mlflow.db", "team"),
        ((None, None), {URI: ENV, NAME: "team"}, ENV, "team"),
        ((GIVEN, None), {URI: ENV, NAME: "team"}, GIVEN, "team"),
        ((None, "mine"), {URI: ENV, NAME: "team"}, ENV, "mine"),
        ((GIVEN, "mine"), {URI: ENV, NAME: "team"}, GIVEN, "mine"),
        ((None, None), {URI: "", NAME: ""}, "sqlite:////runs/mlflow.db", "atod-sweep"),
    ],
)
def test_what_is_given_wins_over_the_environment_and_that_over_the_default(
    monkeypatch, given, environment, uri, experiment
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = placed(Path("/runs"), *given)
    assert (found.uri, found.experiment) == (uri, experiment)


@pytest.mark.parametrize(
    ("given", "recorded", "environment", "uri"),
    [
        (None, GIVEN, ENV, GIVEN),  # where it was started to be
        ("sqlite:////other.db", GIVEN, ENV, "sqlite:////other.db"),
        (None, None, ENV, ENV),
        (None, "http://u:***@h", "http://u:secret@h", "http://u:secret@h"),  # the ledger keeps no secret
    ],
)
def test_a_run_that_is_there_is_brought_up_to_date_where_it_was_started_to_be(
    monkeypatch, tmp_path, given, recorded, environment, uri
):
    started = {"started_with": {"tracking_uri": recorded}} if recorded else {}
    with Ledger(tmp_path) as writer:
        writer.append(study_row(**started))
    monkeypatch.setenv(URI, environment)
    assert place_of(tmp_path, given).uri == uri


def test_a_secret_that_nobody_gives_again_is_asked_for(tmp_path):
    with Ledger(tmp_path) as writer:
        writer.append(study_row(started_with={"tracking_uri": "http://u:***@h"}))
    with pytest.raises(UserError, match=r"was started with --tracking-uri http://u:\*\*\*@h, and no secret is kept"):
        place_of(tmp_path)


def test_the_environments_place_is_recorded_for_who_resumes(monkeypatch, tmp_path):
    assert settled(tmp_path / "x", Site()).started_with == {}
    monkeypatch.setenv(URI, "sqlite:///env.db")
    monkeypatch.setenv(NAME, "team")
    monkeypatch.chdir(tmp_path)
    found = settled(tmp_path / "x", Site()).started_with
    assert found == {"tracking_uri": f"sqlite:///{tmp_path}/env.db", "experiment": "team"}


def test_a_bad_address_of_the_environment_is_called_by_its_variable(monkeypatch, tmp_path):
    monkeypatch.setenv(URI, "htp://nowhere")
    with pytest.raises(UserError, match="MLFLOW_TRACKING_URI 'htp://nowhere': not a store"):
        settled(tmp_path / "x", Site())


# ---- a study in MLflow -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A study recorded where the environment says; its folder, a client, its experiment, and what was printed."""
    from mlflow import MlflowClient

    place = tmp_path_factory.mktemp("mlflow")
    study = {
        "name": "small",
        "question": "Which is better?",
        "base": {"steps": 120, "evaluation.every": 60, "optimiser.lr": 0.001},
        "arms": {"slow": {}, "fast": {"optimiser.lr": 0.002}},
        "seeds": 3,
        "hypotheses": ["fast > slow"],
    }
    (place / "small.yaml").write_text(yaml.safe_dump(study, sort_keys=False))
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(URI, f"sqlite:///{place}/runs/team.db")
        patch.setenv(NAME, "team")
        (place / "runs").mkdir()
        options = {"backend": "local", "trainer": FAKE, "show": Listening(said)}
        after = lambda folder: conclude(folder, said.append)  # noqa: E731
        folder = run_study(place / "small.yaml", out=place / "runs", after=after, **options).run_dir
    client = MlflowClient(f"sqlite:///{place}/runs/team.db")
    return folder, client, client.get_experiment_by_name("team"), said


class Listening:
    """A console that keeps its lines."""

    def __init__(self, said):
        self._said = said

    def note(self, text, **data):
        self._said.append(text)

    def __getattr__(self, name):
        return lambda *args, **kwargs: None


def parent_and_children(client, experiment):
    found = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in found if "mlflow.parentRunId" not in run.data.tags]
    return parent, {run.data.tags["atod.trial"]: run for run in found if run is not parent}


def test_the_place_and_the_page_to_look_at_are_printed(run):
    folder, _, experiment, said = run
    uri = f"sqlite:///{folder.parent}/team.db"
    page = f"http://127.0.0.1:5000/#/experiments/{experiment.experiment_id}/runs?workflowType=machine_learning"
    assert f"MLflow: {uri}, experiment 'team'; see mlflow ui --backend-store-uri {uri}, then {page}" in said
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"


def test_the_parent_carries_the_studys_answer(run):
    _, client, experiment, _ = run
    parent, children = parent_and_children(client, experiment)
    assert len(children) == 6
    assert parent.info.status == "FINISHED"
    numbers, tags = parent.data.metrics, parent.data.tags
    assert numbers["best/mean"] == numbers["arm/fast"] == pytest.approx(0.1 + 0.002 * 120 + 0.001)
    assert numbers["arm/slow"] == pytest.approx(0.1 + 0.001 * 120 + 0.001)
    assert numbers["best/low"] < numbers["best/mean"] < numbers["best/high"]
    assert (numbers["best/n"], numbers["trials/complete"], numbers["trials/failed"]) == (3, 6, 0)
    assert (tags["best_arm"], tags["arms"], tags["metric"]) == ("fast", "slow, fast", "eval/success")
    assert tags["verdicts"] == "fast > slow: supported"
    note = tags["mlflow.note.content"]
    assert note.startswith("Which is better?\n\n**Borne out:** fast is above slow (+0.120)")
    assert "| fast | 3 |" in note
    assert "\n- fast > slow: supported at n = 3" in note
    assert parent.info.end_time == max(child.info.end_time for child in children.values())
    assert tags["mlflow.user"]
    assert tags["mlflow.source.name"]


def test_parameters_are_plain_words_and_numbers_to_filter_by(run):
    _, client, experiment, _ = run
    wanted = "params.`env.id` = 'support_desk' and params.`optimiser.lr` = '0.002'"
    found = client.search_runs([experiment.experiment_id], wanted)
    assert {run.data.tags["atod.trial"] for run in found} == {"fast-s0", "fast-s1", "fast-s2"}
    parent, _ = parent_and_children(client, experiment)
    assert (parent.data.params["env.id"], parent.data.params["optimiser.lr"]) == ("support_desk", "0.001")


def test_curves_have_points_between_evaluations_and_evaluations_are_whole(run):
    _, client, experiment, _ = run
    _, children = parent_and_children(client, experiment)
    run_id = children["fast-s1"].info.run_id
    success = {m.step: m.value for m in client.get_metric_history(run_id, "eval/success")}
    assert success == {s: pytest.approx(0.1 + 0.002 * s + 0.001) for s in (0, 60, 120)}
    assert {m.step for m in client.get_metric_history(run_id, "loss")} == {60, 120}  # the fake trainer's rows


def test_the_tasks_are_data_sets(run):
    _, client, experiment, _ = run
    parent, children = parent_and_children(client, experiment)
    inputs = children["fast-s1"].inputs.dataset_inputs
    found = {one.tags[0].value: one.dataset for one in inputs}
    assert set(found) == {"training", "evaluation"}
    assert {data.name for data in found.values()} == {"support_desk"}
    drawn = {use: json.loads(data.source) for use, data in found.items()}
    assert (drawn["training"]["split"], drawn["training"]["seed"]) == ("train", 1)
    assert (drawn["evaluation"]["split"], drawn["evaluation"]["seed"]) == ("eval", 1)
    assert json.loads(found["evaluation"].profile) == {"tasks": drawn["evaluation"]["tasks"]}
    (shared,) = parent.inputs.dataset_inputs
    assert shared.dataset.digest == found["evaluation"].digest
    other = children["fast-s2"].inputs.dataset_inputs
    assert {one.dataset.digest for one in other} ^ {one.dataset.digest for one in inputs}  # other training tasks


def test_sync_again_changes_nothing(run):
    folder, client, experiment, _ = run

    def whole():
        parent, children = parent_and_children(client, experiment)
        runs = [parent, *(children[name] for name in sorted(children))]
        histories = [len(client.get_metric_history(one.info.run_id, key)) for one in runs for key in one.data.metrics]
        return [(one.data.to_dictionary(), one.info.status, len(one.inputs.dataset_inputs)) for one in runs], histories

    before = whole()
    said: list[str] = []
    assert api.sync(folder, note=said.append) == 6  # finds the place in the ledger
    assert f"{folder.parent}/team.db, experiment 'team'" in said[-1]
    assert whole() == before


# ---- folders that move, processes that die ---------------------------------------------------------------------------


def mirror(folder, uri, say=lambda line: None):
    return Mirror(Place(uri, "team"), folder, study_row(), say)


def test_a_copied_folder_of_runs_takes_its_artifacts_along(run, tmp_path):
    from mlflow import MlflowClient

    folder, client, experiment, _ = run
    there = tmp_path / "runs"
    shutil.copytree(folder.parent, there)
    uri, said = f"sqlite:///{there}/team.db", []
    mirror(there / "small", uri, said.append).connect()
    assert said == [
        f"MLflow: {there}/team.db was moved or copied here; artifacts are looked up in {there}/mlartifacts, no longer "
        f"in {folder.parent}/mlartifacts"
    ]
    copied = MlflowClient(uri)
    assert copied.get_experiment_by_name("team").artifact_location == (there / "mlartifacts").as_uri()
    for one in copied.search_runs([experiment.experiment_id]):
        assert one.info.artifact_uri.startswith((there / "mlartifacts").as_uri())
        assert copied.list_artifacts(one.info.run_id)
    assert client.get_experiment_by_name("team").artifact_location == (folder.parent / "mlartifacts").as_uri()
    again: list[str] = []
    mirror(there / "small", uri, again.append).connect()
    assert again == []


def test_artifacts_that_lie_elsewhere_by_choice_stay_there_and_are_named(run, tmp_path):
    from mlflow import MlflowClient

    folder, _, _, _ = run
    there, uri, said = tmp_path / "bucket", f"sqlite:///{tmp_path}/team.db", []
    there.mkdir()
    shutil.copy(folder.parent / "team.db", tmp_path / "team.db")
    client = MlflowClient(uri)
    client.create_experiment("elsewhere", artifact_location=there.as_uri())
    where = Mirror(Place(uri, "elsewhere"), folder, study_row(), said.append)
    where.connect()
    assert said == [f"MLflow: artifacts go to {there}, which is not beside {tmp_path}/team.db"]
    assert client.get_experiment_by_name("elsewhere").artifact_location == there.as_uri()


def test_a_run_whose_process_was_killed_does_not_stay_running(run, tmp_path):
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path}/team.db"
    shutil.copy(run[0].parent / "team.db", tmp_path / "team.db")
    client = MlflowClient(uri)
    number = client.create_experiment("killed", artifact_location=(tmp_path / "mlartifacts").as_uri())
    runs = {}
    for name in ("dead", "alive", "abroad", "gone"):
        host = "elsewhere" if name == "abroad" else platform.node()
        tags = {"atod.run": name, "atod.host": host, "atod.folder": str(tmp_path / name)}
        parent = client.create_run(number, tags=tags)
        child = client.create_run(number, tags={"mlflow.parentRunId": parent.info.run_id, "atod.trial": "a-s0"})
        runs[name] = (parent.info.run_id, child.info.run_id)
        if name != "gone":
            with Ledger(tmp_path / name) as writer:
                writer.append(study_row())
    with Ledger(tmp_path / "alive"):
        Mirror(Place(uri, "killed"), tmp_path / "new", study_row(), lambda line: None).connect()
    status = {name: [client.get_run(one).info.status for one in pair] for name, pair in runs.items()}
    assert status == {
        "dead": ["KILLED", "KILLED"],
        "alive": ["RUNNING", "RUNNING"],
        "abroad": ["RUNNING", "RUNNING"],  # nobody here can tell
        "gone": ["RUNNING", "RUNNING"],
    }


@pytest.mark.parametrize(
    ("states", "status"),
    [
        (["COMPLETE", "COMPLETE"], "FINISHED"),
        (["COMPLETE", "FAILED"], "FINISHED"),
        (["PRUNED", "FAILED"], "FINISHED"),
        (["FAILED", "FAILED"], "FAILED"),
        (["COMPLETE", "RUNNING"], "KILLED"),
        ([], "FAILED"),
    ],
)
def test_a_run_without_any_result_gets_no_green_tick(states, status):
    trials = {f"a-s{i}": trial_row(seed=i, state=state) for i, state in enumerate(states)}
    assert status_of(History((), trials, {})) == status
