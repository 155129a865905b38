"""The page of an audit: a small server on this machine alone, without a framework and without any request to another machine."""

from __future__ import annotations

import hmac
import io
import json
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from PIL import Image

from nola_core.errors import NolaError
from nola_core.text import printable
from nola_core.trust.judging import Judging

LOCAL = "127.0.0.1"
LONGEST_SIDE = 1600
"""Larger images are sent smaller."""
BODY_BYTES = 1 << 16
NOTHING_ELSE = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
PAGE = Path(__file__).with_name("page.html")


class Page:
    """The state that the page shows, and what it may do. One thread at a time."""

    def __init__(self, judging: Judging, dataset: str, image_of: Callable[[str], Image.Image]) -> None:
        self.judging, self.dataset, self.image_of = judging, dataset, image_of
        self.finished = False
        self.seen = threading.Event()
        """Set once the page has got the result."""
        self._lock = threading.Lock()

    def state(self) -> dict[str, Any]:
        """What the page shows now. While questions are open it says nothing about the figure."""
        with self._lock:
            return self._state()

    def names(self) -> list[str]:
        """All classes as they are shown, in order."""
        return list(self.judging.classes.values())

    def answer(self, said: dict[str, Any]) -> dict[str, Any]:
        """Store what the page said: `place`, and `verdict` with `class` (a number), `undo` or `finish`. Returns the state then.

        What is said about another image than the one in question, as by a second tab, is ignored: the state shows the right one.

        Raises:
            NolaError: it says nothing that an audit knows.
        """
        with self._lock:
            judging, question = self.judging, self.judging.question
            if said.get("undo") is True:
                judging.undo()
            elif said.get("finish") is True and question is None:
                self.finished = True
            elif question is not None and said.get("place") == question.place:
                verdict, number = said.get("verdict"), said.get("class")
                if verdict == "class" and type(number) is int and 0 <= number < len(judging.classes):
                    judging.answer(question.image_id, "class", list(judging.classes)[number])
                elif verdict in ("none", "skip"):
                    judging.answer(question.image_id, verdict)
                else:
                    raise NolaError("the page said nothing that an audit knows; load it again.")
            return self._state()

    def picture(self, place: int) -> tuple[str, bytes]:
        """Content type and bytes of the image at a place of the order.

        Raises:
            NolaError: there is no such place, or the image cannot be read.
        """
        order = self.judging.progress.order
        if not 0 <= place < len(order):
            raise NolaError("there is no such image.")
        image = self.image_of(order[place])
        image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
        small = max(image.size) <= 256
        file = io.BytesIO()
        image.save(file, "PNG" if small else "JPEG", **({} if small else {"quality": 92}))
        return ("image/png" if small else "image/jpeg"), file.getvalue()

    def _state(self) -> dict[str, Any]:
        judging, question = self.judging, self.judging.question
        rows = {name: row for row, name in enumerate(judging.classes)}
        state: dict[str, Any] = {
            "dataset": self.dataset,
            "judged": judging.judged,
            "wanted": judging.labels,
            "skipped": judging.skipped,
            "finished": self.finished and question is None,
            "undo": judging.progress.place > 0,
        }
        if question is not None:
            options = [[rows[name], judging.classes[name]] for name in question.options]
            following = [place for place in range(question.place + 1, question.place + 3) if place < len(judging.progress.order)]
            state["question"] = {"place": question.place, "options": options, "next": following}
        elif self.finished and (found := judging.estimate) is not None:
            state["figure"] = {"accuracy": found.accuracy, "low": found.low, "high": found.high}
        return state


@contextmanager
def served(page: Page, port: int = 0) -> Iterator[str]:
    """Serve a page on this machine; yields its address, which holds a secret."""
    token = secrets.token_urlsafe(24)
    server = ThreadingHTTPServer((LOCAL, port), _handler(page, token))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://{LOCAL}:{server.server_address[1]}/{token}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(page: Page, token: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version = "nola"
        sys_version = ""
        timeout = 60

        def do_GET(self) -> None:
            """The page, its state, its classes and its pictures."""
            parts = self._parts()
            if parts == [""]:
                nonce = secrets.token_urlsafe(12)
                self._send(
                    "text/html; charset=utf-8", PAGE.read_text(encoding="utf-8").replace("NONCE", nonce).encode(), nonce=nonce
                )
            elif parts == ["state"]:
                self._json(page.state)
            elif parts == ["classes"]:
                self._json(page.names)
            elif parts is not None and len(parts) == 2 and parts[0] == "image" and parts[1].isdecimal():
                try:
                    self._send(*page.picture(int(parts[1])))
                except (NolaError, OSError) as error:
                    self._refuse(HTTPStatus.NOT_FOUND, str(error))
            else:
                self._refuse(HTTPStatus.NOT_FOUND)

        def do_POST(self) -> None:
            """An answer."""
            try:
                size = int(self.headers.get("Content-Length", ""))
            except ValueError:
                size = -1
            if not 0 <= size <= BODY_BYTES:
                self.close_connection = True
                self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
                return
            body = self.rfile.read(size)
            ours = self.headers.get("Content-Type", "").partition(";")[0].strip() == "application/json"  # no form can send that
            if self._parts() != ["answer"] or not ours:
                self._refuse(HTTPStatus.NOT_FOUND)
                return
            try:
                said = json.loads(body)
            except ValueError:
                said = None
            if not isinstance(said, dict):
                self._refuse(HTTPStatus.BAD_REQUEST, "no JSON object.")
                return
            self._json(lambda: page.answer(said))
            if page.finished:
                page.seen.set()

        def _parts(self) -> list[str] | None:
            """The path behind the secret; None if the secret is wrong or the name of the host is not this machine's."""
            host = urlsplit(f"//{self.headers.get('Host', '')}").hostname
            first, *rest = urlsplit(self.path).path.split("/")[1:] or [""]
            known = hmac.compare_digest(first.encode(), token.encode()) and host in (LOCAL, "localhost")
            return rest if known else None

        def _json(self, make: Callable[[], Any]) -> None:
            try:
                content = json.dumps(make(), allow_nan=False).encode()
            except (NolaError, OSError) as error:
                self._refuse(HTTPStatus.CONFLICT, str(error))
                return
            self._send("application/json", content)

        def _refuse(self, status: HTTPStatus, sentence: str = "") -> None:
            self._send("text/plain; charset=utf-8", printable(sentence or status.phrase).encode(), status=status)

        def _send(self, kind: str, content: bytes, *, status: HTTPStatus = HTTPStatus.OK, nonce: str = "") -> None:
            allowed = (
                f"script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src 'self' data:; connect-src 'self'; "
                if nonce
                else ""
            )
            self.send_response(status)
            for name, value in {
                "Content-Type": kind,
                "Content-Length": str(len(content)),
                "Content-Security-Policy": f"default-src 'none'; {allowed}{NOTHING_ELSE}",
                "Cache-Control": "no-store",
                "Referrer-Policy": "no-referrer",
                "X-Content-Type-Options": "nosniff",
                "Cross-Origin-Resource-Policy": "same-origin",
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Nothing: the address holds the secret."""

    return Handler
