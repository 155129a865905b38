"""Feature stores, and the row cache from which they are filled.

A store is a folder: `features.npy` (C-contiguous float16 [N, d], opened as a memory map), `index.parquet` (the image of each
row) and `meta.json` (the model and transform). It is written to a temporary folder and renamed when every row is filled.

A second copy of the rows is kept in the row cache, outside the store and keyed by image hash, weights and transform. After a
killed extraction, or when a collection has grown, only the images without a cached row are embedded.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from safetensors.numpy import load, save

from nola_core.errors import NolaError
from nola_core.files import read_json, read_table, replacing, write_json, write_table

INDEX_SCHEMA = pa.schema([("row", pa.int64()), ("image_id", pa.string()), ("sha256", pa.string())])
HASH = np.dtype("S32")  # a SHA-256 in a form that numpy compares and sorts quickly


@dataclass(frozen=True)
class FeatureStore:
    """An open store.

    Attributes:
        features: float16 [N, d] memory map, as returned by the encoder (not normalised).
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
            NolaError: a file is missing or damaged, or the counts differ.
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
        """The image ids as a pandas index, cached: its hash table takes a second to build for a million images."""
        return pd.Index(self.index["image_id"])

    def positions(self, image_ids: Sequence[str] | pd.Series[str]) -> np.ndarray:
        """The row numbers of some images, int64 [n], in the order of `image_ids`.

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
        """L2-normalised features of some images, float32 [n, d], in the order of `image_ids`.

        Raises:
            NolaError: an image is not in the store.
        """
        return normalized(self.features[self.positions(image_ids)])

    def block(self, start: int, stop: int) -> np.ndarray:
        """L2-normalised features of the rows `start` to `stop` (exclusive; at most the end of the store), float32 [n, d]."""
        return normalized(self.features[start:stop])

    def normalized(self) -> np.ndarray:
        """All rows, L2-normalised, float32 [N, d]; read large stores with `block` instead."""
        return normalized(self.features)


def normalized(features: np.ndarray) -> np.ndarray:
    """Rows scaled to unit L2 norm, float32; a zero row stays zero."""
    values = np.asarray(features, dtype=np.float32)
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    return values / np.maximum(norms, np.finfo(np.float32).tiny)


class RowCache:
    """Append-only cache of feature rows: image hash -> float16 [d], one safetensors file per chunk, each written atomically.

    The name of a chunk contains the SHA-256 of its bytes, which is checked whenever the chunk is read. A damaged chunk is deleted
    with a message on stderr, and its images count as missing again. A row takes 40 bytes of memory: image hash and position.
    """

    def __init__(self, folder: Path, dim: int) -> None:
        self.folder = folder
        self.dim = dim
        self._chunks: list[Path] = []
        self._hashes = np.empty(0, HASH)  # sorted
        self._places = np.empty(0, np.int64)  # for each of `_hashes`: chunk number * 2^32 + row in the chunk
        self._added: list[tuple[np.ndarray, np.ndarray]] = []  # the same for chunks that are not merged yet
        folder.mkdir(parents=True, exist_ok=True)
        for chunk in sorted(folder.glob("*.safetensors")):
            tensors = _load(chunk)
            if tensors is not None:
                self._add(chunk, tensors["keys"].reshape(-1).view(HASH))

    def contains(self, hashes: Sequence[str]) -> np.ndarray:
        """Whether each image has a row, bool [n]."""
        return self._find(hashes) >= 0

    def append(self, hashes: Sequence[str], rows: np.ndarray) -> None:
        """Add float16 rows [n, d] under the hashes of their images."""
        keys = _binary(hashes)
        data = save({"keys": keys.view(np.uint8).reshape(-1, 32), "rows": np.ascontiguousarray(rows, dtype=np.float16)})
        chunk = self.folder / f"{len(self._chunks):06d}-{hashlib.sha256(data).hexdigest()}.safetensors"
        with replacing(chunk) as scratch:
            scratch.write_bytes(data)
        self._add(chunk, keys)

    def read(self, hashes: Sequence[str]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Pairs of positions in `hashes`, int64 [k] ascending, and their rows, float16 [k, d], chunk by chunk.

        Images without a row are left out.
        """
        places = self._find(hashes)
        known = np.flatnonzero(places >= 0)
        known = known[np.argsort(places[known] >> 32, kind="stable")]
        for positions in np.split(known, np.flatnonzero(np.diff(places[known] >> 32)) + 1):
            tensors = _load(self._chunks[places[positions[0]] >> 32]) if len(positions) else None
            if tensors is not None:
                yield positions, tensors["rows"][places[positions] & 0xFFFFFFFF]

    def _add(self, chunk: Path, keys: np.ndarray) -> None:
        self._added.append((keys, (len(self._chunks) << 32) + np.arange(len(keys))))
        self._chunks.append(chunk)

    def _find(self, hashes: Sequence[str]) -> np.ndarray:
        """The position of every image, int64 [n]; -1 if it has no row."""
        if self._added:
            keys, places = zip((self._hashes, self._places), *self._added, strict=True)
            self._added = []
            order = np.argsort(np.concatenate(keys), kind="stable")
            self._hashes, self._places = np.concatenate(keys)[order], np.concatenate(places)[order]
        wanted = _binary(hashes)
        found = np.full(len(wanted), -1)
        if len(self._hashes):
            order = np.argsort(wanted)  # looking up sorted hashes uses the CPU cache better
            at = np.minimum(np.searchsorted(self._hashes, wanted[order]), len(self._hashes) - 1)
            found[order] = np.where(self._hashes[at] == wanted[order], self._places[at], -1)
        return found


