"""Tables of images: one CSV or Parquet file, or the several files of a Hugging Face data set."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from nola_core.datasets.definition import DatasetDefinition
from nola_core.datasets.readers.columns import Columns, TableFile, choose_columns, open_table
from nola_core.datasets.readers.reader import Found, check_size, read_file, split_named
from nola_core.errors import NolaError
from nola_core.text import printable


def from_definition(definition: DatasetDefinition) -> TableReader:
    """The reader a definition asks for; see `TableReader`."""
    return single_table(Path(definition.source), definition.images.table, **options_of(definition))


def options_of(definition: DatasetDefinition) -> dict[str, Any]:
    """What a definition says about the rows of its tables, as `TableReader` takes it."""
    images = definition.images
    return {
        "image_column": images.image_column,
        "label_column": images.label_column,
        "split_column": images.split_column,
        "splits": images.splits,
        "outside": bool(images.outside),
    }


class TableReader:
    """Images in the rows of tables, as bytes or as paths.

    A path is taken from the folder of its table and is the image's id. Images that are bytes are called by their row, in
    a collection of several files by file and row.

    Args:
        root: the folder the files lie in.
        files: their paths below it, each with the split it stands for, if it stands for one.
        image_column: the column with the images; see `choose_columns` for who says so otherwise.
        label_column: likewise.
        split_column: likewise; not asked where the files stand for splits.
        splits: what the source calls its splits -> train, val, test; others are left out.
        outside: whether paths may lead out of `root`.
        class_names: names of the labels' numbers, where the files do not hold them.
    """

    def __init__(
        self,
        root: Path,
        files: Sequence[tuple[str, str | None]],
        *,
        image_column: str | None = None,
        label_column: str | None = None,
        split_column: str | None = None,
        splits: Mapping[str, str] | None = None,
        outside: bool = False,
        class_names: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.root, self.splits, self.outside = root, splits, outside
        self.files = [(name, None if split is None else split_named(split, splits, source=root)) for name, split in files]
        if any(split is not None for _, split in files):  # a file of a split that images.splits leaves out is left out
            self.files = [(name, split) for name, split in self.files if split is not None]
        if not self.files:
            raise NolaError(f"{root}: images.splits leaves out every file.")
        self._opened: dict[str, TableFile] = {}
        self._chosen: dict[str, Columns] = {}
        for name, _ in self.files:
            table = self._opened[name] = open_table(root / name)
            self._chosen[name] = choose_columns(
                table.schema, source=root / name, image=image_column, label=label_column, split=split_column
            )
        self._names = dict(class_names or {})

    def scan(self) -> Iterator[Found]:
        for name, split in self.files:
            columns, row = self._chosen[name], 0
            wanted = [None if columns.embedded else columns.image, columns.label, None if split else columns.split]
            read = [column for column in wanted if column is not None]
            for batch in self._opened[name].batches(read or [columns.image]):
                values = [batch[column].to_pylist() if column else [None] * len(batch) for column in wanted]
                for path, label, own in zip(*values, strict=True):
                    mine = split or (None if own is None else split_named(str(own), self.splits, source=self.root / name))
                    if own is None or mine is not None:
                        yield self._found(name, row, path, mine, self._label(columns, label))
                    row += 1

    def _found(self, name: str, row: int, path: str | None, split: str | None, label: str | None) -> Found:
        stem = name.rsplit(".", 1)[0]
        if self._chosen[name].embedded:
            image_id = f"{row:06d}" if len(self.files) == 1 else f"{stem}/{row:06d}"
            return Found(image_id, "", name, row, split, label)
        if not path:
            return Found(f"{stem}#{row:06d}", "", name, row, split, label, f"row {row + 1} of {name} names no file")
        place = posixpath.join(posixpath.dirname(name), path)
        if self._leads_out(place):
            raise NolaError(
                f"{self.root / name}: row {row + 1} names the image '{printable(path)}' outside of {self.root}; move it there, "
                "or allow it by `images.outside: true` (changes in it will not be noticed)."
            )
        return Found(path, place, "", -1, split, label)

    def _leads_out(self, place: str) -> bool:
        """Whether a path from `root` leads out of it. Links that lie in it are part of it."""
        up = ".." in place.split("/")
        if self.outside or not (up or os.path.isabs(place)):  # noqa: PTH117 (a million times: a Path is slow)
            return False
        root, whole = Path(os.path.abspath(self.root)), self.root / place  # noqa: PTH100 (links are left as they are)
        try:
            return not (not up and whole.is_relative_to(root)) and not whole.resolve().is_relative_to(root.resolve())
        except (OSError, ValueError, RuntimeError):  # no file can have this name, or links in a circle: reading says so
            return False

    def _label(self, columns: Columns, value: Any) -> str | None:
        names = columns.class_names or self._names.get(columns.label or "", ())
        if value is None or value == "" or (names and value == -1):  # -1 is how Hugging Face marks a hidden label
            return None
        if not names or not isinstance(value, int):
            return str(value)
        if not 0 <= value < len(names):
            raise NolaError(f"{self.root}: label {value} in column '{columns.label}' is none of its {len(names)} classes.")
        return str(names[value])

    def read(self, *, path: str, shard: str, row: int) -> bytes:
        if not shard:
            return read_file(self.root / path)
        value = self._opened[shard].cell(row, self._chosen[shard].image)
        if isinstance(value, Mapping):
            inner, value = value.get("path"), value["bytes"]
            if value is None and inner:
                if self._leads_out(posixpath.join(posixpath.dirname(shard), inner)):
                    raise OSError(f"its path '{printable(inner)}' leads out of {self.root}; images.outside: true allows that")
                return read_file((self.root / shard).parent / inner)
        if value is None:
            raise OSError("the row has no image")
        check_size(len(value))
        return bytes(value)

    def class_names(self) -> list[str]:
        """The names the files carry, or else every label in order of the alphabet."""
        for columns in self._chosen.values():
            if columns.class_names or self._names.get(columns.label or ""):
                return list(columns.class_names or self._names[columns.label or ""])
        return self._labels

    @cached_property
    def _labels(self) -> list[str]:
        return sorted({found.label for found in self.scan() if found.label is not None})


def single_table(source: Path, table: str | None, **options: Any) -> TableReader:
    """The reader of one CSV or Parquet file: `source` itself, or the file `table` of the folder `source`.

    Raises:
        NolaError: it is absent, a folder without `table`, or unfit (see `TableReader`).
    """
    path = source / table if table else source
    if path.is_dir():
        raise NolaError(f"{path} is a folder; name the table in it by images.table.")
    root = source if table else source.parent
    return TableReader(root, [(path.relative_to(root).as_posix(), None)], **options)
