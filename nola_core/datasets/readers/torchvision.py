"""Torchvision's data sets, from files that are already on disk. Nothing is downloaded here."""

from __future__ import annotations

import difflib
import inspect
import io
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image

from nola_core.datasets.definition import DatasetDefinition
from nola_core.datasets.readers.reader import Found, read_file, split_named
from nola_core.errors import NolaError

CANDIDATES = ("train", "trainval", "val", "valid", "test")
"""Values to try for a constructor's `split`; `trainval` only if there is no `train`."""


def from_definition(definition: DatasetDefinition) -> TorchvisionReader:
    """The reader for a definition; see `TorchvisionReader`."""
    return TorchvisionReader(Path(definition.source), str(definition.images.dataset), splits=definition.images.splits)


class TorchvisionReader:
    """A class in `torchvision.datasets` with its folder of files.

    If the class has a list of files, these are read directly. If it has arrays, or decodes images itself, each image is encoded
    as PNG, without loss.

    Args:
        root: the argument `root` of the class.
        dataset: the name of the class, for example `OxfordIIITPet`.
        splits: values of the constructor's `split` -> train, val, test; by default those in `CANDIDATES` that it accepts.
    """

    def __init__(self, root: Path, dataset: str, *, splits: Mapping[str, str] | None = None) -> None:
        from torchvision import datasets

        known = [name for name, value in vars(datasets).items() if _is_dataset(value)]
        if dataset not in known:
            lowered = {name.lower(): name for name in known}
            near = difflib.get_close_matches(dataset.lower(), lowered, n=1)
            hint = f"did you mean '{lowered[near[0]]}'?" if near else f"it has {', '.join(known)}."
            raise NolaError(f"images.dataset: torchvision has no data set '{dataset}'; {hint}")
        self.root, self.dataset, self.splits = root, dataset, splits
        self._class = getattr(datasets, dataset)
        if not root.is_dir():
            raise NolaError(f"the folder {root} of torchvision's {dataset} does not exist; {self._how_to_fetch()}")

    def scan(self) -> Iterator[Found]:
        for name, data in self._parts.items():
            split = (
                None
                if name == ""
                else split_named(name if name != "trainval" or self.splits else "train", self.splits, source=self.root)
            )
            files, labels = _files(data), _labels(data)
            for row in range(len(data)):
                label = None if labels is None else self._name(int(labels[row]))
                path = "" if files is None else self._below_root(Path(files[row]))
                if path:
                    yield Found(path, path, "", -1, split, label)
                else:
                    yield Found(f"{name}/{row:06d}".lstrip("/"), "", name, row, split, label)

    def read(self, *, path: str, shard: str, row: int) -> bytes:
        if path:
            return read_file(self.root / path)
        if shard not in self._parts or row >= len(self._parts[shard]):
            raise OSError(f"torchvision's {self.dataset} no longer has image {row} in '{shard}'")
        image = self._parts[shard][row][0]
        if not isinstance(image, Image.Image):
            raise OSError(f"torchvision's {self.dataset} returns {type(image).__name__}, not an image")
        stream = io.BytesIO()
        image.save(stream, "PNG", compress_level=1)
        return stream.getvalue()

    def class_names(self) -> list[str]:
        for data in self._parts.values():
            classes = getattr(data, "classes", None)
            if classes:
                return [name if isinstance(name, str) else str(name[0]) for name in classes]
        return []

    @cached_property
    def _parts(self) -> dict[str, Any]:
        """The class's split name ('' if it has no splits) -> the data set."""
        parameters = inspect.signature(self._class).parameters
        if "split" in parameters:
            names = list(self.splits) if self.splits else list(CANDIDATES)
            opened = {name: data for name in names if (data := self._open(split=name, tried=not self.splits)) is not None}
            if "train" in opened and not self.splits:
                opened.pop("trainval", None)
            if not opened:
                raise NolaError(f"torchvision's {self.dataset} has none of the splits {', '.join(names)}; set images.splits.")
            return opened
        if "train" in parameters:
            return {"train": self._open(train=True), "test": self._open(train=False)}
        return {"": self._open()}

    def _open(self, *, tried: bool = False, **choice: Any) -> Any:
        if "download" in inspect.signature(self._class).parameters:
            choice["download"] = False
        try:
            return self._class(str(self.root), **choice)
        except ValueError as error:
            if tried and "for argument split" in str(error):
                return None
            raise self._failed(error) from None
        except Exception as error:  # each class raises different errors for missing or damaged files
            raise self._failed(error) from None

    def _failed(self, error: Exception) -> NolaError:
        said = " ".join(str(error).split()) or type(error).__name__
        return NolaError(f"torchvision's {self.dataset} cannot be read from {self.root} ({said}); {self._how_to_fetch()}")

    def _how_to_fetch(self) -> str:
        if "download" not in inspect.signature(self._class).parameters:
            return "its documentation says which files to put there."
        call = f"torchvision.datasets.{self.dataset}({str(self.root)!r}, download=True)"
        return f'to download it: python -c "import torchvision; {call}".'

    def _below_root(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)

    def _name(self, label: int) -> str | None:
        names = self._class_names
        return None if label < 0 else names[label] if label < len(names) else str(label)

    @cached_property
    def _class_names(self) -> list[str]:
        return self.class_names()


def _is_dataset(value: Any) -> bool:
    from torchvision.datasets import VisionDataset

    return inspect.isclass(value) and issubclass(value, VisionDataset) and value is not VisionDataset


def _files(data: Any) -> Sequence[Any] | None:
    """The image files of a data set in order, if it has such a list."""
    for name in ("samples", "_samples", "_image_files", "_images"):
        entries = getattr(data, name, None)
        if isinstance(entries, list) and len(entries) == len(data) and entries:
            files = [entry[0] if isinstance(entry, tuple) else entry for entry in entries]
            if all(isinstance(file, str | Path) for file in files):
                return files
    return None


def _labels(data: Any) -> Sequence[Any] | None:
    """The class numbers of a data set in order, if it has such a list."""
    for name in ("targets", "labels", "_labels", "y"):
        values = getattr(data, name, None)
        if values is not None and len(values) == len(data) and getattr(values, "ndim", 1) == 1:
            return list(values)
    for name in ("samples", "_samples"):
        entries = getattr(data, name, None)
        if isinstance(entries, list) and entries and isinstance(entries[0], tuple) and isinstance(entries[0][1], int):
            return [entry[1] for entry in entries]
    return None
