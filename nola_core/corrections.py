"""What people corrected after looking at the results: `data/<dataset>.corrections.csv`, constraints of the next run.

    what,name,class
    image,003.png,cat          the image is of this class
    image,017.png,(none)       it is of none of the classes
    merge,puppy,dog            two classes are one, called dog
    class,guinea pig,          a class of its own, new in the list

The order of the rows means nothing but the order of new classes. Class names are those of the definition, or new ones of this
file. A class that is merged stands for the one it is merged into, also for images.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from nola_core.datasets.classes import check_names, class_list, reading
from nola_core.errors import NolaError
from nola_core.files import replacing
from nola_core.lookup import known
from nola_core.text import as_written, printable, spreadsheet_safe

What = Literal["image", "merge", "class"]
COLUMNS = ("what", "name", "class")
NONE = "(none)"
"""Stands for a class where an image is of none."""
NO_CLASS = -1
"""The class id of such an image."""


@dataclass(frozen=True)
class Row:
    """One correction.

    Attributes:
        what: the kind.
        name: an image id, the class that is merged, or the new class.
        target: the class an image is of (`NONE`: of none), or the one that a class is merged into; empty for a new class.
        line: of the file, for messages; 0 for a row that is in no file.
    """

    what: What
    name: str
    target: str = ""
    line: int = 0

    @property
    def key(self) -> tuple[str, str]:
        """Two rows of one key are about the same thing."""
        return self.what, self.name


@dataclass(frozen=True)
class Corrections:
    """The corrections of one data set; checked to agree with each other, and by `check` with the data set.

    Attributes:
        rows: in the order of the file.
        source: what messages call them.
    """

    rows: tuple[Row, ...] = ()
    source: str = "the corrections"

    def __post_init__(self) -> None:
        seen: dict[tuple[str, str], Row] = {}
        for row in self.rows:
            before = seen.setdefault(row.key, row)
            if before.target != row.target:
                said = "merges the class" if row.what == "merge" else "names the image"
                raise NolaError(
                    f"{self._place(row)} {said} '{printable(row.name)}' again, with '{printable(row.target)}' instead of "
                    f"'{printable(before.target)}'; keep one of the rows."
                )
        for row in self.rows:
            if row.what == "merge" and self._end(row.name) is None:
                raise NolaError(f"{self._place(row)} merges '{printable(row.name)}' in a circle; take one of the merges out.")

    def __bool__(self) -> bool:
        return bool(self.rows)

    @cached_property
    def merges(self) -> dict[str, str]:
        """Class that is gone -> the class it is part of, after all merges."""
        return {name: str(self._end(name)) for name in self._into}

    @cached_property
    def classes(self) -> list[str]:
        """New classes in order, whether they are merged or not."""
        return list(dict.fromkeys(row.name for row in self.rows if row.what == "class"))

    @cached_property
    def images(self) -> dict[str, str | None]:
        """Image id -> its class after all merges; None: of none."""
        said = {row.name: row.target for row in self.rows if row.what == "image"}
        return {name: None if target == NONE else self.final(target) for name, target in said.items()}

    @property
    def counts(self) -> dict[str, int]:
        """How many of each kind; see `sentence`."""
        return {"images": len(self.images), "merges": len(self.merges), "classes": len(self.classes)}

    @property
    def of_classes(self) -> dict[str, Any]:
        """What they say of the class list, as an entry of `data/inputs` holds it; empty if nothing."""
        return {"classes": self.classes, "merges": self.merges} if self.classes or self.merges else {}

    def final(self, name: str) -> str:
        """What a class is called after all merges."""
        return self.merges.get(name, name)

    def check(self, names: Sequence[str], image_ids: Iterable[str]) -> None:
        """Hold them against the data set.

        Args:
            names: the class names of the definition.
            image_ids: those of all images; read no further than needed.

        Raises:
            NolaError: a row names an unknown class or image or a new class that exists, or fewer than two classes remain.
        """
        listed = [*names, *self.classes]
        old, fresh = {reading(name): name for name in names}, dict[str, str]()
        for row in self.rows:
            if row.what == "class":
                twin = old.get(reading(row.name)) or fresh.setdefault(reading(row.name), row.name)
                if reading(row.name) in old or twin != row.name:
                    raise NolaError(
                        f"{self._place(row)} adds the class '{printable(row.name)}', but there is '{printable(twin)}' already; "
                        "give the images to that one, or choose another name."
                    )
            used = {"image": [row.target], "merge": [row.name, row.target], "class": []}[row.what]
            for name in (name for name in used if name not in listed and (row.what, name) != ("image", NONE)):
                try:
                    known(name, listed, "class")
                except NolaError as error:
                    raise NolaError(f"{self._place(row)}: {printable(str(error))}") from None
        check_names(class_list(names, self.of_classes), where=self.source)
        missing = {row.name: row for row in self.rows if row.what == "image"}
        for image_id in image_ids if missing else ():
            missing.pop(image_id, None)
            if not missing:
                break
        if missing:
            row = next(iter(missing.values()))
            raise NolaError(f"{self._place(row)}: there is no image '{printable(row.name)}'; correct the name or delete the row.")

    def with_rows(self, *rows: Row) -> Corrections:
        """These and others, which replace what was said about the same things."""
        new = {row.key for row in rows}
        return Corrections((*(one for one in self.rows if one.key not in new), *rows), self.source)

    def without(self, keys: Iterable[tuple[str, str]]) -> Corrections:
        """These without some rows, by their keys; with a new class go the images and merges that name it."""
        gone = set(keys)
        lost = {name for what, name in gone if what == "class"}
        left = (row for row in self.rows if row.key not in gone and row.target not in lost)
        return Corrections(tuple(row for row in left if not (row.what == "merge" and row.name in lost)), self.source)

    def write(self, path: Path) -> None:
        """Write the table, atomically; nothing is left of it without a row.

        Raises:
            OSError: the disk is full or the like.
        """
        if not self.rows:
            path.unlink(missing_ok=True)
            return
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([row.what, spreadsheet_safe(row.name), spreadsheet_safe(row.target)] for row in self.rows)
        with replacing(path) as scratch:
            scratch.write_text(text.getvalue(), encoding="utf-8", newline="")

    @cached_property
    def _into(self) -> dict[str, str]:
        return {row.name: row.target for row in self.rows if row.what == "merge"}

    def _end(self, name: str) -> str | None:
        """Where the merges lead from a class; None for a circle."""
        for _ in range(len(self._into) + 1):
            if name not in self._into:
                return name
            name = self._into[name]
        return None

    def _place(self, row: Row) -> str:
        return f"{self.source}, line {row.line}" if row.line else self.source


def path_of(root: Path, dataset: str) -> Path:
    """`data/<dataset>.corrections.csv` of a project."""
    return root / "data" / f"{dataset}.corrections.csv"


def read(root: Path, dataset: str) -> Corrections:
    """The corrections of a data set; none without the file.

    Raises:
        NolaError: the file is no such table, or a row is wrong or contradicts another; names the line.
    """
    path = path_of(root, dataset)
    source = f"data/{path.name}"
    if not path.is_file():
        return Corrections(source=source)
    try:
        text = path.read_text(encoding="utf-8-sig")
        separator = ";" if ";" in text.partition("\n")[0] else ","  # as some spreadsheets save it
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        rows: list[Row] = []
        head = [cell.strip() for cell in next(lines, [])]
        if head != list(COLUMNS):
            raise NolaError(f"{source} must begin with the line {','.join(COLUMNS)}; put it first.")
        for cells in lines:
            if any(cell.strip() for cell in cells):
                rows.append(_row(cells, source, lines.line_num))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = (error.strerror or error) if isinstance(error, OSError) else f"it is no CSV in UTF-8: {error}"
        raise NolaError(f"{source} cannot be read ({reason}); save it as CSV in UTF-8.") from None
    return Corrections(tuple(rows), source)


def _row(cells: Sequence[str], source: str, line: int) -> Row:
    what, name, target, *more = [as_written(cell) for cell in [*cells, "", ""][: max(3, len(cells))]]
    kinds = get_args(What)
    if what.strip() not in kinds:
        raise NolaError(
            f"{source}, line {line} begins with '{printable(what)}'; it must be {', '.join(kinds[:-1])} or {kinds[-1]}."
        )
    kind: What = kinds[kinds.index(what.strip())]
    wanted = {"image": "an image and its class", "merge": "a class and the one it is part of", "class": "the name of a new class"}
    full = bool(name.strip()) and bool(target.strip()) == (kind != "class") and not any(cell.strip() for cell in more)
    if not full:
        raise NolaError(f"{source}, line {line}: a row '{kind}' takes {wanted[kind]}; put names that hold a comma in quotes.")
    return Row(kind, name, target, line)


def sentence(counts: Mapping[str, int]) -> str:
    """What every figure made with corrections says: `3 corrections were given (2 images, 1 new class): not label-free`.

    Args:
        counts: `Corrections.counts`, and in metrics.json `left_out`, the images that the accuracies are not about.
    """
    nouns = {"images": ("image", "images"), "merges": ("merged class", "merged classes"), "classes": ("new class", "new classes")}
    parts = [f"{count:,} {nouns[kind][count != 1]}" for kind, count in counts.items() if kind in nouns and count]
    total = sum(counts[kind] for kind in nouns)
    given = f"{total:,} {'correction was' if total == 1 else 'corrections were'} given ({', '.join(parts)}): not label-free"
    left = counts.get("left_out", 0)
    return given + (f", and {left:,} {'image is' if left == 1 else 'images are'} left out of the accuracy" if left else "")
