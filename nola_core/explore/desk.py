"""Corrections made on the explorer's page: they go into the data set's table, and count in the next run."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nola_core import corrections, files
from nola_core.config import load
from nola_core.corrections import NO_CLASS, NONE, Corrections, Row
from nola_core.datasets.classes import class_list, class_names
from nola_core.datasets.definition import load_definition
from nola_core.datasets.readers import open_reader
from nola_core.errors import NolaError
from nola_core.explore.collection import Collection
from nola_core.prediction import Predictions


class Desk:
    """What people say about images and classes. The table is read anew every time: somebody may edit it meanwhile.

    Args:
        root: the project.
        shown: the images on the page.
        command: what makes the next run; by default `nola run`.

    Raises:
        NolaError: the definition of the data set does not fit any more.
    """

    def __init__(self, root: Path, shown: Collection, *, command: str = "") -> None:
        self._root, self._shown = root, shown
        self._command = command or f"nola run --dataset {shown.dataset}"
        definition = load_definition(root, shown.dataset)
        self._names = [entry.name for entry in class_names(definition, open_reader(definition))]
        self._ids = frozenset(files.read_table(shown.folder / "manifest.parquet", ["image_id"])["image_id"])
        self._classes = files.read_table(shown.folder / "classes.parquet").sort_values("class_id")["name"].tolist()
        given = Predictions.open(shown.folder / "predictions.parquet").given()
        self._used = {image_id: None if own == NO_CLASS else self._classes[own] for image_id, own in given.items()}
        self._rows = {str(image_id): row for row, image_id in enumerate(shown.ids)}
        self._one_at_a_time = threading.Lock()
        wanted = definition.corrections
        self._off = not (load(root).corrections if wanted is None else wanted)

    def state(self) -> dict[str, Any]:
        """What the page shows.

        `classes`: the names by class id; `names`: those to choose from; `given`: row -> class or null, of the images shown;
        `lines`: what can be undone, `what, name, images, pending`, of a merge `into`; `pending`: how many corrections the results
        do not have; `off`: whether they are switched off; `command`; `file`.

        Raises:
            NolaError: the table is wrong.
        """
        found = self._read()
        return {
            "classes": self._classes,
            "names": class_list(self._names, found.of_classes),
            "given": {str(self._rows[one]): name for one, name in found.images.items() if one in self._rows},
            "lines": self._lines(found),
            "pending": self._pending(found),
            "command": self._command,
            "off": self._off,
            "file": f"data/{corrections.path_of(self._root, self._shown.dataset).name}",
        }

    def change(self, said: dict[str, Any]) -> dict[str, Any]:
        """Store what the page said, and return the state then.

        `rows` (of images) with `class` or `new` (a class that comes into the list); `merge` (a class) with `into`; or `undo` with
        `rows`, or with `what` and `name` of a line.

        Raises:
            NolaError: it does not fit the data set, or contradicts what was said before; nothing is stored then.
        """
        with self._one_at_a_time:
            found = self._changed(self._read(), said)
            found.check(self._names, self._ids)
            found.write(corrections.path_of(self._root, self._shown.dataset))
        return self.state()

    def _changed(self, found: Corrections, said: dict[str, Any]) -> Corrections:
        match said:
            case {"rows": list(rows), "class": str(name)}:
                return found.with_rows(*(Row("image", one, name) for one in self._images(rows)))
            case {"rows": list(rows), "new": str(name)}:
                name = name.strip()
                return found.with_rows(Row("class", name), *(Row("image", one, name) for one in self._images(rows)))
            case {"merge": str(name), "into": str(target)}:
                return found.with_rows(Row("merge", name, target))
            case {"undo": list(rows)}:
                return found.without(("image", one) for one in self._images(rows))
            case {"undo": "images", "name": str(name)}:
                wanted = None if name == NONE else name
                return found.without(("image", one) for one, own in found.images.items() if own == wanted)
            case {"undo": "merge" | "class" as what, "name": str(name)}:
                return found.without([(what, name)])
        raise NolaError("the page said nothing that can be corrected; load it again.")

    def _images(self, rows: Iterable[Any]) -> list[str]:
        ids = self._shown.ids
        if not all(type(row) is int and 0 <= row < len(ids) for row in rows):
            raise NolaError("there is no such image; load the page again.")
        return [str(ids[row]) for row in rows]

    def _read(self) -> Corrections:
        return corrections.read(self._root, self._shown.dataset)

    def _lines(self, found: Corrections) -> list[dict[str, Any]]:
        lines: list[dict[str, Any]] = [
            {"what": "class", "name": name, "images": 0, "pending": name not in self._classes and name not in found.merges}
            for name in found.classes
        ]
        lines += [
            {"what": "merge", "name": row.name, "into": row.target, "images": 0, "pending": row.name in self._classes}
            for row in found.rows
            if row.what == "merge"
        ]
        waiting = Counter(name for one, name in found.images.items() if self._used.get(one, NONE) != name)
        lines += [
            {"what": "images", "name": NONE if name is None else name, "images": count, "pending": waiting[name] > 0}
            for name, count in Counter(found.images.values()).items()
        ]
        return lines

    def _pending(self, found: Corrections) -> int:
        """Corrections that the results on the page do not have, and those that they have and the table has no more."""
        images = sum(self._used.get(one, NONE) != name for one, name in found.images.items())
        images += len(self._used.keys() - found.images.keys())
        listed = class_list(self._names, found.of_classes)
        return images + len(set(listed) ^ set(self._classes))
