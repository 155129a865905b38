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
    """The reader for a definition; see `TableReader`."""
    return single_table(Path(definition.source), definition.images.table, **options_of(definition))


def options_of(definition: DatasetDefinition) -> dict[str, Any]:
    """The arguments of `TableReader` that a definition contains."""
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

    A path is relative to the folder of its table and is the image's id. The id of an image stored as bytes is its row number, or
    file and row number if there are several files.

    Args:
        root: the folder of the files.
        files: their paths below `root`, each with its split if the file belongs to one.
        image_column: the column with the images; chosen by `choose_columns` if None.
        label_column: the column with the labels, likewise.
        split_column: the column with the splits, likewise; not used if the files belong to splits.
        splits: the source's split names -> train, val, test; others are left out.
        outside: whether paths may lead outside `root`.
        class_names: the names of numeric labels, if the files do not contain them.
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
        if any(split is not None for _, split in files):  # leave out files of splits that images.splits does not list
            self.files = [(name, split) for name, split in self.files if split is not None]
        if not self.files:
            raise NolaError(f"{root}: images.splits leaves out every file; correct images.splits.")
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
            return Found(f"{stem}#{row:06d}", "", name, row, split, label, f"row {row + 1} of {name} has no path")
        place = posixpath.join(posixpath.dirname(name), path)
        if self._leads_out(place):
            raise NolaError(
                f"{self.root / name}: row {row + 1} refers to the image '{printable(path)}' outside {self.root}; move the "
                "image there, "
                "or set `images.outside: true` (changes in it will not be detected)."
            )
        return Found(path, place, "", -1, split, label)

    def _leads_out(self, place: str) -> bool:
        """Whether a path relative to `root` leads outside it. Links inside `root` count as inside."""
        up = ".." in place.split("/")
        if self.outside or not (up or os.path.isabs(place)):  # noqa: PTH117 (a million times: a Path is slow)
            return False
        root, whole = Path(os.path.abspath(self.root)), self.root / place  # noqa: PTH100 (links are left as they are)
        try:
            return not (not up and whole.is_relative_to(root)) and not whole.resolve().is_relative_to(root.resolve())
        except (OSError, ValueError, RuntimeError):  # an invalid file name or circular links: reading the file reports this
            return False

    def _label(self, columns: Columns, value: Any) -> str | None:
        names = columns.class_names or self._names.get(columns.label or "", ())
        if value is None or value == "" or (names and value == -1):  # -1 is how Hugging Face marks a hidden label
            return None
        if not names or not isinstance(value, int):
            return str(value)
        if not 0 <= value < len(names):
            raise NolaError(
                f"{self.root}: label {value} in column '{columns.label}' is not one of its {len(names)} classes; correct it."
            )
        return str(names[value])

    def read(self, *, path: str, shard: str, row: int) -> bytes:
        if not shard:
            return read_file(self.root / path)
        value = self._opened[shard].cell(row, self._chosen[shard].image)
        if isinstance(value, Mapping):
            inner, value = value.get("path"), value["bytes"]
            if value is None and inner:
                if self._leads_out(posixpath.join(posixpath.dirname(shard), inner)):
                    raise OSError(
                        f"its path '{printable(inner)}' leads outside {self.root}; set images.outside: true to allow it"
                    )
                return read_file((self.root / shard).parent / inner)
        if value is None:
            raise OSError("the row has no image")
        check_size(len(value))
        return bytes(value)

    def class_names(self) -> list[str]:
        """The class names in the files, or else every label in alphabetical order."""
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
        NolaError: it is missing, a folder without `table`, or invalid (see `TableReader`).
    """
    path = source / table if table else source
    if path.is_dir():
        raise NolaError(f"{path} is a folder; set images.table to the table in it.")
    root = source if table else source.parent
    return TableReader(root, [(path.relative_to(root).as_posix(), None)], **options)
