"""The best student leaves the house: the median seed, whole, playable without this package, and verifiable."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from trained_run import write_trained
from transformers import AutoModelForCausalLM, AutoTokenizer

from atod_sweep.api import sync
from atod_sweep.config.base import load_yaml, validate, with_overrides
from atod_sweep.config.study import Metric
from atod_sweep.config.train import Train
from atod_sweep.envs import registry as envs
from atod_sweep.errors import UserError
from atod_sweep.evidence.analysis.reading import load
from atod_sweep.export import attestation, manifest
from atod_sweep.export.record import dump
from atod_sweep.export.student import model
from atod_sweep.export.student.model_card import model_card
from atod_sweep.sweep.mlflow.model_registry import register
from atod_sweep.sweep.mlflow.stores import EXPERIMENT, Place
from atod_sweep.training.loop.standalone import save_standalone
from atod_sweep.training.loop.trainer import evaluate_student
from atod_sweep.training.play.conversation import conversation_for
from atod_sweep.training.play.evaluate import held_out_seeds
from atod_sweep.training.play.templates import PLAIN
from atod_sweep.training.pretraining import cache as models

PLAYER = """
import json, sys
sys.modules["atod_sweep"] = None  # importing it is an error
sys.stdout, pipe = sys.stderr, sys.stdout
{code}
for line in sys.stdin:
    print(json.dumps(act(json.loads(line))), file=pipe, flush=True)
