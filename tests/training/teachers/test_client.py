"""Asking a server: what is asked again, for how long, how often, and what is never told."""

from __future__ import annotations

import copy
import pickle
import time
import traceback

import pytest
from echo_env import PARTNER
from small import tiny
from stub_api import Stub

from atod_sweep.config.price import TokenPrice
from atod_sweep.config.teachers import ChatTeacher
from atod_sweep.errors import UserError
from atod_sweep.training.failures import TeacherFailed, TeacherUnreachable
from atod_sweep.training.loop.trainer import train
from atod_sweep.training.teachers import client
from atod_sweep.training.teachers.client import Client, check_there

KEY = "sk-Very+Secret/1"


@pytest.fixture
def server():
    stub = Stub(say=lambda messages: messages[-1]["content"])
    yield stub
    stub.stop()


def asking(stub, **settings):
    waits = []
    config = ChatTeacher(url=stub.url, model="stub", **{"timeout": 0.5, "patience": 20.0, **settings})
    return Client(config, pause=lambda seconds: waits.append(seconds)), waits


def said(answer):
    return answer["choices"][0]["message"]["content"]


def ask(client, text="hello"):
    return client.ask(f"{client.config.url}/chat/completions", body(text), said)


def body(text):
    return {"model": "stub", "messages": [{"role": "user", "content": text}]}


@pytest.mark.parametrize("fault", ["500", "503", "408", "429", "timeout", "truncated", "html", "list", "gone"])
def test_what_may_pass_is_asked_again(server, fault):
    server.faults.extend([fault, fault])
    asker, waits = asking(server)
    assert ask(asker) == "hello"
    assert server.answered == 3
    assert len(waits) == 2


def test_waits_grow_and_are_not_all_the_same(server, monkeypatch):
    monkeypatch.setattr(client, "FIRST_WAIT", 0.5)
    monkeypatch.setattr(client, "LONGEST_WAIT", 3.0)
    server.faults.extend(["500"] * 5)
    asker, waits = asking(server)
    ask(asker)
    for wait, least in zip(waits, (0.5, 1.0, 2.0, 3.0, 3.0), strict=True):
        assert least <= wait <= 1.5 * least
    assert len({wait / least for wait, least in zip(waits, (0.5, 1.0, 2.0, 3.0, 3.0), strict=True)}) == 5


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("0.5", 0.5), ("-3", 0.0), ("1e9", 3600.0), ("soon", None), ("nan", None), (None, None)],
)
def test_how_long_a_server_asks_to_wait(header, seconds):
    assert client._seconds(header) == seconds


