"""A language model server for tests: the OpenAI protocol over real HTTP, scripted faults, and a log of all it was asked.

python -m tests.descriptions.llm_server --port 8901      # for benchmarks/descriptions.py and for trying things by hand
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FAULTS = {"429", "quota", "401", "400", "temperature"}
FAULTS |= {"500", "drop", "garbage", "malformed", "truncated", "refusal", "empty", "slow"}
FAULTS |= {"nested", "bomb", "flood", "error bomb"}


@cache
def bomb() -> bytes:
    """200 MB of nothing, compressed."""
    return gzip.compress(bytes(200_000_000), compresslevel=1)


class LLMServer:
    """`with LLMServer(faults=["429", "drop"]) as server:` answers at `server.url`, the first requests with those faults."""

    def __init__(
        self,
        *,
        port: int = 0,
        faults: Iterable[str] = (),
        rule: Callable[[dict[str, Any]], str | None] = lambda body: None,
        twist: Callable[[dict[str, Any]], object] = lambda completion: None,
        structures: Iterable[str] = ("json_schema", "json_object"),
        delay: float = 0.0,
        retry_after: str = "0.05",
    ) -> None:
        """`rule` names a fault for a request's body, `twist` changes a completion before it is sent.

        `structures` are the response formats it takes (400 for others).
        """
        self.faults = deque(faults)
        self.rule = rule
        self.twist = twist
        self.structures = set(structures)
        self.delay = delay
        self.retry_after = retry_after
        self.log: list[dict[str, Any]] = []  # one entry a completion asked for: path, body, headers, fault, time
        self.most_at_once = self.at_once = self.answered = 0
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.polls_until_done = 1
        self.batches_without_id = False
        self.lock = threading.Lock()
        server = self

        class Handler(_Handler):
            owner = server

        self.http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> LLMServer:
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.http.shutdown()
        self.http.server_close()

    def prompts(self, *, since: int = 0) -> list[str]:
        """The prompts asked, in order, without what a fall-back adds to them."""
        return [prompt_of(entry["body"]).split("\n\n")[0] for entry in self.log[since:]]

    def fault(self, body: dict[str, Any]) -> str | None:
        with self.lock:
            return self.rule(body) or (self.faults.popleft() if self.faults else None)

    def completion(self, path: str, body: dict[str, Any], fault: str | None) -> dict[str, Any]:
        """The reply to a request, in chat or completion form."""
        with self.lock:
            self.answered += 1
            number = self.answered
        choices: list[dict[str, Any]] = []
        for index in range(body.get("n", 1)):
            text = answer(body, f"{number}.{index}")
            message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
            reason = "stop"
            if fault == "truncated":
                message["content"], reason = text[: len(text) // 2], "length"
            elif fault == "refusal":
                message.update(content=None, refusal="I can't help with that.")
            elif fault == "malformed":
                message["content"] = '{"sentences": 7'
            elif fault == "empty":
                message["content"] = ""
            if path.endswith("/chat/completions"):
                choices.append({"index": index, "message": message, "finish_reason": reason, "logprobs": None})
            else:
                choices.append({"index": index, "text": message["content"] or "", "finish_reason": reason, "logprobs": None})
        words = len(prompt_of(body).split())
        out = sum(len(str(choice).split()) for choice in choices)
        chat = path.endswith("/chat/completions")
        made = {
            "id": f"answer-{number}",
            "object": "chat.completion" if chat else "text_completion",
            "created": int(time.time()),
            "model": f"{body['model']}-2026",
            "choices": choices,
            "usage": {"prompt_tokens": words, "completion_tokens": out, "total_tokens": words + out},
        }
        self.twist(made)
        return made

    def advance(self, batch: dict[str, Any]) -> dict[str, Any]:
        """One look at a batch: after enough of them it is done, every line answered or failed as `rule` and `faults` say."""
        batch["polls"] += 1
        if batch["status"] != "in_progress" or batch["polls"] < self.polls_until_done:
            return batch
        good, bad = [], []
        for line in map(json.loads, self.files[batch["input_file_id"]].splitlines()):
            fault = self.fault(line["body"])
            self.log.append({"path": line["url"], "body": line["body"], "fault": fault, "time": time.time()})
            if fault in ("400", "500"):
                response = {"status_code": int(fault), "body": error("out of order")}
                bad.append({"custom_id": line["custom_id"], "response": response, "error": None})
            else:
                response = {"status_code": 200, "body": self.completion(line["url"], line["body"], fault)}
                good.append({"custom_id": line["custom_id"], "response": response, "error": None})
        for kind, lines in (("output", good), ("error", bad)):
            if lines:
                self.files[f"{batch['id']}-{kind}"] = "\n".join(map(json.dumps, lines)).encode()
                batch[f"{kind}_file_id"] = f"{batch['id']}-{kind}"
        batch["status"] = "completed"
        return batch


def prompt_of(body: dict[str, Any]) -> str:
    if "prompt" in body:
        return str(body["prompt"])
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else next(part["text"] for part in content if part["type"] == "text")


def images_of(body: dict[str, Any]) -> list[str]:
    content = body["messages"][-1]["content"]
    return [] if isinstance(content, str) else [part["image_url"]["url"] for part in content if part["type"] == "image_url"]


def answer(body: dict[str, Any], number: str) -> str:
    """A good answer in the form asked for; `number` makes each one different."""
    kind = body.get("response_format", {}).get("type")
    prompt = prompt_of(body)
    form = body["response_format"]["json_schema"]["name"] if kind == "json_schema" else None
    if kind == "json_object":
        form = "attributes" if '"attributes"' in prompt else "sentences"
    if form:
        return json.dumps({form: [f"answer {number} one", f"answer {number} two"]})
    if "line of its own" in prompt:
        return f"Here they are:\n1. answer {number} one\n2. answer {number} two"
    return f"answer {number} to {prompt}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    owner: LLMServer

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        owner = self.owner
        if match := re.fullmatch(r"/v1/files/([^/]+)/content", self.path):
            self.send(200, owner.files[match[1]], kind="application/octet-stream")
        elif match := re.fullmatch(r"/v1/batches/([^/?]+)", self.path):
            self.send_json(200, owner.advance(owner.batches[match[1]]))
        elif self.path.startswith("/v1/batches"):
            self.send_json(200, {"object": "list", "data": list(owner.batches.values()), "has_more": False})
        else:
            self.send_json(404, {"error": {"message": f"no such path {self.path}"}})

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        with suppress(BrokenPipeError, ConnectionResetError):
            if self.path.endswith("/completions"):
                self.complete(json.loads(data))
            elif self.path == "/v1/files":
                self.upload(data)
            elif self.path == "/v1/batches":
                self.submit(json.loads(data))
            else:
                self.send_json(404, {"error": {"message": f"no such path {self.path}"}})

    def complete(self, body: dict[str, Any]) -> None:
        owner = self.owner
        kind = body.get("response_format", {}).get("type")
        fault = "unsupported" if kind and kind not in owner.structures else owner.fault(body)
        with owner.lock:
            owner.log.append(
                {"path": self.path, "body": body, "headers": dict(self.headers), "fault": fault, "time": time.time()}
            )
            owner.at_once += 1
            owner.most_at_once = max(owner.most_at_once, owner.at_once)
        try:
            time.sleep(owner.delay)
            if fault == "slow":
                self.close_connection = True
                self.connection.recv(1)  # nothing, until whoever waits has had enough
            else:
                self.reply(body, fault, kind)
        finally:
            with owner.lock:
                owner.at_once -= 1

    def reply(self, body: dict[str, Any], fault: str | None, kind: str | None) -> None:
        key = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if fault == "unsupported":
            self.send_json(400, error(f"response_format of type {kind} is not supported"))
        elif fault == "429":
            self.send_json(429, error("slow down", "rate_limit_exceeded"), headers={"Retry-After": self.owner.retry_after})
        elif fault == "quota":
            self.send_json(429, error("nothing left", "insufficient_quota"))
        elif fault == "401":
            self.send_json(401, error(f"Incorrect API key provided: {key}"))
        elif fault == "400":
            self.send_json(400, error("this prompt is not to my taste"))
        elif fault == "temperature":
            self.send_json(400, error("Unsupported value: 'temperature' does not support 0.99 with this model."))
        elif fault == "500":
            self.send_json(500, error("out of order"))
        elif fault == "drop":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        elif fault == "garbage":
            self.send(200, b'{"id": "answer", "choices": [', kind="application/json")
        elif fault == "nested":
            self.send(200, b'{"choices": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", kind="application/json")
        elif fault in ("bomb", "error bomb"):
            status = 200 if fault == "bomb" else 500
            self.send(status, bomb(), kind="application/json", headers={"Content-Encoding": "gzip"})
        elif fault == "flood":
            self.send(200, b" " * 20_000_000, kind="application/json")
        else:
            self.send_json(200, self.owner.completion(self.path, body, fault))

    def upload(self, data: bytes) -> None:
        """Multipart: the part named `file` is kept."""
        boundary = re.search(r"boundary=([^;]+)", self.headers["Content-Type"])[1].encode()  # type: ignore[index]
        part = next(part for part in data.split(b"--" + boundary) if b'name="file"' in part)
        name = f"file-{len(self.owner.files)}"
        self.owner.files[name] = part.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n")
        made = {"id": name, "object": "file", "bytes": len(data), "created_at": 0, "filename": "nola.jsonl"}
        self.send_json(200, made | {"purpose": "batch", "status": "processed"})

    def submit(self, body: dict[str, Any]) -> None:
        owner = self.owner
        name = f"batch-{len(owner.batches)}"
        made = {"id": name, "object": "batch", "status": "in_progress", "created_at": 0, "polls": 0, **body}
        owner.batches[name] = made
        self.send_json(200, {**made, "id": None} if owner.batches_without_id else made)

    def send_json(self, status: int, value: Any, *, headers: dict[str, str] | None = None) -> None:
        self.send(status, json.dumps(value).encode(), kind="application/json", headers=headers)

    def send(self, status: int, data: bytes, *, kind: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


def error(message: str, code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "error", "param": None, "code": code}}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=8901)
    with LLMServer(port=parser.parse_args().port) as running:
        print(f"answering at {running.url}", flush=True)
        running.thread.join()
