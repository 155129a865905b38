"""Prediction tables: the five best classes of every image, one row an image and method (docs/formats.md).

They are written in chunks and read one split and method at a time, so that memory holds a fraction of a large one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from nola_core.corrections import NO_CLASS
from nola_core.errors import NolaError
from nola_core.files import PREDICTION_SCHEMA

if TYPE_CHECKING:
    from torch import Tensor  # a stage that only reads tables runs without torch, whose import takes seconds

TOP = 5
GIVEN_SCHEMA = PREDICTION_SCHEMA.append(pa.field("given", pa.int32()))
"""Of predictions.parquet where people corrected images: the class they gave, `NO_CLASS` for none, null for other images."""
CHUNK_CELLS = 1 << 23
"""Probabilities computed at once: 32 MB as float32."""


def prediction_table(image_ids: Sequence[str] | pd.Series[str], probabilities: Tensor, *, split: str, method: str) -> pa.Table:
    """Rows of a prediction table.

    Args:
        probabilities: float32 [N, C], C >= 2, none below 0; ties go to the lower class id.

    Raises:
        NolaError: a probability is NaN.
    """
    bad = probabilities.isnan().any(dim=1)
    if bad.any():
        image_id = list(image_ids)[int(bad.nonzero()[0, 0])]
        raise NolaError(f"method {method} gives NaN for image '{image_id}'; its model or features are damaged.")
    best, classes = top(probabilities, TOP)
    count, width = best.shape
    offsets = np.arange(0, count * width + 1, width, dtype=np.int32)
    columns = {
        "image_id": pa.array(image_ids, pa.string()),
        "split": pa.repeat(split, count),
        "method": pa.repeat(method, count),
        "class_id": classes[:, 0].numpy(),
        "probability": best[:, 0].numpy(),
        "margin": (best[:, 0] - best[:, 1]).numpy(),
        "top_classes": pa.ListArray.from_arrays(offsets, classes.flatten().numpy()),
        "top_probabilities": pa.ListArray.from_arrays(offsets, best.flatten().numpy()),
    }
    return pa.table(columns, schema=PREDICTION_SCHEMA)


def top(probabilities: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` largest of every row in falling order, and their columns; equal ones by the lower column.

    torch.topk is many times faster than a stable sort and picks among equal values as it likes. Rows in which that matters are
    done again by a key without ties: the bits of a float that is not negative, which grow with it, above those of the column.

    Args:
        probabilities: float32 [N, C], none below 0 and none NaN.

    Returns:
        float32 and int32 [N, min(count, C)], contiguous.
    """
    import torch

    width = probabilities.shape[1]
    best, columns = probabilities.topk(min(count + 1, width), dim=1)
    tied = (best[:, 1:] == best[:, :-1]).any(dim=1).nonzero()[:, 0]
    best, columns = best[:, :count].contiguous(), columns[:, :count].int()
    if len(tied):
        backwards = torch.arange(width - 1, -1, -1, device=probabilities.device)
        keys = (probabilities[tied].contiguous().view(torch.int32).long() << 32) | backwards
        columns[tied] = width - 1 - keys.topk(best.shape[1], dim=1).values.bitwise_and(0xFFFFFFFF).int()
        best[tied] = probabilities[tied].gather(1, columns[tied].long())
    return best, columns.contiguous()


