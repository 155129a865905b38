"""A small server for pages on this machine alone: no framework, no request to another machine, no answer without the secret."""

from __future__ import annotations

import hmac
import json
import secrets
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from nola_core.errors import NolaError
from nola_core.text import printable

LOCAL = "127.0.0.1"
NOTHING_ELSE = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " + NOTHING_ELSE
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


@dataclass(frozen=True)
class Reply:
    """What a page sends.

    Attributes:
        kind: the content type.
        policy: what the page may load.
        sent: called once the page has got it.
    """

    kind: str
    content: bytes
    status: HTTPStatus = HTTPStatus.OK
    policy: str = POLICY
    sent: Callable[[], None] | None = None


Answer = Callable[[list[str], Mapping[str, str]], Reply | None]
"""The reply to a path behind the secret, in parts ([""] is the page itself), and the query; None if there is nothing there."""

Told = Callable[[list[str], dict[str, Any]], Reply | None]
"""The reply to a JSON object that a page has sent to a path; None if nothing listens there."""
BODY_BYTES = 1 << 16
"""A page may send as much at a time."""


def as_json(value: Any) -> Reply:
    """`value` as JSON; NaN and infinity are errors."""
    return Reply("application/json", json.dumps(value, allow_nan=False).encode())


@contextmanager
def served(answer: Answer, port: int = 0, *, told: Told | None = None) -> Iterator[str]:
    """Serve a page on this machine; yields its address, which holds a secret.

    Args:
        answer: called from several threads at once. A NolaError or OSError becomes 404 with its sentence.
        port: 0 takes a free one.
        told: what the page may send, likewise; its NolaError or OSError becomes 409. None: it may send nothing.
    """
    token = secrets.token_urlsafe(24)
    server = _Server((LOCAL, port), _handler(answer, told, token))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://{LOCAL}:{server.server_address[1]}/{token}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing where a page was closed while it was loading; otherwise what went wrong, as usual."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _handler(answer: Answer, told: Told | None, token: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version = "nola"
        sys_version = ""
        timeout = 60

        def do_GET(self) -> None:
            """What `answer` has for this path."""
            parts = self._parts()
            if parts is None:
                self._send(_refusal())
                return
            try:
                reply = answer(parts, dict(parse_qsl(urlsplit(self.path).query)))
            except (NolaError, OSError) as error:
                reply = _refusal(str(error))
            self._send(reply or _refusal())

        def do_POST(self) -> None:
            """What `told` says to a JSON object."""
            try:
                size = int(self.headers.get("Content-Length", ""))
            except ValueError:
                size = -1
            if not 0 <= size <= BODY_BYTES:
                self.close_connection = True
                self._send(_refusal(status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE))
                return
            body, parts = self.rfile.read(size), self._parts()
            ours = self.headers.get("Content-Type", "").partition(";")[0].strip() == "application/json"  # no form can send that
            if told is None or parts is None or not ours:
                self._send(_refusal())
                return
            try:
                said = json.loads(body)
            except ValueError:
                said = None
            if not isinstance(said, dict):
                self._send(_refusal("no JSON object.", status=HTTPStatus.BAD_REQUEST))
                return
            try:
                reply = told(parts, said)
            except (NolaError, OSError) as error:
                reply = _refusal(str(error), status=HTTPStatus.CONFLICT)
            self._send(reply or _refusal())

        def _parts(self) -> list[str] | None:
            """The path behind the secret; None if that is wrong, the host is another machine's, or another page asks."""
            try:
                host = urlsplit(f"//{self.headers.get('Host', '')}").hostname
            except ValueError:
                return None
            first, *rest = urlsplit(self.path).path.split("/")[1:] or [""]
            known = hmac.compare_digest(first.encode(), token.encode()) and host in (LOCAL, "localhost")
            return rest if known and self.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin") else None

        def _send(self, reply: Reply) -> None:
            headers = {
                "Content-Security-Policy": reply.policy,
                "Content-Type": reply.kind,
                "Content-Length": str(len(reply.content)),
            }
            with suppress(ConnectionError):  # the page has gone on to something else
                self.send_response(reply.status)
                for name, value in {**HEADERS, **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply.content)
            if reply.sent is not None:
                reply.sent()

        def log_message(self, format: str, *arguments: Any) -> None:
            """Nothing: the address holds the secret."""

    return Handler


def _refusal(sentence: str = "", *, status: HTTPStatus = HTTPStatus.NOT_FOUND) -> Reply:
    return Reply("text/plain; charset=utf-8", printable(sentence or status.phrase).encode(), status)
