"""Feature stores, and the row cache they are filled from.

A store is a folder: `features.npy` (C-contiguous float16 [N, d], opened as a memory map), `index.parquet` (which image a row is)
and `meta.json` (which model and transform made it). It is written beside its place and renamed when every row is filled.

Rows are kept a second time in the row cache, outside the store and keyed by image hash, weights and transform. An extraction
that was killed, or a collection that grew, therefore embeds only the images whose rows are not there yet.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from nola_core.errors import NolaError
from nola_core.files import read_json, read_table, replacing, write_json, write_table

INDEX_SCHEMA = pa.schema([("row", pa.int64()), ("image_id", pa.string()), ("sha256", pa.string())])


@dataclass(frozen=True)
class FeatureStore:
    """An open store.

    Attributes:
        features: float16 [N, d] memory map, as the encoder gave them (not normalised).
        index: `row, image_id, sha256` in row order.
        meta: `role, model, weights, weights_sha256, transform, threads, dtype, dim, count, versions`.
    """

    path: Path
    features: np.ndarray
    index: pd.DataFrame
    meta: dict[str, Any]

    @classmethod
    def open(cls, path: Path) -> FeatureStore:
        """Open a store and check that its three files belong together.

        Raises:
            NolaError: a file is absent or damaged, or their counts differ.
        """
        meta = read_json(path / "meta.json")
        index = read_table(path / "index.parquet")
        try:
            features = np.load(path / "features.npy", mmap_mode="r")
        except (OSError, ValueError, EOFError) as error:
            raise NolaError(f"{path / 'features.npy'} cannot be read ({error}); delete {path} and run embed again.") from None
        shape = (meta.get("count"), meta.get("dim"))
        if features.shape != shape or len(index) != len(features) or features.dtype != np.float16:
            raise NolaError(
                f"{path}: features.npy is {features.dtype} {features.shape}, index.parquet has {len(index)} rows, meta.json says "
                f"float16 {shape}; delete the folder and run embed again."
            )
        return cls(path, features, index, meta)

    @cached_property
    def _places(self) -> pd.Index[Any]:
        """The image ids as an index, whose table of hashes is made once: it takes a second for a million images."""
        return pd.Index(self.index["image_id"])

    def positions(self, image_ids: Sequence[str] | pd.Series[str]) -> np.ndarray:
        """The rows some images are in, int64 [n], in the order asked for.

        Raises:
            NolaError: an image is not in the store.
        """
        positions = self._places.get_indexer(pd.Index(image_ids))
        if (positions < 0).any():
            missing = np.asarray(image_ids, dtype=object)[positions < 0]
            raise NolaError(
                f"{self.path} has no image '{missing[0]}' ({len(missing)} of {len(image_ids)} asked for are missing)."
            )
        return positions

    def rows(self, image_ids: Sequence[str] | pd.Series[str]) -> np.ndarray:
        """L2-normalised features of some images, float32 [n, d], in the order asked for.

        Raises:
            NolaError: an image is not in the store.
        """
        return normalized(self.features[self.positions(image_ids)])

    def block(self, start: int, stop: int) -> np.ndarray:
        """L2-normalised features of the rows from `start` to before `stop`, float32 [n, d]; the end of the store ends it."""
        return normalized(self.features[start:stop])

    def normalized(self) -> np.ndarray:
        """All rows, L2-normalised, float32 [N, d]; large stores are read in blocks instead."""
        return normalized(self.features)


def normalized(features: np.ndarray) -> np.ndarray:
    """Rows of unit L2 norm, float32; a zero row stays zero."""
    values = np.asarray(features, dtype=np.float32)
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    return values / np.maximum(norms, np.finfo(np.float32).tiny)


class RowCache:
    """Append-only cache of feature rows: image hash -> float16 [d], one safetensors file a chunk, each written atomically."""

    def __init__(self, folder: Path, dim: int) -> None:
        self.folder = folder
        self.dim = dim
        self._places: dict[bytes, tuple[Path, int]] = {}
        folder.mkdir(parents=True, exist_ok=True)
        for chunk in sorted(folder.glob("*.safetensors")):
            try:
                with safe_open(chunk, framework="numpy") as tensors:
                    self._remember(chunk, tensors.get_tensor("keys"))
            except SafetensorError as error:
                raise NolaError(f"{chunk} is damaged ({error}); delete it and its images are embedded again.") from None

    def __contains__(self, sha256: str) -> bool:
        return bytes.fromhex(sha256) in self._places

    def append(self, hashes: Sequence[str], rows: np.ndarray) -> None:
        """Add float16 rows [n, d] under their images' hashes."""
        keys = np.frombuffer(bytes.fromhex("".join(hashes)), dtype=np.uint8).reshape(-1, 32)
        chunk = self.folder / f"{len(list(self.folder.glob('*.safetensors'))):06d}-{uuid.uuid4().hex[:8]}.safetensors"
        with replacing(chunk) as scratch:
            save_file({"keys": keys, "rows": np.ascontiguousarray(rows, dtype=np.float16)}, scratch)
        self._remember(chunk, keys)

    def fill(self, hashes: Sequence[str], out: np.ndarray) -> None:
        """Write the row of hashes[i] into out[i], chunk by chunk; rows of unknown hashes stay as they are."""
        wanted: dict[Path, list[tuple[int, int]]] = {}
        for target, sha256 in enumerate(hashes):
            if sha256 in self:
                chunk, row = self._places[bytes.fromhex(sha256)]
                wanted.setdefault(chunk, []).append((target, row))
        for chunk, pairs in wanted.items():
            with safe_open(chunk, framework="numpy") as tensors:
                rows = tensors.get_tensor("rows")
            targets, sources = np.array(pairs).T
            out[targets] = rows[sources]

    def _remember(self, chunk: Path, keys: np.ndarray) -> None:
        for row, key in enumerate(keys):
            self._places[key.tobytes()] = (chunk, row)


def write_store(folder: Path, part: pd.DataFrame, rows: RowCache, meta: dict[str, Any]) -> None:
    """Make the store of one split from cached rows.

    Args:
        folder: a new folder.
        part: `image_id, sha256`, one a row of the store.
        meta: `role`, `threads` and what `ImageEncoder.meta` holds.

    Raises:
        NolaError: a row was never filled.
    """
    folder.mkdir(parents=True)
    store = np.lib.format.open_memmap(folder / "features.npy", mode="w+", dtype=np.float16, shape=(len(part), rows.dim))
    store[:] = np.nan
    rows.fill(part["sha256"].tolist(), store)
    empty = np.flatnonzero(np.isnan(store).any(axis=1))
    if len(empty):
        raise NolaError(
            f"{folder}: {len(empty)} of {len(part)} rows were never filled (image '{part['image_id'].iloc[empty[0]]}')."
        )
    store.flush()
    index = pd.DataFrame({"row": range(len(part)), "image_id": part["image_id"].tolist(), "sha256": part["sha256"].tolist()})
    write_table(folder / "index.parquet", index, INDEX_SCHEMA)
    versions = {name: version(name) for name in ("torch", "open_clip_torch", "timm", "pillow")}
    counts = {"dtype": "float16", "dim": rows.dim, "count": len(part), "versions": versions}
    write_json(folder / "meta.json", {**meta, **counts})
