"""Teacher and base student: built once, cached, whole, and ordinary Hugging Face directories."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from echo_env import Echo
from small import BASE, tiny
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from atod_sweep.config.train import Env
from atod_sweep.errors import UserError
from atod_sweep.records import manifest
from atod_sweep.training.models.compact import make_model, make_tokenizer
from atod_sweep.training.models.load import load_model, load_tokenizer
from atod_sweep.training.models.policy import Policy
from atod_sweep.training.play.conversation import conversation_for
from atod_sweep.training.play.outcomes import Limits
from atod_sweep.training.pretraining import build, model_folder, pretrain
from atod_sweep.training.pretraining import cache as models
from atod_sweep.training.pretraining.pretrain import Pretraining, train_student

HERE = str(Path(__file__).parents[2] / "support")


def digest(config, role: str) -> str:
    """The cache key, found without building: a model is there already or the building is stopped."""
    found = []

    def stop(path, *_):
        found.append(path)
        raise InterruptedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_folder, "_keep", stop)
        patch.setattr(pretrain, "train_teacher", lambda *_: None)
        patch.setattr(pretrain, "train_student", lambda *_: 0.0)
        patch.setattr(Pretraining, "success", lambda _: 0.0)
        try:
            return models.ensure_made(role, models.recipes(config)[role], config, lambda _: None).digest
        except InterruptedError:
            return found[0].name.removeprefix(f"{role}-")


# ---- the cache ---------------------------------------------------------------------------------------------------


def test_a_second_call_finds_what_the_first_has_built(built, cache):
    again = models.ensure(tiny())
    assert again.student.path == built.student.path
    assert again.teacher.path == built.teacher.path
    assert not again.student.built
    assert not again.teacher.built
    assert again.student.success == built.student.success
    assert again.student.seconds == 0.0
    assert Path(built.student.path).parent == cache / "models"


@pytest.mark.parametrize(
    ("changed", "new"),
    [
        ({"student__recipe__seed": 1}, {"student"}),
        ({"student__hidden": 8}, {"student"}),
        ({"teacher__recipe__steps": 31}, {"teacher"}),
        ({"teacher__recipe__horizons": [2, 3]}, {"teacher"}),
        ({"teacher__recipe__curriculum": [{"steps": 5, "kwargs": {"fault_turn": 2}}]}, {"teacher"}),
        ({"teacher__recipe__horizons": [3]}, set()),  # what an empty list means
        ({"env__horizon": 4}, {"student", "teacher"}),
        ({"env__kwargs": {"fault_turn": 2}}, {"student", "teacher"}),
        ({"rollout__max_action_tokens": 3}, {"student", "teacher"}),  # decides which success counts as reached
        ({"seed": 1, "steps": 9, "optimiser__lr": 1e-4, "objective__kind": "hybrid"}, set()),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else None,
)
def test_the_key_holds_what_makes_a_model_and_nothing_else(built, changed, new):
    config = tiny(**changed)
    want = {"student": built.student.digest, "teacher": built.teacher.digest}
    assert {role for role in want if digest(config, role) != want[role]} == new


def test_one_recipe_makes_one_model(built, monkeypatch, tmp_path):
    """In another cache, after other random numbers: the same weights."""
    monkeypatch.setenv("ATOD_SWEEP_CACHE", str(tmp_path))
    torch.manual_seed(99)
    again = models.ensure(tiny())
    assert again.student.built
    for name in ("student", "teacher"):
        a, b = (Path(getattr(m, name).path) / "model.safetensors" for m in (built, again))
        assert a.read_bytes() == b.read_bytes()


def test_models_are_built_on_one_thread(built, monkeypatch, tmp_path):
    """Rounding depends on the number of threads, and two configs that differ in it share a cached model."""
    monkeypatch.setenv("ATOD_SWEEP_CACHE", str(tmp_path))
    seen = []
    original = build._from_scratch
    monkeypatch.setattr(build, "_from_scratch", lambda *a: seen.append(torch.get_num_threads()) or original(*a))
    torch.set_num_threads(2)
    try:
        models.ensure(tiny(runtime__threads=2))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert seen == [1, 1]


def test_a_crash_while_writing_leaves_nothing_behind(monkeypatch, tmp_path):
    monkeypatch.setenv("ATOD_SWEEP_CACHE", str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", lambda *_, **__: {}["disk full"])  # after weights and tokenizer
        with pytest.raises(KeyError):
            models.ensure(tiny(teacher__kind="none", objective__distill_weight=0.0))
    assert [p.name for p in (tmp_path / "models").iterdir() if not p.name.endswith(".lock")] == []
    assert models.ensure(tiny(teacher__kind="none", objective__distill_weight=0.0)).student.built


BUILD = """
import sys
sys.path.insert(0, {here!r})
from small import tiny
from atod_sweep.training.pretraining import cache as models
found = models.ensure(tiny())
print(found.student.path, found.student.built, found.teacher.path, found.teacher.built)
"""


@pytest.mark.slow
def test_two_processes_at_once_build_once(tmp_path, monkeypatch):
    monkeypatch.setenv("ATOD_SWEEP_CACHE", str(tmp_path))
    command = [sys.executable, "-c", BUILD.format(here=HERE)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [process.communicate()[0].split() for process in both]
    assert answers[0][::2] == answers[1][::2]
    assert sorted(answer[1] for answer in answers) == ["False", "True"]
    assert sorted(answer[3] for answer in answers) == ["False", "True"]


# ---- what is in it -----------------------------------------------------------------------------------------------


def test_a_model_is_an_ordinary_hugging_face_directory(built):
    for path in (Path(built.student.path), Path(built.teacher.path)):
        model, tokenizer = AutoModelForCausalLM.from_pretrained(path), AutoTokenizer.from_pretrained(path)
        assert type(model) is LlamaForCausalLM
        assert model.config.vocab_size == len(tokenizer)
        assert model.config.eos_token_id == tokenizer.eos_token_id
        texts = [p.read_text() for p in path.glob("*.json") if p.name != manifest.NAME]
        assert not any("auto_map" in text or "atod" in text for text in texts if "numerics" not in text)
        assert {p.suffix for p in path.iterdir()} <= {".json", ".jinja", ".safetensors"}  # nothing that could run
        text = tokenizer.apply_chat_template([{"role": "user", "content": "so red"}], tokenize=False)
        assert text.split() == ["<obs>", "so", "red", "<act>"]


def test_others_may_read_a_model(built, tmp_path):
    """As far as the umask lets them."""
    (tmp_path / "any").mkdir()
    assert Path(built.student.path).stat().st_mode == (tmp_path / "any").stat().st_mode
    (tmp_path / "file").touch()
    assert {p.stat().st_mode for p in Path(built.student.path).iterdir()} == {(tmp_path / "file").stat().st_mode}


FOREIGN = """
import sys
from transformers import AutoModelForCausalLM, AutoTokenizer
path = sys.argv[1]
model, tokenizer = AutoModelForCausalLM.from_pretrained(path), AutoTokenizer.from_pretrained(path)
chat = [{"role": "user", "content": "so red"}]
ids = tokenizer.apply_chat_template(chat, return_tensors="pt", return_dict=True)["input_ids"]
out = model.generate(ids, max_new_tokens=4, do_sample=False)
print(tokenizer.decode(out[0, ids.shape[1]:], skip_special_tokens=True))
assert not [name for name in sys.modules if name.startswith("atod")]
"""


@pytest.mark.slow
def test_a_model_works_without_this_package(built):
    done = subprocess.run(
        [sys.executable, "-c", FOREIGN, built.teacher.path], capture_output=True, text=True, check=False, cwd="/"
    )
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) <= {"one", "two", "three", "bye"}


def test_the_recorded_success_is_that_of_the_saved_model(built):
    config = tiny()
    policy = Policy(load_model(config_for(built.student.path)))
    conversation = conversation_for(load_tokenizer(built.student.path), True, [])
    again = Pretraining(policy, config.env, config.student.recipe, conversation, Limits(4, 4096))
    assert built.student.success == again.success()
    assert 0.05 <= built.student.success <= 1.0
    assert 0.0 < built.teacher.success <= 1.0


def config_for(path: str):
    return tiny(student__kind="pretrained", student__path=path).student


# ---- bad input ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["student", "teacher"])
@pytest.mark.parametrize("path", ["/no/such/model", "./no/such/model", "~/no-such-model"])
def test_a_missing_directory(role, path):
    config = tiny(**{f"{role}__kind": "pretrained", f"{role}__path": path})
    with pytest.raises(UserError, match=rf"{role}.path: model directory '{path}' does not exist") as error:
        models.ensure(config)
    assert "\n" not in str(error.value)


def test_a_directory_that_holds_no_model(tmp_path):
    with pytest.raises(UserError, match="cannot be loaded") as error:
        load_model(config_for(str(tmp_path)))
    assert "\n" not in str(error.value)


def test_an_environment_without_words_or_without_a_demonstrator(tmp_path, monkeypatch):
    monkeypatch.setenv("ATOD_SWEEP_CACHE", str(tmp_path))
    kwargs = {"observations": ["red", "blue"], "rewards": [1.0]}
    alone = {"teacher__kind": "none", "objective__distill_weight": 0.0, "env__kwargs": kwargs}
    with pytest.raises(UserError, match=r"student.kind: .* 'echo_env:Script' has no vocabulary\(\); add that method"):
        models.ensure(tiny(env__id="echo_env:Script", **alone))
    with pytest.raises(UserError, match=r"Mute has no demonstrator_action\(\).*kind: pretrained"):
        models.ensure(tiny(env__id="echo_env:Mute", **alone))


# ---- recipes -----------------------------------------------------------------------------------------------------


def pretraining(model_config, horizon: int = 3) -> Pretraining:
    env = Env(id=BASE["env.id"], horizon=horizon)
    tokenizer = make_tokenizer(Echo().vocabulary())
    policy = Policy(make_model(model_config, tokenizer, 0))
    return Pretraining(policy, env, model_config.recipe, conversation_for(tokenizer, True, []), Limits(4, 4096))


def test_a_teacher_learns_every_horizon_of_its_recipe(monkeypatch):
    config = tiny(teacher__recipe__horizons=[2, 5], env__horizon=3)
    played = []
    demonstrate = pretrain.demonstrate

    def spy(batch, *rest):
        played.append(batch.envs[0].unwrapped.horizon)
        return demonstrate(batch, *rest)

    monkeypatch.setattr(pretrain, "demonstrate", spy)
    training = pretraining(config.teacher)
    for _ in range(20):
        training.step(1e-3)
    assert set(played) == {2, 5}
    scores = iter([0.25, 0.75])
    judged = []
    monkeypatch.setattr(
        pretrain, "evaluate", lambda _, player, __: judged.append(player) or {"eval/success": next(scores)}
    )
    assert training.success() == 0.5
    assert [player.batch.envs[0].unwrapped.horizon for player in judged] == [2, 5]


def test_the_teacher_schedule_warms_up_and_ends_at_nothing():
    """20 steps: warm-up over one, then a cosine from 0.03 towards 0."""
    config = tiny(teacher__recipe__steps=20).teacher
    training = pretraining(config)
    rates = []
    training.step = lambda lr: rates.append(lr) or 0.0
    pretrain.train_teacher(training, lambda _: None)
    assert rates[0] == pytest.approx(0.03)
    assert rates[1] == pytest.approx(0.03)
    assert rates[10] == pytest.approx(0.03 * (1 + torch.cos(torch.tensor(torch.pi * 9 / 19)).item()) / 2)
    assert 0 < rates[-1] < 0.001
    assert rates[1:] == sorted(rates[1:], reverse=True)


LESSONS = [{"steps": 3, "kwargs": {"fault_turn": 2}}, {"steps": 4, "kwargs": {"fault_turn": 3}}]


def spy_on_lessons(monkeypatch, training: Pretraining) -> list[tuple[int, float]]:
    """(the argument that lessons change, learning rate) of every step."""
    seen: list[tuple[int, float]] = []
    monkeypatch.setattr(training, "step", lambda lr: seen.append((setting(training), lr)) or 0.0)
    return seen


def setting(training: Pretraining) -> int:
    return training.players[0].batch.envs[0].unwrapped.fault_turn


def test_a_teacher_takes_its_lessons_first_each_with_a_schedule_of_its_own(monkeypatch):
    training = pretraining(tiny(teacher__recipe__steps=5, teacher__recipe__curriculum=LESSONS).teacher)
    own, notes = setting(training), []
    seen = spy_on_lessons(monkeypatch, training)
    pretrain.train_teacher(training, notes.append)
    assert [played for played, _ in seen] == [2] * 3 + [3] * 4 + [own] * 5
    for start in (0, 3, 7):
        assert seen[start][1] == pytest.approx(0.03)
    assert [note.split("/")[0] for note in notes] == ["lesson 1, step 0", "lesson 2, step 0", "step 0"]


def test_a_student_takes_its_lessons_before_it_is_held_against_its_band(monkeypatch):
    recipe = {"student__recipe__curriculum": LESSONS, "student__recipe__success": [0.4, 0.6]}
    training = pretraining(tiny(**recipe).student)
    mine = training.players
    own, seen, judged = setting(training), spy_on_lessons(monkeypatch, training), []
    answers = iter([0.1, 0.5])
    monkeypatch.setattr(training, "success", lambda: judged.append(setting(training)) or next(answers))
    assert train_student(training, lambda _: None) == 0.5
    assert [played for played, _ in seen] == [2] * 3 + [3] * 4 + [own] * 10
    assert judged == [own, own]
    assert training.players is mine
    answers = iter([0.45])
    del seen[:]
    assert train_student(training, lambda _: None) == 0.45
    assert own not in {played for played, _ in seen}  # the curriculum was enough
    answers = iter([0.7])
    with pytest.raises(
        UserError, match=r"success 0.700 after the curriculum is above the band \[0.4, 0.6\]; take fewer"
    ):
        train_student(training, lambda _: None)


def test_after_an_error_in_a_lesson_its_environments_are_closed(monkeypatch):
    training = pretraining(tiny(teacher__recipe__curriculum=LESSONS).teacher)
    mine, closed = training.players, []

    def fail(lr):
        for player in training.players:
            monkeypatch.setattr(player.batch, "close", lambda: closed.append(setting(training)))
        raise InterruptedError

    monkeypatch.setattr(training, "step", fail)
    with pytest.raises(InterruptedError):
        pretrain.train_lessons(training, lambda _: None)
    assert closed == [2]
    assert training.players is mine


def test_a_bad_lesson_is_found_before_the_first_one_is_learned(monkeypatch):
    bad = {"teacher__recipe__curriculum": [*LESSONS, {"steps": 1, "kwargs": {"colour": 2}}]}
    with pytest.raises(UserError, match=r"recipe.curriculum\[2\].kwargs: .*colour"):
        pretraining(tiny(**bad).teacher)
    own = Echo.vocabulary
    monkeypatch.setattr(Echo, "vocabulary", lambda echo: [*own(echo), *["novel"] * (echo.fault_turn == 3)])
    with pytest.raises(UserError, match=r"curriculum\[1\].kwargs: {'fault_turn': 3} brings words .* such as 'novel'"):
        pretraining(tiny(teacher__recipe__curriculum=LESSONS).teacher)


def test_a_recipe_without_a_curriculum_is_recorded_as_before_there_were_any():
    """Or older runs could not be resumed, nor their models be found in their ledgers."""
    config = tiny()
    assert "curriculum" not in config.teacher.recipe.model_dump(mode="json")
    assert "curriculum" not in config.model_dump(mode="json")["student"]["recipe"]
    with_one = tiny(teacher__recipe__curriculum=LESSONS)
    assert with_one.model_dump(mode="json")["teacher"]["recipe"]["curriculum"] == LESSONS
    assert type(config).model_validate(with_one.model_dump(mode="json")) == with_one


def weights_of(training: Pretraining) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in training.policy.parameters()])


def test_a_student_that_jumps_over_its_band_is_taken_back_and_retried_more_slowly():
    """Success below, above, above, below, inside the band: two jumps, so twice half the rate."""
    config = tiny(student__recipe__success=[0.4, 0.6], student__recipe__lr=0.01, student__recipe__steps=100).student
    training = pretraining(config)
    answers = iter([0.1, 0.9, 0.8, 0.2, 0.5])
    seen, rates = [], []
    step = training.step

    def spy(lr):
        rates.append(lr)
        if len(rates) % 10 == 1:
            seen.append(weights_of(training))
        return step(lr)

    training.step = spy
    training.success = lambda: next(answers)
    assert train_student(training, lambda _: None) == 0.5
    assert len(rates) == 50
    assert torch.equal(seen[2], seen[1])  # back to where 0.1 was measured
    assert torch.equal(seen[3], seen[1])
    assert not torch.equal(seen[4], seen[3])
    assert rates[19] == 0.01
    assert rates[29] == 0.005
    assert rates[39] == rates[49] == 0.0025


def test_a_band_out_of_reach_is_an_error_that_names_the_fix():
    config = tiny(student__recipe__success=[0.98, 1.0], student__recipe__steps=20).student
    training = pretraining(config)
    training.success = lambda: 0.25
    with pytest.raises(UserError, match=r"student: success 0.250 after 20 steps is outside the band \[0.98, 1.0\]"):
        train_student(training, lambda _: None)


def test_a_recipe_file_says_where_a_model_comes_from(built):
    meta = json.loads((Path(built.student.path) / "recipe.json").read_text())
    assert meta["env"]["id"] == BASE["env.id"]
    assert meta["model"]["hidden"] == 16
    assert meta["success"] == built.student.success
    assert meta["torch"] == torch.__version__
