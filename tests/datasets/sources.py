"""Small collections in the formats of the readers, for the tests."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from nola_core.datasets.readers import Found, Reader


def png(number: int, *, size: int = 8) -> bytes:
    """A PNG that depends only on `number`."""
    stream = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (size, size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def read(reader: Reader, entry: Found) -> bytes:
    return reader.read(path=entry.path, shard=entry.shard, row=entry.row)


def image_table(count: int, *, names: list[str] | None = None, first: int = 0) -> pa.Table:
    """A table as Hugging Face stores images: a struct of bytes and path, and the number of a class."""
    images = [{"bytes": png(first + row), "path": f"{row}.png"} for row in range(count)]
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"image": pa.array(images, struct), "label": pa.array([row % 2 for row in range(count)], pa.int64())})
    if names is None:
        return table
    features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
    return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def save_to_disk(folder: Path, *parts: pa.Table, split: str | None = None, names: list[str] | None = None) -> Path:
    """The files of `datasets.Dataset.save_to_disk`: Arrow stream files, state.json and dataset_info.json."""
    folder.mkdir(parents=True)
    files = []
    for number, part in enumerate(parts):
        files.append({"filename": f"data-{number:05d}-of-{len(parts):05d}.arrow"})
        with pa.ipc.new_stream(folder / files[-1]["filename"], part.schema) as stream:
            stream.write_table(part, max_chunksize=2)
    features: dict[str, Any] = {"image": {"_type": "Image"}}
    if names is not None:
        features["label"] = {"names": names, "_type": "ClassLabel"}
    (folder / "state.json").write_text(json.dumps({"_data_files": files, "_split": split, "_fingerprint": "0"}))
    (folder / "dataset_info.json").write_text(json.dumps({"features": features}))
    return folder


def write_parquet(path: Path, table: pa.Table, *, group: int = 3) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=group)
    return path


def write_shard(path: Path, files: dict[str, bytes] | list[tuple[str, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in files.items() if isinstance(files, dict) else files:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path
