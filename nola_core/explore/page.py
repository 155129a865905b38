"""The explorer's page: what its server answers."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nola_core.errors import NolaError
from nola_core.explore import layout
from nola_core.explore.collection import Collection
from nola_core.explore.desk import Desk
from nola_core.explore.details import Details
from nola_core.files import digest
from nola_core.local_server import Reply, as_json

STATIC = {
    "": ("page.html", "text/html; charset=utf-8"),
    "page.css": ("page.css", "text/css; charset=utf-8"),
    "page.js": ("page.js", "text/javascript; charset=utf-8"),
    "map.js": ("map.js", "text/javascript; charset=utf-8"),
    "details.js": ("details.js", "text/javascript; charset=utf-8"),
    "corrections.js": ("corrections.js", "text/javascript; charset=utf-8"),
}
SIDES = {"thumbnail": 112, "image": 720}
"""Pixels of the longer side at most."""
KEPT = 4_000
"""Pictures kept in memory, most of them thumbnails of a few kilobytes."""
AS_PNG = 64
"""Pictures up to this size are sent without loss."""
FOUND = 20_000
MOST_CLASSES = 1 << 16
MISFIT, DUPLICATE = 1, 2
"""Bits of the column `flags`."""


class Page:
    """The state of the page, for many threads. The map begins as the first two principal components.

    Args:
        root: the project whose data set this is; None: nothing can be corrected.
        command: what makes the next run, see `Desk`.

    Attributes:
        mapped: set once the map has its final places.
        desk: takes corrections; None if there can be none, and `why_not` says why.
        problem: why it got none; empty if nothing went wrong.
    """

    def __init__(
        self,
        collection: Collection,
        image_of: Callable[[str], Image.Image],
        cache: Path,
        *,
        root: Path | None = None,
        command: str = "",
    ) -> None:
        if len(collection.names) > MOST_CLASSES:
            raise NolaError(f"the explorer shows at most {MOST_CLASSES:,} classes; there are {len(collection.names):,}.")
        self.collection, self.image_of, self.cache = collection, image_of, cache
        self.details = Details(collection)
        self.mapped = threading.Event()
        self.problem = ""
        self.desk: Desk | None = None
        self.why_not = "Only the data sets of a project can be corrected."
        try:
            self.desk = Desk(root, collection, command=command) if root is not None else None
        except NolaError as error:  # the page is of use without
            self.why_not = f"Nothing can be corrected here: {error}"
        self.columns, self._content = columns(collection)
        self._components = layout.principal(collection.features)
        self._places = layout.scaled(self._components[:, :2])
        self._one_at_a_time = threading.Lock()
        self._picture = lru_cache(KEPT)(self._read_picture)

    def draw_map(self) -> None:
        """Compute the final places, or take them from the cache; takes up to a minute or two."""
        key = digest([self.collection.role, self.collection.dataset, list(self.collection.ids), _hash(self.collection.features)])[
            :32
        ]
        folder = self.cache / self.collection.dataset
        count = len(self.collection.ids)
        try:
            found = layout.cached(folder, key, count)
            if found is None:
                found = layout.placed(self._components)
                layout.store(folder, key, found)
            self._places = layout.scaled(found)
        except (OSError, ValueError, MemoryError) as error:
            self.problem = f"the map could not be improved: {error}"
        self.mapped.set()

    def answer(self, path: list[str], query: Mapping[str, str]) -> Reply | None:
        """The reply to a request; None if there is nothing."""
        match path:
            case [name] if name in STATIC:
                file, kind = STATIC[name]
                return Reply(kind, Path(__file__).with_name(file).read_bytes())
            case ["about"]:
                return as_json(self.about())
            case ["columns"]:
                return Reply("application/octet-stream", self._content)
            case ["places"]:
                return Reply("application/octet-stream", self._places.tobytes())
            case ["map"]:
                return as_json({"ready": self.mapped.is_set(), "problem": self.problem})
            case ["corrections"]:
                return as_json({"why_not": self.why_not} if self.desk is None else self.desk.state())
            case ["find"]:
                return as_json(self.find(query.get("text", "")))
            case ["details", row]:
                number = self._row(row)
                with self._one_at_a_time:
                    return as_json(self.details.of(number))
            case [("thumbnail" | "image") as size, row]:
                return self._picture(self._row(row), SIDES[size])
        return None

    def told(self, path: list[str], said: dict[str, Any]) -> Reply | None:
        """The reply to a correction."""
        return as_json(self.desk.change(said)) if path == ["corrections"] and self.desk is not None else None

    def about(self) -> dict[str, Any]:
        """What the page is told first, all but the columns."""
        shown = self.collection
        groups = [
            {"images": int(images), "names": [[int(c), float(s)] for c, s in zip(classes, shares, strict=True)]}
            for images, classes, shares in zip(
                shown.groups["images"], shown.groups["class_ids"], shown.groups["shares"], strict=True
            )
        ]
        return {
            "dataset": shown.dataset,
            "images": len(shown.ids),
            "whole": shown.whole,
            "classes": shown.names,
            "splits": shown.splits,
            "methods": [{"name": name, "title": one.title} for name, one in shown.methods.items()],
            "groups": groups,
            "scored": bool(np.isfinite(shown.score).any()),
            "columns": self.columns,
            "mapped": self.mapped.is_set(),
        }

    def find(self, text: str) -> list[int]:
        """The rows whose image id contains a text, ignoring case."""
        wanted = text.casefold()
        return [row for row, image_id in enumerate(self.collection.ids) if wanted in str(image_id).casefold()][:FOUND]

    def _row(self, text: str) -> int:
        if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text) < len(self.collection.ids)):
            raise NolaError("there is no such image.")
        return int(text)

    def _read_picture(self, row: int, side: int) -> Reply:
        image = self.image_of(str(self.collection.ids[row])).convert("RGB")
        image.thumbnail((side, side))
        small = max(image.size) <= AS_PNG
        file = io.BytesIO()
        image.save(file, "PNG" if small else "JPEG", **({} if small else {"quality": 85}))
        return Reply("image/png" if small else "image/jpeg", file.getvalue())


def columns(shown: Collection) -> tuple[list[dict[str, Any]], bytes]:
    """The properties of all images in one block of bytes, little-endian, and where each column begins.

    `score` is float32 (-1: not known), `group` and `class:<method>` are uint16, `confidence:<method>` (times 255), `split` and
    `flags` are uint8. An image takes 8 bytes, and 3 for each method.
    """
    doubled = _doubled(shown)
    parts: list[tuple[str, str, np.ndarray]] = [
        ("score", "<f4", np.nan_to_num(shown.score, nan=-1.0)),
        ("group", "<u2", shown.group),
    ]
    parts += [(f"class:{name}", "<u2", one.classes[:, 0]) for name, one in shown.methods.items()]
    parts += [
        (f"confidence:{name}", "u1", (one.probabilities[:, 0] * 255).round().clip(0, 255)) for name, one in shown.methods.items()
    ]
    parts += [("split", "u1", shown.split), ("flags", "u1", MISFIT * shown.misfit + DUPLICATE * doubled)]
    listed, blocks, offset = [], [], 0
    for name, kind, values in parts:
        block = values.astype(kind).tobytes()
        listed.append({"name": name, "type": kind[-2:], "offset": offset})
        blocks.append(block)
        offset += len(block)
    return listed, b"".join(blocks)


def _doubled(shown: Collection) -> np.ndarray:
    """Whether each image has a near duplicate, bool [n]."""
    named = set(shown.duplicates["image_id"]) | set(shown.duplicates["other_id"])
    return np.array([image_id in named for image_id in shown.ids], dtype=bool)


def _hash(values: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
