"""A Hugging Face data set in the hub's own form: Parquet shards with the images in them, and a card.

Format: Parquet with the features under the key `huggingface` of its schema's metadata, found by the card's `configs`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nola_core.exports.pictures import COLUMNS, Pictures
from nola_core.exports.predicted import Predicted
from nola_core.progress import progress

SPLIT_NAMES = {"val": "validation"}
"""NoLA's split -> the hub's, where they differ."""
GROUP_BYTES, GROUP_ROWS = 2**25, 100
"""A row group ends at either; the hub's viewer reads one at a time."""
SHARD_BYTES = 2**29
SIZES = (("n<1K", 10**3), ("1K<n<10K", 10**4), ("10K<n<100K", 10**5), ("100K<n<1M", 10**6), ("1M<n<10M", 10**7))


def write(predicted: Predicted, out: Path, *, link: bool = False) -> int:
    """Write `data/<split>-<shard>.parquet` and the card `README.md`.

    Args:
        out: a folder that does not exist yet.
        link: of no use here.

    Returns:
        The number of images.
    """
    pictures = Pictures(predicted.root, predicted.dataset)
    (out / "data").mkdir(parents=True)
    schema = _schema(predicted.names)
    counts: dict[str, int] = {}
    with progress(total=predicted.count(), what="export", unit="images") as advance:
        for split in predicted.splits():
            named = SPLIT_NAMES.get(split, split)
            with _shards(out / "data", named, schema) as put:
                for row in predicted.rows(split, COLUMNS):
                    put.add(
                        {
                            "image": {"bytes": pictures.read(row.image), "path": None},
                            "image_id": row.image.image_id,
                            "prediction": int(row.classes[0]),
                            "probability": float(row.probabilities[0]),
                            "top_predictions": row.classes.tolist(),
                            "top_probabilities": row.probabilities.tolist(),
                        }
                    )
                    counts[named] = counts.get(named, 0) + 1
                    advance()
    (out / "README.md").write_text(_card(predicted, counts), encoding="utf-8")
    return sum(counts.values())


class _Shards:
    """Parquet files of a split; one row group is in memory."""

    def __init__(self, folder: Path, split: str, schema: pa.Schema) -> None:
        self._folder, self._split, self._schema = folder, split, schema
        self._writer: pq.ParquetWriter | None = None
        self._rows: list[dict[str, Any]] = []
        self._waiting = self._written = self._shard = 0

    def add(self, row: dict[str, Any]) -> None:
        """Take a row."""
        self._rows.append(row)
        self._waiting += len(row["image"]["bytes"])
        if self._waiting >= GROUP_BYTES or len(self._rows) >= GROUP_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if not self._rows:
            return
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._folder / f"{self._split}-{self._shard:05d}.parquet", self._schema)
            self._shard += 1
        self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._written += self._waiting
        self._rows, self._waiting = [], 0
        if self._written >= SHARD_BYTES:
            self.close()

    def close(self) -> None:
        """End the file in hand."""
        if self._writer is not None:
            self._writer.close()
        self._writer, self._written = None, 0


@contextmanager
def _shards(folder: Path, split: str, schema: pa.Schema) -> Iterator[_Shards]:
    with ExitStack() as stack:
        shards = _Shards(folder, split, schema)
        stack.callback(shards.close)
        yield shards
        shards.flush()


def _schema(names: list[str]) -> pa.Schema:
    label = {"names": names, "_type": "ClassLabel"}
    features = {
        "image": {"_type": "Image"},
        "image_id": {"dtype": "string", "_type": "Value"},
        "prediction": label,
        "probability": {"dtype": "float32", "_type": "Value"},
        "top_predictions": {"feature": label, "_type": "List"},
        "top_probabilities": {"feature": {"dtype": "float32", "_type": "Value"}, "_type": "List"},
    }
    fields = [
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("image_id", pa.string()),
        ("prediction", pa.int64()),
        ("probability", pa.float32()),
        ("top_predictions", pa.list_(pa.int64())),
        ("top_probabilities", pa.list_(pa.float32())),
    ]
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})


def _card(predicted: Predicted, counts: dict[str, int]) -> str:
    total = sum(counts.values())
    size = next((name for name, most in SIZES if total < most), "n>10M")
    front = {
        "task_categories": ["image-classification"],
        "size_categories": [size],
        "tags": ["nola", "pseudo-labels"],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": split, "path": f"data/{split}-*.parquet"} for split in counts],
            }
        ],
    }
    lines = ["---", *(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in front.items()), "---", ""]
    lines += [
        f"# Predictions of {predicted.dataset}",
        "",
        f"{total:,} images, each with its predicted class among {len(predicted.names):,} and the five best with their "
        f"probabilities, by the method `{predicted.method}` of NoLA. They are no labels: nobody has checked them.",
        "",
        "```python",
        "import datasets",
        "",
        'data = datasets.load_dataset("path/to/this/folder")',
        "```",
        "",
    ]
    return "\n".join(lines)