def _binary(hashes: Sequence[str]) -> np.ndarray:
    return np.frombuffer(bytes.fromhex("".join(hashes)), dtype=HASH)


def _load(chunk: Path) -> dict[str, np.ndarray] | None:
    """The tensors of a chunk. If its bytes do not match the hash in its name, the file is deleted and the result is None."""
    try:
        data = chunk.read_bytes()
    except FileNotFoundError:  # another process has deleted the damaged chunk
        return None
    if hashlib.sha256(data).hexdigest() != chunk.stem.partition("-")[2]:
        print(f"{chunk} is damaged: NoLA deletes it and embeds its images again", file=sys.stderr)
        chunk.unlink(missing_ok=True)
        return None
    return load(data)


def write_store(folder: Path, part: pd.DataFrame, rows: RowCache, meta: dict[str, Any]) -> None:
    """Create the store of one split from cached rows.

    Args:
        folder: a new folder.
        part: `image_id, sha256`, one per row of the store.
        meta: `role`, `threads` and the content of `ImageEncoder.meta`.

    Raises:
        NolaError: an image has no cached row.
    """
    folder.mkdir(parents=True)
    filled = np.zeros(len(part), dtype=bool)
    with (folder / "features.npy").open(
        "wb"
    ) as stream:  # not a memory map: on a full disk that raises SIGBUS instead of an error
        header = {"descr": np.dtype(np.float16).str, "fortran_order": False, "shape": (len(part), rows.dim)}
        np.lib.format.write_array_header_1_0(stream, header)
        begin = stream.tell()
        for positions, block in rows.read(part["sha256"].tolist()):
            runs = np.split(np.arange(len(positions)), np.flatnonzero(np.diff(positions) != 1) + 1)
            for run in runs:
                stream.seek(begin + int(positions[run[0]]) * 2 * rows.dim)
                stream.write(block[run].tobytes())
            filled[positions] = True
    if not filled.all():
        image_id = part["image_id"].iloc[int(filled.argmin())]
        raise NolaError(
            f"{folder}: {(~filled).sum()} of {len(part)} images have no features (first: '{image_id}'); run embed again."
        )
    index = pd.DataFrame({"row": range(len(part)), "image_id": part["image_id"].tolist(), "sha256": part["sha256"].tolist()})
    write_table(folder / "index.parquet", index, INDEX_SCHEMA)
    versions = {name: version(name) for name in ("torch", "open_clip_torch", "timm", "pillow")}
    counts = {"dtype": "float16", "dim": rows.dim, "count": len(part), "versions": versions}
    write_json(folder / "meta.json", {**meta, **counts})
