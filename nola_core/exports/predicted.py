"""The predictions of one method for a finished data set, read piece by piece in the order of the manifest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from nola_core import files
from nola_core.corrections import NO_CLASS
from nola_core.errors import NolaError
from nola_core.inspect import final_method
from nola_core.lookup import dataset_folder, known
from nola_core.prediction import TOP, Predictions, corrected

ROWS = 4096


@dataclass(frozen=True)
class Piece:
    """Some images of one split.

    Attributes:
        images: the manifest's `image_id`, `ok`, `reason` and what else was asked for, n rows. An image that is of no class by a
            correction is not `ok`, and the reason says so. Where people corrected images, `corrected` says which.
        split: of all of them.
        classes: int32 [n, K], the K best class ids of each image, best first; -1 where it could not be read.
        probabilities: float32 [n, K], theirs; NaN where it could not be read.
    """

    images: pd.DataFrame
    split: str
    classes: np.ndarray
    probabilities: np.ndarray


class Row(NamedTuple):
    """One image that could be read.

    Attributes:
        number: of the image among all of its split, from 0.
        image: its row of the manifest, columns as attributes.
        classes: int32 [K], best first.
        probabilities: float32 [K].
    """

    number: int
    image: Any
    classes: np.ndarray
    probabilities: np.ndarray


@dataclass(frozen=True)
class Predicted:
    """The predictions of one method; memory does not grow with their number.

    Attributes:
        names: class names by class id.
    """

    root: Path
    dataset: str
    method: str
    names: list[str]

    @classmethod
    def open(cls, root: Path, dataset: str, method: str | None = None) -> Predicted:
        """Those of a method, the final one if None.

        Raises:
            NolaError: the data set has not been run, or the method is none of those that predicted.
        """
        folder = dataset_folder(root, dataset)
        methods = _methods(folder / "predictions.parquet")
        method = final_method(root, dataset, methods) if method is None else known(method, methods, "method that predicted")
        names = files.read_table(folder / "classes.parquet", ["class_id", "name"]).sort_values("class_id")["name"]
        return cls(root, dataset, method, names.tolist())

    @property
    def folder(self) -> Path:
        """`data/<dataset>`."""
        return self.root / "data" / self.dataset

    @property
    def width(self) -> int:
        """K, how many classes there are of each image: five, or all of fewer."""
        return min(TOP, len(self.names))

    def splits(self) -> list[str]:
        """The splits, in the order in which the manifest has them."""
        seen: dict[str, None] = {}
        for batch in self._manifest().to_batches(columns=["split"]):
            seen.update(dict.fromkeys(batch["split"].unique().to_pylist()))
        return list(seen)

    def count(self) -> int:
        """How many images could be read."""
        none = [image_id for image_id, own in self._given.items() if own == NO_CLASS]
        usable = pc.field("ok") & ~pc.field("image_id").isin(none) if none else pc.field("ok")
        return int(self._manifest().count_rows(filter=usable))

    def pieces(self, split: str, columns: Sequence[str] = ()) -> Iterator[Piece]:
        """All images of a split.

        Args:
            split: one of `splits()`.
            columns: of the manifest, beside `image_id`, `ok` and `reason`.

        Raises:
            NolaError: manifest and predictions are not of the same images.
        """
        wanted = list(dict.fromkeys(["image_id", "ok", "reason", *columns]))
        answers = _Answers(self, split)
        for batch in _batches(self._manifest(), wanted, pc.field("split") == split):
            images = batch.to_pandas()
            good = images["ok"].to_numpy(bool)
            classes = np.full((len(images), self.width), -1, np.int32)
            probabilities = np.full((len(images), self.width), np.nan, np.float32)
            classes[good], probabilities[good] = answers.of(images["image_id"][good].tolist())
            if self._given:
                mine = classes[good], probabilities[good]
                classes[good], probabilities[good] = corrected(images["image_id"][good], *mine, self._given)
                said = images["image_id"].map(self._given)
                none = good & (said == NO_CLASS).to_numpy()
                images = images.assign(corrected=good & said.notna().to_numpy(), ok=good & ~none)
                images.loc[none, "reason"] = "corrected: it is of none of the classes"
                classes[none], probabilities[none] = -1, np.nan
            yield Piece(images, split, classes, probabilities)
        answers.end()

    def rows(self, split: str, columns: Sequence[str] = ()) -> Iterator[Row]:
        """The images of a split that could be read, one by one; see `pieces`."""
        start = 0
        for piece in self.pieces(split, columns):
            images = piece.images.itertuples(index=False)
            for number, image in enumerate(images, start=start):
                if image.ok:
                    yield Row(number, image, piece.classes[number - start], piece.probabilities[number - start])
            start += len(piece.images)

    @cached_property
    def _given(self) -> dict[str, int]:
        """What corrections say of images."""
        return Predictions.open(self.folder / "predictions.parquet").given()

    def _manifest(self) -> ds.Dataset:
        path = self.folder / "manifest.parquet"
        try:
            return ds.dataset(path)
        except (pa.ArrowInvalid, OSError) as error:
            raise NolaError(f"{path} cannot be read as a Parquet table; delete it and run its stage again.") from error


class _Answers:
    """The rows of one split and method, which come in the order of the manifest's usable images."""

    def __init__(self, of: Predicted, split: str) -> None:
        self._what = f"{of.folder / 'predictions.parquet'}: the predictions of the split {split} by {of.method}"
        self._width = of.width
        source = Predictions.open(of.folder / "predictions.parquet").source
        columns = ["image_id", "top_classes", "top_probabilities"]
        here = (pc.field("split") == split) & (pc.field("method") == of.method)
        self._batches = _batches(source, columns, here)
        self._waiting = source.schema.empty_table().select(columns)

    def of(self, image_ids: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """The next rows, which must be of these images: classes and probabilities [n, K]."""
        count = len(image_ids)
        while self._waiting.num_rows < count:
            batch = next(self._batches, None)
            if batch is None:
                break
            self._waiting = pa.concat_tables([self._waiting, pa.Table.from_batches([batch])])
        rows, self._waiting = self._waiting.slice(0, count), self._waiting.slice(count)
        if rows["image_id"].to_pylist() != image_ids:
            raise NolaError(f"{self._what} are not those of the manifest's images; run the stage predict again.")
        return self._matrix(rows["top_classes"], np.int32), self._matrix(rows["top_probabilities"], np.float32)

    def end(self) -> None:
        """All rows must have been asked for."""
        if self._waiting.num_rows or next(self._batches, None) is not None:
            raise NolaError(f"{self._what} are of more images than the manifest has; run the stage predict again.")

    def _matrix(self, lists: pa.ChunkedArray, kind: type) -> np.ndarray:
        parts = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in lists.chunks]
        return np.concatenate([np.empty(0), *parts]).astype(kind).reshape(len(lists), self._width)


def _methods(path: Path) -> list[str]:
    """The methods that predicted, each once."""
    keys = Predictions.open(path).keys()
    return list(dict.fromkeys(method for _, method in keys))


def _batches(source: ds.Dataset, columns: list[str], rows: pc.Expression) -> Iterator[pa.RecordBatch]:
    """Filtered rows in order, with little read ahead."""
    return iter(source.to_batches(columns=columns, filter=rows, batch_size=ROWS, batch_readahead=2, fragment_readahead=1))
