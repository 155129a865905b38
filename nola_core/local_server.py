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
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
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
    """

    kind: str
    content: bytes
    status: HTTPStatus = HTTPStatus.OK


Answer = Callable[[list[str], Mapping[str, str]], Reply | None]
"""The reply to a path behind the secret, in parts ([""] is the page itself), and the query; None if there is nothing there."""


def as_json(value: Any) -> Reply:
    """`value` as JSON; NaN and infinity are errors."""
    return Reply("application/json", json.dumps(value, allow_nan=False).encode())


@contextmanager
def served(answer: Answer, port: int = 0) -> Iterator[str]:
    """Serve a page on this machine; yields its address, which holds a secret.

    Args:
        answer: called from several threads at once. A NolaError or OSError becomes 404 with its sentence.
        port: 0 takes a free one.
    """
    token = secrets.token_urlsafe(24)
    server = _Server((LOCAL, port), _handler(answer, token))
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


def _handler(answer: Answer, token: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version = "nola"
        sys_version = ""
        timeout = 60

        def do_GET(self) -> None:
            """What `answer` has for this path."""
            address = urlsplit(self.path)
            first, *rest = address.path.split("/")[1:] or [""]
            if not hmac.compare_digest(first.encode(), token.encode()) or not self._is_ours():
                self._send(_refusal())
                return
            try:
                reply = answer(rest, dict(parse_qsl(address.query)))
            except (NolaError, OSError) as error:
                reply = _refusal(str(error))
            self._send(reply or _refusal())

        def _is_ours(self) -> bool:
            """Whether the request names this machine, and no page of another one has sent it."""
            try:
                host = urlsplit(f"//{self.headers.get('Host', '')}").hostname
            except ValueError:
                return False
            return host in (LOCAL, "localhost") and self.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin")

        def _send(self, reply: Reply) -> None:
            with suppress(ConnectionError):  # the page has gone on to something else
                self.send_response(reply.status)
                for name, value in {**HEADERS, "Content-Type": reply.kind, "Content-Length": str(len(reply.content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply.content)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Nothing: the address holds the secret."""

    return Handler


def _refusal(sentence: str = "") -> Reply:
    text = printable(sentence or HTTPStatus.NOT_FOUND.phrase)
    return Reply("text/plain; charset=utf-8", text.encode(), HTTPStatus.NOT_FOUND)