def test_a_date_to_wait_for():
    assert client._seconds("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0


@pytest.mark.parametrize("fault", ["400", "401", "403", "404", "422", "301", "307"])
def test_what_will_not_pass_is_not_asked_again(server, fault):
    server.faults.append(fault)
    asker, _ = asking(server)
    with pytest.raises(TeacherFailed, match=f"refuses what it was asked: HTTP {fault}"):
        ask(asker)
    assert server.answered == 1


def test_patience_ends(server):
    asker, waits = asking(server, patience=0.2)
    asker.pause = lambda seconds: (waits.append(seconds), time.sleep(seconds))
    server.stop()
    with pytest.raises(TeacherUnreachable, match=r"was away for teacher.patience: 0.2 s: .*refused; start it again"):
        ask(asker)
    assert len(waits) > 2
    server.start()


def test_a_wait_longer_than_the_patience_is_not_begun(server, monkeypatch):
    monkeypatch.setattr(client, "_seconds", lambda _: 500.0)
    server.faults.append("429")
    asker, waits = asking(server)
    with pytest.raises(TeacherUnreachable, match="HTTP 429"):
        ask(asker)
    assert not waits


def test_many_are_asked_at_a_time_and_come_back_in_any_order(server):
    asker, _ = asking(server, concurrency=4)
    server.faults.extend(["slow", "", "500", "slow"] * 3)
    found = {}
    texts = [str(i) for i in range(12)]
    url = f"{asker.config.url}/chat/completions"
    asker.ask_all([(url, body(text)) for text in texts], [said] * 12, found.update)
    assert found == dict(enumerate(texts))
    bill = asker.take_bill()
    assert bill == {"teacher_requests": 12, "teacher_hits": 0, "teacher_read": 1200, "teacher_written": 60}
    assert set(asker.take_bill().values()) == {0}


def test_one_that_fails_stops_the_others(server):
    asker, _ = asking(server, concurrency=2)
    server.faults.append("400")
    url = f"{asker.config.url}/chat/completions"
    with pytest.raises(TeacherFailed):
        asker.ask_all([(url, body("x"))] * 200, [said] * 200, lambda _: None)
    assert server.answered < 100


def test_no_more_requests_than_were_allowed(server):
    asker, waits = asking(server, requests_per_minute=600)
    for _ in range(4):
        ask(asker)
    assert len(waits) == 3
    assert sum(waits) <= 0.1 + 0.2 + 0.3


def test_money(server):
    asker, _ = asking(server, price=TokenPrice(input=2.0, output=10.0))
    ask(asker)
    assert asker.take_bill()["teacher_money"] == pytest.approx((100 * 2.0 + 5 * 10.0) / 1e6)


# ---- the key -----------------------------------------------------------------------------------------------------


def test_the_key_is_sent_and_never_told(server, monkeypatch):
    monkeypatch.setenv("MY_KEY", f" {KEY}\n")
    asker, _ = asking(server, key_env="MY_KEY")
    server.faults.append("400")  # the stub repeats what it was sent
    with pytest.raises(TeacherFailed) as error:
        ask(asker)
    assert server.keys == [f"Bearer {KEY}"]
    assert KEY not in str(error.value)
    assert "told 400 Bearer …" in str(error.value)
    assert KEY not in repr(asker)
    for write in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match="a client holds a key"):
            write(asker)


def test_without_one_none_is_sent(server):
    asker, _ = asking(server)
    ask(asker)
    assert server.keys == [None]


def test_a_redirect_takes_the_key_nowhere(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    asker, _ = asking(server)
    server.faults.append("302")
    with pytest.raises(TeacherFailed, match="HTTP 302"):
        ask(asker)


@pytest.mark.parametrize(
    ("value", "message"),
    [(None, "MY_KEY is not set"), ("", "MY_KEY is not set"), ("a\nb", "no key has"), ("ключ", "no key has")],
)
def test_a_key_that_is_none(server, monkeypatch, value, message):
    if value is not None:
        monkeypatch.setenv("MY_KEY", value)
    with pytest.raises(UserError, match=message) as error:
        asking(server, key_env="MY_KEY")
    assert value is None or value == "" or value not in str(error.value)


# ---- at the start ------------------------------------------------------------------------------------------------


def test_a_server_that_is_there(server):
    check_there(ChatTeacher(url=server.url, model="stub"))
    server.models = []
    check_there(ChatTeacher(url=server.url, model="any"))


def test_a_server_that_is_not_there(server):
    server.stop()
    told = r"^teacher.url: nobody answers at http://127.0.0.1:\d+/v1: .*refused; start the server"
    with pytest.raises(UserError, match=told):
        check_there(ChatTeacher(url=server.url, model="stub"))
    server.start()


def test_a_model_that_it_does_not_have(server):
    with pytest.raises(UserError, match=r"has no model 'gpt'; it has: stub$"):
        check_there(ChatTeacher(url=server.url, model="gpt"))


def test_a_trial_leaves_the_key_nowhere(server, monkeypatch, tmp_path):
    """Neither in its folder nor in the cache, nor in what it ends with."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server.says["say"] = lambda messages: PARTNER[messages[-1]["content"].split()[-1]]
    chat = {"teacher__kind": "chat", "teacher__url": server.url, "teacher__model": "stub"}
    config = tiny(objective__distill__kind="relabel", steps=2, **chat)
    train(config, tmp_path / "trial")
    assert f"Bearer {KEY}" in server.keys
    server.faults.append("401")
    with pytest.raises(TeacherFailed) as error:
        train(config.model_copy(update={"seed": 1}), tmp_path / "refused")
    assert KEY not in "".join(traceback.format_exception(error.value))
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"sqlite", "json"} <= {path.suffix[1:] for path in written}
    assert not [path for path in written if KEY.encode() in path.read_bytes()]
