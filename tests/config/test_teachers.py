"""Teachers behind an API: what is refused of them, and in which words."""

from __future__ import annotations

from typing import Any

import pytest

from atod_sweep.config.base import validate
from atod_sweep.config.files import load_train
from atod_sweep.config.teachers import ChatTeacher
from atod_sweep.config.train import Train
from atod_sweep.errors import UserError

URL = "http://127.0.0.1:9/v1"
SERVER = {"teacher.kind": "server", "teacher.url": URL, "teacher.model": "m"}
CHAT = {"teacher.kind": "chat", "teacher.url": URL, "teacher.model": "m"}
SAMPLED = {"objective.distill.kind": "sampled_reverse_kl"}
RELABEL = {"objective.distill.kind": "relabel"}
HYBRID = {"objective.kind": "hybrid"}
TAKEN = {"rollout.takeover.probability": 0.5, "rollout.teacher_turns": "forward_kl"}


def config(*parts: dict[str, Any]) -> Train:
    overrides: dict[str, Any] = {}
    for part in parts:
        overrides |= part
    return load_train("presets/support_desk_compact", overrides)


@pytest.mark.parametrize(
    "parts",
    [
        (SERVER, SAMPLED),
        (SERVER, HYBRID, {"objective.turns.kind": "t_dur"}),
        (SERVER, {"objective.distill.kind": "jsd", "objective.distill.top_k": 5}),
        (SERVER, RELABEL, {"rollout.temperature": 0.7}),
        (SERVER, {"objective.kind": "sft", "rollout.temperature": 0.7}),
        (SERVER, {"objective.distill_weight": 0.0, "rollout.temperature": 0.7}),
        (SERVER, {"objective.stand_in.kind": "constant_push"}),
        (CHAT, RELABEL),
        (CHAT, {"objective.kind": "sft"}),
        (CHAT, {"objective.kind": "spin"}),
        (CHAT, {"objective.kind": "dpo"}),
        (CHAT, {"objective.distill_weight": 0.0}),
        (RELABEL,),
    ],
)
def test_what_goes_together(parts):
    assert config(*parts)


def test_signals_compare_as_many_ids_as_a_server_gives():
    assert config(SERVER).objective.distill.top_k == 20
    assert config(SERVER, {"teacher.top_k": 50}).objective.distill.top_k == 50
    small = {"student.kind": "pretrained", "student.path": "x/y"}
    assert config(SERVER, small).objective.distill.top_k == 20
    assert config(SERVER, {"objective.distill.top_k": 5}).objective.distill.top_k == 5
    assert load_train({"teacher": {"kind": "server", "url": URL, "model": "m"}}).objective.distill.top_k == 20


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((SERVER, {"objective.distill.top_k": None}), "compares the whole vocabulary, and teacher.kind 'server' gives"),
        ((SERVER, {"objective.distill.top_k": 21}), "the 21 likeliest ids, and .* set objective.distill.top_k: 20"),
        ((SERVER, {"teacher.api": "openai"}), "teacher.api 'openai' gives log-probs of sampled tokens alone"),
        ((SERVER, SAMPLED, {"rollout.temperature": 0.7}), "temperature 1 only, got 0.7; set rollout.temperature: 1.0"),
        (
            (SERVER, SAMPLED, {"rollout.temperature.kind": "linear", "rollout.temperature.start": 1.0}),
            "at temperature 1 only, got 0.1",
        ),
        ((SERVER, {"objective.distill.temperature": 2.0}), "objective.distill.temperature: .* got 2; set it to 1.0"),
        ((SERVER, {"objective.stand_in.kind": "random_teacher"}), "needs the teacher's architecture"),
        ((SERVER, SAMPLED, TAKEN), "forward_kl' compares distributions, which teacher.kind 'server' is not asked for"),
        ((CHAT,), "'chat' gives text and no log-probs, which 'forward_kl' compares"),
        ((CHAT, HYBRID), "which 'sampled_reverse_kl' compares; use objective.kind: interpolated with .*relabel"),
        ((RELABEL, {"objective.turns.kind": "t_dur"}), "'t_dur' is made of the teacher's log-probs"),
        ((RELABEL, {"objective.distill_weight.kind": "adaptive"}), "'adaptive' follows the teacher's log-probs"),
        ((RELABEL, {"objective.stand_in.kind": "shuffled_teacher"}), "takes the place of the teacher's log-probs"),
        ((CHAT, RELABEL, {"teacher.options": {"stream": True}}), "'stream' is set by every request itself"),
        ((SERVER, {"teacher.url": "localhost:8000"}), "such as http://localhost:8000/v1, got 'localhost:8000'"),
        ((SERVER, {"teacher.url": "http://"}), "needs an address"),
        ((SERVER, {"teacher.url": "http://h:99999"}), "needs an address"),
        ((SERVER, {"teacher.patience": -1}), "at least 0"),
    ],
)
def test_refused_on_one_line(parts, message):
    with pytest.raises(UserError, match=message) as error:
        config(*parts)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"url": "https://me:Geheim7@host/v1"},
        {"url": "https://Geheim7@host/v1"},
        {"url": "https://host/v1?key=Geheim7"},
        {"url": "host/v1#Geheim7"},
        {"url": "me:Geheim7@host/v1"},
        {"key_env": "sk-Geheim7"},
        {"key_env": "gsk_Geheim7"},
    ],
)
def test_a_key_in_a_file_is_refused_and_not_repeated(fields):
    with pytest.raises(UserError) as error:
        validate(ChatTeacher, {"url": URL, "model": "m", **fields}, "x.yaml")
    assert "Geheim7" not in str(error.value)


def test_an_address_loses_its_last_slash():
    assert ChatTeacher(url=URL + "/", model="m").url == URL