"""


@pytest.fixture(scope="module")
def run(base: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_trained(tmp_path_factory.mktemp("runs") / "study", {**base, "steps": 8}, "plain", [0, 1, 2])


@pytest.fixture
def exported(run: Path, tmp_path: Path) -> Path:
    return model.write(run, tmp_path / "model", save_standalone)


def config_of(run: Path, trial: str) -> Train:
    path = run / "trials" / trial / "config.yaml"
    return validate(Train, load_yaml(path), str(path))


class Player:
    """The student in a process that cannot import this package, told what its card tells a user to do."""

    def __init__(self, folder: Path) -> None:
        (code,) = re.findall(r"```python\n(.*?)```", (folder / model.CARD).read_text(encoding="utf-8"), re.DOTALL)
        command = [sys.executable, "-c", PLAYER.replace("{code}", code)]
        self.process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def act(self, messages: list[dict[str, str]]) -> str:
        assert self.process.stdin
        assert self.process.stdout
        print(json.dumps(messages), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(self.process.communicate()[1])
        return str(json.loads(line))

    def success(self, config: Train) -> float:
        """On the held-out tasks, one after another."""
        total = 0.0
        for seed in held_out_seeds(config.evaluation):
            env = envs.make(config.env)
            observation, _ = env.reset(seed=seed, options={"split": "eval"})
            messages: list[dict[str, str]] = []
            over, info = False, {}
            while not over:
                messages.append({"role": "user", "content": observation})
                messages.append({"role": "assistant", "content": self.act(messages)})
                observation, _, terminated, truncated, info = env.step(messages[-1]["content"])
                over = terminated or truncated
            total += info["success"]
        return total / config.evaluation.tasks

    def close(self) -> None:
        self.process.communicate()


@pytest.fixture
def play() -> Iterator[Any]:
    players: list[Player] = []

    def success(folder: Path, config: Train) -> float:
        players.append(Player(folder))
        return players[-1].success(config)

    yield success
    for player in players:
        player.close()


def test_median_seed_with_its_origin(run: Path, exported: Path) -> None:
    scores = {trial.seed: trial.metrics["eval/success"] for trial in load(run).trials}
    seed = sorted(scores, key=lambda s: (scores[s], s))[1]
    record = json.loads((exported / "provenance.json").read_text(encoding="utf-8"))
    assert (record["model"]["trial"], record["model"]["score"]) == (f"plain-s{seed}", scores[seed])
    assert record["model"]["chosen"] == "the median of 3 seeds by eval/success, not the best one"
    card = (exported / model.CARD).read_text(encoding="utf-8")
    assert f"Seed {seed} (trial `plain-s{seed}`): the median of 3 seeds" in card
    front = yaml.safe_load(card.split("---")[1])
    assert front["library_name"] == "transformers"
    (index,) = front["model-index"]
    arm, here = (metrics for result in index["results"] for metrics in result["metrics"])
    mean = sum(scores.values()) / 3
    assert (arm["value"], arm["args"]["n"]) == (pytest.approx(mean), 3)
    assert arm["args"]["low"] < mean < arm["args"]["high"]
    assert here["value"] == scores[seed]
    assert "base_model" not in front  # it was made here, from nothing
    assert {path.name for path in exported.iterdir()} == {
        "README.md", "manifest.sha256", "provenance.json", "attestation.intoto.json", "chat_template.jinja",
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip


def test_the_card_names_the_method_that_trained_it(exported: Path) -> None:
    record = json.loads((exported / "provenance.json").read_text(encoding="utf-8"))
    assert "by annealed on-policy distillation mixed with reward on" in model_card(record)
    record["model"]["config"]["objective"] = {"kind": "sft"}
    assert "by the objective `sft` on" in model_card(record)


def test_of_an_even_number_the_lower(run: Path) -> None:
    trials = load(run).trials[:2]
    low = min(trials, key=lambda trial: (trial.metrics["eval/success"], trial.seed))
    metric = Metric(name="eval/success")
    assert model.median_trial(trials, metric) == (
        low, "the lower of the two in the middle of 2 seeds by eval/success, not the best one",
    )  # fmt: skip


def test_whole_and_ready_to_generate(run: Path, exported: Path) -> None:
    trial = json.loads((exported / "provenance.json").read_text(encoding="utf-8"))["model"]["trial"]
    student, copy = (AutoModelForCausalLM.from_pretrained(p) for p in (run / "trials" / trial / "student", exported))
    weights = copy.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in student.state_dict().items())
    generation = copy.generation_config
    tokenizer = AutoTokenizer.from_pretrained(exported)
    assert (generation.do_sample, generation.max_new_tokens) == (False, config_of(run, trial).rollout.max_action_tokens)
    assert generation.eos_token_id == [tokenizer.eos_token_id]
    assert copy.config.use_cache


def test_sampling_as_in_the_evaluation(run: Path, tmp_path: Path) -> None:
    config = config_of(run, "plain-s0")
    warm = config.model_copy(update={"evaluation": config.evaluation.model_copy(update={"temperature": 0.4})})
    save_standalone(warm, run / "trials/plain-s0/student", tmp_path / "out")
    generation = AutoModelForCausalLM.from_pretrained(tmp_path / "out").generation_config
    assert (generation.do_sample, generation.temperature, generation.top_k, generation.top_p) == (True, 0.4, 0, 1.0)


def test_no_local_paths(exported: Path, tmp_path: Path) -> None:
    for path in exported.iterdir():
        assert str(tmp_path.parent).encode() not in path.read_bytes(), path.name


@pytest.mark.slow
def test_plays_to_the_recorded_success_without_this_package(run: Path, exported: Path, play: Any) -> None:
    record = json.loads((exported / "provenance.json").read_text(encoding="utf-8"))["model"]
    assert 0.0 < record["eval/success"] < 1.0
    assert play(exported, config_of(run, record["trial"])) == record["eval/success"]


def test_verified_by_playing(exported: Path) -> None:
    first, second, _ = model.verify(exported, evaluate_student, trust=True)
    assert first == "6 files and the card are what was exported"
    assert re.fullmatch(r"success 0\.\d{4} on 32 tasks, as recorded", second)


@pytest.mark.parametrize("name", ["model.safetensors", "generation_config.json", "README.md"])
def test_any_change_is_found(exported: Path, name: str) -> None:
    path = exported / name
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(UserError, match=name):
        model.verify(exported, evaluate_student, trust=True)
    path.unlink()
    with pytest.raises(UserError, match=name):
        model.verify(exported, evaluate_student, trust=True)


def test_another_success_is_found(exported: Path) -> None:
    """0.5 on 32 tasks: two samples of an equal policy stay within 4 sqrt(2 * 0.25 / 32) = 0.5 of each other."""
    assert model.allowed(0.5, 32) == pytest.approx(0.5)
    assert model.allowed(1.0, 32) == 1 / 32
    path = exported / "provenance.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record["model"]["eval/success"] = 1.0
    path.write_text(dump(record), encoding="utf-8")
    (exported / model.CARD).write_text(model.model_card(record), encoding="utf-8")
    names = [file.name for file in exported.iterdir() if file.name not in (manifest.FILE_NAME, attestation.FILE_NAME)]
    attestation.write(exported, record, names)
    manifest.write(exported, [*names, attestation.FILE_NAME])
    with pytest.raises(UserError, match=r"plays to a success of 0\.\d+ on 32 tasks, recorded was 1\.0000"):
        model.verify(exported, lambda config, folder: {"eval/success": 0.9}, trust=True)
    lines = model.verify(exported, lambda config, folder: {"eval/success": 31 / 32}, trust=True)
    assert lines[1] == "success 0.9688 on 32 tasks, recorded 1.0000: no more apart than two samples of an equal are"


def test_replaced_but_nothing_else_is(run: Path, exported: Path) -> None:
    (exported / "stale.safetensors").touch()
    model.write(run, exported, save_standalone)
    assert not (exported / "stale.safetensors").exists()
    mine = exported.parent / "mine"
    mine.mkdir()
    (mine / "notes.txt").touch()
    with pytest.raises(UserError, match=r"mine: exists and is no exported model; choose another folder with --out"):
        model.write(run, mine, save_standalone)


def test_a_lost_student_is_said(run: Path, exported: Path, tmp_path: Path) -> None:
    trial = json.loads((exported / "provenance.json").read_text(encoding="utf-8"))["model"]["trial"]
    student = run / "trials" / trial / "student"
    student.rename(tmp_path / "elsewhere")
    try:
        with pytest.raises(UserError, match=rf"not there; train it again: atod-sweep train .*{trial}/config"):
            model.write(run, tmp_path / "out", save_standalone)
    finally:
        (tmp_path / "elsewhere").rename(student)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_adapters_are_merged(base: dict[str, Any], tmp_path: Path, play: Any) -> None:
    peft = pytest.importorskip("peft", reason="needs the lora extra")
    whole = validate(Train, with_overrides(Train, Train().model_dump(mode="json"), base), "base")
    student = {"kind": "pretrained", "path": models.ensure(whole).student.path, "lora": {"rank": 4, "alpha": 32.0}}
    settings = {key: value for key, value in base.items() if not key.startswith("student.")}
    run = write_trained(tmp_path / "run", {**settings, "steps": 8, "student": student}, "plain", [0])
    exported = model.write(run, tmp_path / "model", save_standalone)
    assert not [path.name for path in exported.iterdir() if "adapter" in path.name]
    merged, before = (AutoModelForCausalLM.from_pretrained(path) for path in (exported, student["path"]))
    trained = peft.PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(student["path"]), run / "trials/plain-s0/student"
    )
    ids = torch.arange(12)[None]
    assert torch.allclose(merged(ids).logits, trained(ids).logits, atol=1e-5)
    assert not torch.allclose(merged(ids).logits, before(ids).logits, atol=1e-2)
    assert "as recorded" in model.verify(exported, evaluate_student, trust=True)[1]
    assert play(exported, config_of(run, "plain-s0")) == load(run).trials[0].metrics["eval/success"]
    assert str(tmp_path) not in (exported / model.CARD).read_text(encoding="utf-8")


def test_plain_text_students_get_a_template() -> None:
    """What the template renders is what such a student read in training."""
    from tokenizers import Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(BPE(vocab={letter: i for i, letter in enumerate([*letters, "<eos>"])}, merges=[]))
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<eos>")
    conversation = conversation_for(tokenizer, chat_template=False, stop_strings=[])
    tokenizer.chat_template = PLAIN
    turns = [("user", "a box"), ("assistant", "open it"), ("user", "a key")]
    messages = [{"role": role, "content": content} for role, content in turns]
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"]
    read = (
        *conversation.encode_turn("a box", first=True),
        *conversation.encode_action(" open it"),
        *conversation.encode_turn("a key", first=False),
    )
    assert tuple(ids) == read


@pytest.mark.slow
def test_registered_with_the_run_that_trained_it(
    run: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    place = Place(uri, EXPERIMENT)
    record = json.loads((exported / "provenance.json").read_text(encoding="utf-8"))
    with pytest.raises(
        UserError, match=r"holds no run of trial plain-s\d; bring it up to date: atod-sweep sync .*study"
    ):
        register(run, exported, "agent", place)
    sync(run, tracking_uri=uri)
    assert [register(run, exported, "agent", place) for _ in range(2)] == ["1", "1"]
    client = mlflow.MlflowClient(tracking_uri=uri)
    version = client.get_model_version("agent", "1")
    assert client.get_run(version.run_id).data.tags["atod.trial"] == record["model"]["trial"]
    expected = {"study": "study", "arm": "plain", "metric": "eval/success"}
    expected |= {key: str(record["model"][key]) for key in ("seed", "score", "trial")}
    assert expected.items() <= version.tags.items()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    folder = mlflow.artifacts.download_artifacts(artifact_uri="models:/agent/1", dst_path=str(tmp_path / "loaded"))
    assert "as recorded" in model.verify(Path(folder), evaluate_student, trust=True)[1]
    assert [register(run, exported, "bob's", place) for _ in range(2)] == ["1", "1"]
    with pytest.raises(UserError, match="--register 'a:b': MLflow says"):
        register(run, exported, "a:b", place)