def chunks(images: int, classes: int) -> Iterator[tuple[int, int]]:
    """Ranges of rows, from start to before stop, whose probabilities fill about `CHUNK_CELLS`."""
    size = max(256, CHUNK_CELLS // classes)
    return ((start, min(start + size, images)) for start in range(0, images, size))


def predict(
    image_ids: pd.Series[str],
    probabilities: Callable[[int, int], Tensor],
    *,
    classes: int,
    split: str,
    method: str,
) -> Iterator[tuple[pa.Table, Tensor]]:
    """A method's prediction table and its probabilities, chunk by chunk.

    Args:
        image_ids: [N].
        probabilities: of the images from a start to before a stop, float32 [B, C].
        classes: C.

    Raises:
        NolaError: a probability is NaN.
    """
    for start, stop in chunks(len(image_ids), classes):
        p = probabilities(start, stop)
        yield prediction_table(image_ids.iloc[start:stop], p, split=split, method=method), p


def with_given(table: pa.Table, given: Mapping[str, int]) -> pa.Table:
    """A prediction table with the column `given`; the method's own answers stay as they are.

    Args:
        given: image id -> class id, or `NO_CLASS`.
    """
    column = [given.get(image_id) for image_id in table["image_id"].to_pylist()]
    return table.append_column(GIVEN_SCHEMA.field("given"), pa.array(column, pa.int32()))


def corrected(
    image_ids: Iterable[str], classes: np.ndarray, probabilities: np.ndarray, given: Mapping[str, int]
) -> tuple[np.ndarray, np.ndarray]:
    """The best classes of images and their probabilities, with probability 1 for the class that a correction gives.

    Args:
        image_ids: of the n rows.
        classes: int [n, t], best first.
        probabilities: float [n, t].
        given: image id -> class id; images that are of `NO_CLASS` keep the method's answer.
    """
    if not given:
        return classes, probabilities
    classes, probabilities = classes.copy(), probabilities.copy()
    for row, image_id in enumerate(image_ids):
        own = given.get(image_id, NO_CLASS)
        if own != NO_CLASS:
            others = [one for one in classes[row] if one != own]
            classes[row] = [own, *others][: classes.shape[1]]
            probabilities[row] = np.arange(classes.shape[1]) == 0
    return classes, probabilities


@dataclass(frozen=True)
class Predictions:
    """A prediction table on disk or in memory."""

    source: ds.Dataset

    @classmethod
    def open(cls, path: Path) -> Predictions:
        """The table in a file.

        Raises:
            NolaError: the file is absent or is no Parquet file.
        """
        if not path.is_file():
            raise NolaError(f"{path} does not exist: run the stage that writes it (docs/formats.md says which).")
        try:
            source = ds.dataset(path)
        except (pa.ArrowInvalid, OSError) as error:
            reason = " ".join(str(error).split())
            raise NolaError(f"{path} cannot be read as a Parquet table ({reason}); delete it and run its stage again.") from error
        missing = [name for name in PREDICTION_SCHEMA.names if name not in source.schema.names]
        if missing:
            raise NolaError(f"{path} lacks the columns {', '.join(missing)}; delete it and run its stage again.")
        return cls(source)

    @classmethod
    def of(cls, frame: pd.DataFrame) -> Predictions:
        """The table in a data frame."""
        return cls(ds.dataset(pa.Table.from_pandas(frame, preserve_index=False)))

    def keys(self) -> list[tuple[str, str]]:
        """(split, method) of all rows, each once, as they come first."""
        seen: dict[tuple[str, str], None] = {}
        for batch in self.source.to_batches(columns=["split", "method"]):
            pairs = pa.table(batch).group_by(["split", "method"]).aggregate([])
            seen.update(dict.fromkeys(zip(pairs["split"].to_pylist(), pairs["method"].to_pylist(), strict=True)))
        return list(seen)

    def given(self, split: str | None = None) -> dict[str, int]:
        """Image id -> the class that a correction gives it, or `NO_CLASS`; of one split, None for all."""
        if "given" not in self.source.schema.names:
            return {}
        wanted = pc.field("given").is_valid()
        wanted = wanted if split is None else wanted & (pc.field("split") == split)
        table = self.source.to_table(columns=["image_id", "given"], filter=wanted)
        return dict(zip(table["image_id"].to_pylist(), table["given"].to_pylist(), strict=True))

    def read(self, split: str, method: str | None, columns: Sequence[str]) -> pd.DataFrame:
        """Some columns of the rows of one split and method, None for all methods; lists stay Arrow arrays, see `matrix`."""
        wanted = pc.field("split") == split
        if method is not None:
            wanted &= pc.field("method") == method
        table = self.source.to_table(columns=list(columns), filter=wanted)
        return table.to_pandas(types_mapper=lambda kind: pd.ArrowDtype(kind) if pa.types.is_list(kind) else None)


def matrix(lists: pd.Series) -> np.ndarray:
    """A column of lists of one length as an array [n, length]: `top_classes` int32, `top_probabilities` float32."""
    if lists.empty:
        return np.zeros((0, TOP))
    column = pa.array(lists)
    parts = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    return np.concatenate([part.flatten().to_numpy(zero_copy_only=False) for part in parts]).reshape(len(lists), -1)
