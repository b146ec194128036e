"""A small OpenAI-compatible server that says what a test wants it to, and fails in all the ways that real ones do."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]


class Stub:
    """`logp(ids)` gives, for every position but the first, log-probs by id; `continue_(ids, body)` the ids of an action
    behind them; `say(messages)` an action as text; `tokenize(text)` ids, `spell(ids)` text.

    Every request takes one of the `faults`: "" is none, a number a status, or one of `_broken`. `dies_after`: so many
    answers, then nobody listens until `start`.
    """

    def __init__(self, **says: Any) -> None:
        self.says = says
        self.faults: deque[str] = deque()
        self.asked: list[tuple[str, Json]] = []
        self.keys: list[str | None] = []
        self.dies_after: int | None = None
        self.models = ["stub"]
        self.released = threading.Event()
        self.most_logprobs = 20
        self._lock = threading.Lock()
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def answered(self) -> int:
        return len(self.asked)

    def start(self) -> None:
        """Listen, on the port of before if there was one."""
        ThreadingHTTPServer.allow_reuse_address = True
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), _handler(self))
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def stop(self) -> None:
        """Nobody listens any more."""
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    def take(self, path: str, body: Json, key: str | None) -> str:
        """Note a request; the fault that it meets."""
        with self._lock:
            if self.dies_after is not None and len(self.asked) >= self.dies_after:
                return "dead"
            self.asked.append((path, body))
            self.keys.append(key)
            return self.faults.popleft() if self.faults and "completions" in path else ""

    # ---- what it says ------------------------------------------------------------------------------------------------

    def answer(self, path: str, body: Json) -> tuple[int, Json]:
        if path.endswith("/models"):
            return 200, {"data": [{"id": name} for name in self.models]}
        if path.endswith("/tokenize"):
            return 200, {"tokens": self.says["tokenize"](body["prompt"])}
        if path.endswith("/chat/completions"):
            return 200, {"choices": [self._chat(body["messages"])], "usage": usage(100, 5)}
        if (k := body.get("prompt_logprobs") or 0) > self.most_logprobs:
            told = f"Requested prompt logprobs of {k}, which is greater than max allowed: {self.most_logprobs}"
            return 400, {"error": {"message": told}}
        prompts = body["prompt"] if isinstance(body["prompt"][0], list) else [body["prompt"]]
        choices = [{"index": i, **self._complete(ids, body)} for i, ids in enumerate(prompts)]
        return 200, {"choices": choices, "usage": usage(sum(map(len, prompts)), len(prompts))}

    def _chat(self, messages: list[Json]) -> Json:
        return {
            "index": 0,
            "message": {"role": "assistant", "content": self.says["say"](messages)},
            "finish_reason": "stop",
        }

    def _complete(self, ids: list[int], body: Json) -> Json:
        if body.get("prompt_logprobs") is not None:
            told: list[Any] = [None]
            for i, of in enumerate(self.says["logp"](ids), start=1):
                kept = sorted(of, key=lambda v: -of[v])[: body["prompt_logprobs"]]
                told.append({str(v): {"logprob": of[v], "rank": 1, "decoded_token": "?"} for v in {*kept, ids[i]}})
            return {"text": "", "prompt_logprobs": told, "finish_reason": "length"}
        if body.get("echo"):
            own = [None, *(of[ids[i]] for i, of in enumerate(self.says["logp"](ids), start=1)), -0.5]
            return {
                "text": self.says["spell"](ids) + "x",
                "logprobs": {"token_logprobs": own},
                "finish_reason": "length",
            }
        said = self.says["continue_"](ids, body)
        text = self.says["spell"](said)
        return {"text": text, "finish_reason": "stop"} | ({"token_ids": said} if body.get("return_token_ids") else {})


def usage(read: int, written: int) -> Json:
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def _broken(fault: str, answer: Json) -> bytes:
    """A body with a fault in it."""
    choices = answer["choices"]
    match fault:
        case "truncated":
            return json.dumps(answer).encode()[:-20]
        case "html":
            return b"<html>502</html>"
        case "list":
            return b"[1, 2]"
        case "few":
            answer = answer | {"choices": choices[:-1]}
        case "many":
            answer = answer | {"choices": [*choices, choices[-1]]}
        case "reordered":
            answer = answer | {"choices": choices[::-1]}
        case "short":
            answer = answer | {"choices": [_changed(choices[0], lambda told: told[:-1]), *choices[1:]]}
        case "nan":
            answer = answer | {"choices": [_changed(choices[0], lambda told: _nan(told)), *choices[1:]]}
        case "null":
            answer = answer | {"choices": None}
        case _:
            raise AssertionError(fault)
    return json.dumps(answer).encode()


def _changed(choice: Json, change: Callable[[list[Any]], list[Any]]) -> Json:
    if "prompt_logprobs" in choice:
        return choice | {"prompt_logprobs": change(choice["prompt_logprobs"])}
    if "logprobs" in choice:
        told = change(choice["logprobs"]["token_logprobs"])
        return choice | {"logprobs": {"token_logprobs": told[:-1] if len(told) > 1 else told}}
    return choice | {"text": None} if "text" in choice else {"index": 0, "message": {"content": 3}}


def _nan(told: list[Any]) -> list[Any]:
    def spoilt(one: Any) -> Any:
        if isinstance(one, dict):
            return {i: said | {"logprob": float("nan")} for i, said in one.items()}
        return None if one is None else float("nan")

    return [spoilt(one) for one in told]


def _handler(stub: Stub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            self.do_POST()

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else {}
            fault = stub.take(self.path, body, self.headers.get("Authorization"))
            if fault in ("dead", "gone"):
                self.connection.close()
                return
            if fault == "timeout":
                stub.released.wait(30)
                return
            if fault == "slow":
                time.sleep(0.05)
            status, answer = stub.answer(self.path, body)
            if fault.isdigit():
                status, answer = int(fault), {"error": {"message": f"told {fault} {self.headers.get('Authorization')}"}}
            if status == 200 and fault not in ("", "slow"):
                data = _broken(fault, answer)
            else:
                data = json.dumps(answer).encode()
            try:
                self.send_response(status)
                if status == 429:
                    self.send_header("Retry-After", "0.01")
                if 300 <= status < 400:
                    self.send_header("Location", "http://127.0.0.1:1/elsewhere")
                self.send_header("Content-Length", str(len(data) + (fault == "truncated")))
                self.end_headers()
                self.wfile.write(data)
            except OSError:
                pass  # the client has given up

    return Handler
