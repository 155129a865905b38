"""How the images of a known data set are stored: each layout lists them with split and class.

Paths are relative to the folder in which the layout was found. A label is always the class name of the catalog.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from nola_core.datasets.catalog import cifar
from nola_core.datasets.readers.reader import SUFFIXES, Found, read_file
from nola_core.errors import NolaError
from nola_core.files import read_json
from nola_core.schema import Section

Split = Literal["train", "val", "test", "all"]
"""`all` if the source has no split."""


class Layout(Section):
    """One form in which a data set is distributed."""

    kind: str
    counts: dict[Split, int]
    """Number of images of each split in the complete data set."""

    def needs(self) -> list[tuple[str, ...]]:
        """Files and folders that must exist; of a tuple, at least one."""
        raise NotImplementedError

    def scan(self, base: Path, classes: Mapping[str, str]) -> Iterator[Found]:
        """Every image of the layout, in a fixed order.

        Raises:
            NolaError: a list cannot be read, or contains a class that is not in `classes` (source's name -> class name).
        """
        raise NotImplementedError

    def read(self, base: Path, *, path: str, shard: str, row: int) -> bytes:
        """The encoded bytes of one image."""
        return read_file(base / path)

    def missing(self, base: Path) -> list[str]:
        """The files and folders of `needs` that `base` does not have."""
        return [" or ".join(any_of) for any_of in self.needs() if not any((base / name).exists() for name in any_of)]


class Coop(Layout):
    """The split file of CoOp: `{"train": [[path, label, class name], ...], "val": ..., "test": ...}`."""

    kind: Literal["coop"]
    file: str
    images: str
    """The folder that paths are relative to."""

    def needs(self) -> list[tuple[str, ...]]:
        return [(self.file,), (self.images,)]

    def scan(self, base: Path, classes: Mapping[str, str]) -> Iterator[Found]:
        names, split_file = list(classes.values()), base / self.file
        content = read_json(split_file)
        for split in ("train", "val", "test"):
            rows = content.get(split) if isinstance(content, dict) else None
            if not isinstance(rows, list):
                raise NolaError(f"{split_file} has no list '{split}'; fetch CoOp's file again.")
            for number, row in enumerate(rows, start=1):
                where = f"{split_file}: {split} entry {number}"
                if not (isinstance(row, list) and len(row) == 3 and isinstance(row[0], str) and isinstance(row[2], str)):
                    raise NolaError(f"{where} is {row!r}, not [path, label, class name]; fetch CoOp's file again.")
                label = row[1]
                if not isinstance(label, int) or not 0 <= label < len(names):
                    raise NolaError(f"{where} has the label {label!r}; labels are 0 to {len(names) - 1}.")
                if _plain(row[2]) != _plain(names[label]):
                    raise NolaError(f"{where} calls class {label} '{row[2]}'; in the catalog it is '{names[label]}'.")
                path = (Path(self.images) / row[0]).as_posix()
                yield Found(path, path, "", -1, split, names[label])


class Lists(Layout):
    """One text file per split, with one image per line."""

    kind: Literal["lists"]
    files: dict[Literal["train", "val", "test"], str]
    line: str
    """A regular expression for the whole line; its group `raw` is the source's class name."""
    image: str
    """The image's path, a pattern of the groups and `{name}`, the class name of the catalog."""

    def needs(self) -> list[tuple[str, ...]]:
        folder = self.image.partition("{")[0].rstrip("/")
        return [*((name,) for name in self.files.values()), (folder,)]

    def scan(self, base: Path, classes: Mapping[str, str]) -> Iterator[Found]:
        for split, name in self.files.items():
            for number, line in enumerate(_lines(base / name), start=1):
                if not line or line.startswith("#"):
                    continue
                match = re.fullmatch(self.line, line)
                if match is None:
                    raise NolaError(
                        f"{base / name}: line {number} is '{line}', which does not have the official format; download it again."
                    )
                label = _class(match["raw"], classes, where=f"{base / name}: line {number}")
                path = self.image.format(**match.groupdict(), name=label)
                yield Found(path, path, "", -1, split, label)


class Folders(Layout):
    """One folder per class, below one folder per split."""

    kind: Literal["folders"]
    folders: dict[Split, str]
    ignored: Annotated[list[str], Field(default_factory=list)]
    """Folders of the distribution that are not classes."""

    def needs(self) -> list[tuple[str, ...]]:
        return [(name,) for name in self.folders.values()]

    def scan(self, base: Path, classes: Mapping[str, str]) -> Iterator[Found]:
        for split, name in self.folders.items():
            top = base / name
            for folder in sorted(top.iterdir()):
                if folder.name.startswith(".") or folder.name in self.ignored:
                    continue
                if folder.suffix.lower() in SUFFIXES and not folder.is_dir():
                    raise NolaError(
                        f"{top}: image '{folder.name}' is not in a class folder; sort the images into one folder per class."
                    )
                if folder.is_dir():
                    label = _class(folder.name, classes, where=str(top))
                    for image in sorted(folder.iterdir()):
                        if image.suffix.lower() in SUFFIXES and not image.name.startswith("."):
                            path = image.relative_to(base).as_posix()
                            yield Found(path, path, "", -1, None if split == "all" else split, label)


class Flowers(Layout):
    """Flowers 102: classes and splits in two MATLAB files."""

    kind: Literal["flowers"]

    def needs(self) -> list[tuple[str, ...]]:
        return [("imagelabels.mat",), ("setid.mat",), ("jpg",)]

    def scan(self, base: Path, classes: Mapping[str, str]) -> Iterator[Found]:
        labels = _matlab(base / "imagelabels.mat", "labels")
        for split, field in (("train", "trnid"), ("val", "valid"), ("test", "tstid")):
            for image in _matlab(base / "setid.mat", field):
                if not 1 <= image <= len(labels):
                    raise NolaError(f"{base / 'setid.mat'}: {field} names image {image}, imagelabels.mat has {len(labels)}.")
                label = _class(str(labels[image - 1]), classes, where=f"{base / 'imagelabels.mat'}: image {image}")
                path = f"jpg/image_{image:05d}.jpg"
                yield Found(path, path, "", -1, split, label)


class Cars(Layout):
    """Stanford Cars: annotations in MATLAB files."""

    kind: Literal["cars"]

    def needs(self) -> list[tuple[str, ...]]:
        return [("devkit/cars_train_annos.mat",), self._test(), ("cars_train",), ("cars_test",)]

    @staticmethod
    def _test() -> tuple[str, ...]:
        return ("cars_test_annos_withlabels.mat", "devkit/cars_test_annos_withlabels.mat")

    def scan(self, base: Path, classes: Mapping[str, str]) -> Iterator[Found]:
        test = next(name for name in self._test() if (base / name).exists())
        numbers = {str(number): raw for number, raw in enumerate(classes, start=1)}
        for split, file in (("train", "devkit/cars_train_annos.mat"), ("test", test)):
            for row in _matlab(base / file, "annotations"):
                number = _class(str(row["class"]), numbers, where=f"{base / file}: image {row['fname']}")
                path = f"cars_{split}/{row['fname']}"
                yield Found(path, path, "", -1, split, classes[number])


class Cifar(Layout):
    """CIFAR: pixel rows in pickled batches."""

    kind: Literal["cifar"]
    files: dict[Literal["train", "test"], list[str]]
    field: str
    """The key of a batch that contains the labels."""

    def needs(self) -> list[tuple[str, ...]]:
        return [(name,) for names in self.files.values() for name in names]

    def scan(self, base: Path, classes: Mapping[str, str]) -> Iterator[Found]:
        names = list(classes.values())
        for split, files in self.files.items():
            for file in files:
                for row, label in enumerate(cifar.load(base / file).labels(self.field, len(names))):
                    yield Found(f"{file}/{row:05d}", "", file, row, split, names[label])

    def read(self, base: Path, *, path: str, shard: str, row: int) -> bytes:
        return cifar.load(base / shard).image(row)


AnyLayout = Annotated[Coop | Lists | Folders | Flowers | Cars | Cifar, Field(discriminator="kind")]


def _class(raw: str, classes: Mapping[str, str], *, where: str) -> str:
    if raw not in classes:
        raise NolaError(f"{where}: '{raw}' is not one of the {len(classes)} classes of this data set; download it again.")
    return classes[raw]


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").split()).casefold()


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise NolaError(f"{path} cannot be read as text ({error}); fetch it again.") from None


def _matlab(path: Path, field: str) -> Any:
    """A one-dimensional array from a MATLAB file."""
    from scipy.io import loadmat

    try:
        return np.atleast_1d(loadmat(path, squeeze_me=True)[field])
    except Exception as error:  # scipy raises many kinds on damaged files
        raise NolaError(f"{path} cannot be read as a MATLAB file with '{field}' ({error}); fetch it again.") from None
