"""The page of an audit, on the small server of this machine alone."""

from __future__ import annotations

import io
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from nola_core import local_server
from nola_core.errors import NolaError
from nola_core.local_server import NOTHING_ELSE, Reply, as_json
from nola_core.trust.judging import Judging

LONGEST_SIDE = 1600
"""Larger images are sent smaller."""
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

    def reply(self, parts: list[str], query: Mapping[str, str]) -> Reply | None:
        """The page, its state, its classes and its pictures."""
        match parts:
            case [""]:
                nonce = secrets.token_urlsafe(12)
                content = PAGE.read_text(encoding="utf-8").replace("NONCE", nonce).encode()
                allowed = f"script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src 'self' data:; connect-src 'self'; "
                return Reply("text/html; charset=utf-8", content, policy=f"default-src 'none'; {allowed}{NOTHING_ELSE}")
            case ["state"]:
                return as_json(self.state())
            case ["classes"]:
                return as_json(self.names())
            case ["image", place] if place.isdecimal():
                return Reply(*self.picture(int(place)))
        return None

    def told(self, parts: list[str], said: dict[str, Any]) -> Reply | None:
        """An answer."""
        if parts != ["answer"]:
            return None
        state = as_json(self.answer(said))
        return replace(state, sent=self.seen.set) if self.finished else state


@contextmanager
def served(page: Page, port: int = 0) -> Iterator[str]:
    """Serve a page on this machine; yields its address, which holds a secret."""
    with local_server.served(page.reply, port, told=page.told) as address:
        yield address
