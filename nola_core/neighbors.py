"""Nearest neighbours in feature stores: exact search with FAISS (on a GPU if available), approximate for large collections.

Computing the cosines of all pairs costs N^2: minutes for 50,000 images, hours for a million. Beyond `EXACT_IMAGES`, near
duplicates are searched in an inverted file (FAISS IVF) over the principal components of the features, which costs time
proportional to N. Its recall is measured on a sample by comparison with exact search.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np
import pandas as pd
import pyarrow as pa

from nola_core.device import device
from nola_core.errors import NolaError
from nola_core.features import normalized
from nola_core.progress import progress

if TYPE_CHECKING:
    import torch  # already imported by `device`, and only if FAISS sees a GPU

DUPLICATES_SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("split", pa.string()),
        ("other_id", pa.string()),
        ("other_split", pa.string()),
        ("similarity", pa.float32()),
        ("exact", pa.bool_()),
    ]
)
EXACT_IMAGES = 50_000
"""Up to this many images, every pair is compared."""
SAMPLE = 2000
"""Images that are compared with all others in approximate search, to measure the typical distance and the recall."""
BLOCK = 1 << 15
"""Feature rows converted to float32 at a time."""
COMPONENTS = 64
LIST = 256
"""Average number of images per list of the inverted file."""
PROBES = 8
"""Lists searched for each image."""
TRAINED_ON = 40
"""Training images per list of the inverted file."""
SPARE = 4
"""The inverted file returns this many times more candidates than needed; they are then ranked by their exact cosines."""


@dataclass(frozen=True)
class Gallery:
    """Several feature arrays as one, read and normalised in blocks, so that memory maps need not fit into memory."""

    parts: Sequence[np.ndarray]
    _starts: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_starts", np.cumsum([0, *(len(part) for part in self.parts)]))

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def dim(self) -> int:
        """Width d."""
        return int(self.parts[0].shape[1])

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Some rows, float32 [n, d], of unit length."""
        out = np.empty((len(rows), self.dim), dtype=self.parts[0].dtype)
        for part, start in zip(self.parts, self._starts[:-1], strict=True):
            inside = (rows >= start) & (rows < start + len(part))
            out[inside] = part[rows[inside] - start]
        return normalized(out)

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """All rows in order, as blocks (number of the first row, float32 [n, d] unit rows)."""
        for part, first in zip(self.parts, self._starts[:-1], strict=True):
            for start in range(0, len(part), BLOCK):
                yield int(first) + start, normalized(part[start : start + BLOCK])


@dataclass(frozen=True)
class Recall:
    """Recall of the approximate search, measured on a sample of `images`.

    Attributes:
        pairs: near-duplicate pairs that exact search finds for the sampled images.
        found: how many of these the approximate search finds.
    """

    images: int
    pairs: int
    found: int

    def __str__(self) -> str:
        if not self.pairs:
            return f"approximate search; exact search finds no pair for {self.images:,} sampled images either"
        share = f"{self.found:,} of the {self.pairs:,} pairs ({self.found / self.pairs:.1%})"
        return f"approximate search lists {share} that exact search finds for {self.images:,} sampled images"


def gpu_of(place: torch.device) -> int | None:
    """The GPU that FAISS uses if torch uses `place`, or None for the CPU."""
    return (place.index or 0) if place.type == "cuda" else None


def search(gallery: np.ndarray | Gallery, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k rows of `gallery` with the largest inner product with each query, by exhaustive search.

    Args:
        gallery: [N, d], L2-normalised rows (so the inner product is the cosine).
        queries: float32 [q, d], likewise.
        k: number of results, at most N.

    Returns:
        Similarities float32 [q, k] in descending order, and row numbers int64 [q, k].

    Raises:
        NolaError: widths differ, the gallery is empty, or a value is NaN.
    """
    shape = (len(gallery), gallery.dim) if isinstance(gallery, Gallery) else gallery.shape
    if len(shape) != 2 or queries.ndim != 2 or shape[1] != queries.shape[1] or not shape[0]:
        raise NolaError(f"neighbour search needs a non-empty N x d gallery and q x d queries, got {shape}, {queries.shape}.")
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    _refuse_nan(queries)
    best = np.full((len(queries), 0), 0, dtype=np.float32)
    rows = np.full((len(queries), 0), 0, dtype=np.int64)
    for start, block in gallery.blocks() if isinstance(gallery, Gallery) else [(0, gallery)]:
        _refuse_nan(block)
        found, places = _compared(np.ascontiguousarray(block, dtype=np.float32), queries, min(k, len(block)))
        best, rows = np.hstack([best, found]), np.hstack([rows, places + start])
        if best.shape[1] > found.shape[1]:
            order = np.argsort(-best, axis=1, kind="stable")[:, :k]
            best, rows = np.take_along_axis(best, order, axis=1), np.take_along_axis(rows, order, axis=1)
    return best, rows


def _compared(gallery: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    gpu = gpu_of(device()) if faiss.get_num_gpus() else None
    if gpu is None:
        return faiss.knn(queries, gallery, k, metric=faiss.METRIC_INNER_PRODUCT)
    return faiss.knn_gpu(_gpu_memory(gpu), queries, gallery, k, metric=faiss.METRIC_INNER_PRODUCT, device=gpu)


@cache
def _gpu_memory(gpu: int) -> Any:
    """FAISS's working memory on a GPU, allocated once."""
    return faiss.StandardGpuResources()


def _refuse_nan(rows: np.ndarray) -> None:
    if np.isnan(rows).any():
        raise NolaError("neighbour search got NaN features; run embed again and check the model it names.")


def near_duplicates(
    manifest: pd.DataFrame,
    image_ids: Sequence[str] | pd.Series[str],
    gallery: Gallery,
    *,
    neighbors: int,
    similarity: float,
    closeness: float | None,
    exact_images: int = EXACT_IMAGES,
) -> tuple[pd.DataFrame, Recall | None]:
    """Pairs of images that are the same or nearly so, across all splits: duplicates within train, leakage between splits.

    Args:
        manifest: `image_id, split, sha256` of at least `image_ids`.
        gallery: their features, N rows in the order of `image_ids`.
        neighbors: nearest images to examine for each image.
        similarity: minimum cosine of a listed pair.
        closeness: the cosine distance of a listed pair is also at most this share of the median distance of an image to its
            nearest other. If all images of a collection look alike, a cosine alone is not informative. None: only the cosine.
        exact_images: up to this many images, all pairs are compared. Beyond it, candidates come from the inverted file and the
            median is that of `SAMPLE` images.

    Returns:
        The table, with one row per unordered pair (docs/formats.md), most similar first. `exact` is true if the files are
        identical. Exact pairs are found by hash, independent of `neighbors`: each image with the first of its copies.
        Also the recall of the approximate search, None if the search was exact.
    """
    rows = manifest.iloc[pd.Index(manifest["image_id"]).get_indexer(pd.Index(image_ids))]
    files = pd.factorize(rows["sha256"])[0]
    count = len(gallery)
    sample, approximate = np.arange(count), count > exact_images
    if approximate:
        sample = np.sort(np.random.default_rng(0).choice(count, min(SAMPLE, count), replace=False))
    cosines, others = search(gallery, gallery.take(sample), neighbors + 1)
    limit = similarity
    if closeness is not None:
        limit = max(similarity, 1 - closeness * _typical_distance(cosines, others, files, sample))
    keys, values = _pairs(sample, others, cosines, files, limit)
    recall = None
    if approximate:
        wanted = keys
        keys, values = _approximate_pairs(gallery, files, neighbors=neighbors, limit=limit)
        recall = Recall(len(sample), len(wanted), int(np.isin(wanted, keys).sum()))
    first = pd.Series(np.arange(count)).groupby(files).transform("min").to_numpy()
    copies = np.flatnonzero(first != np.arange(count))
    one, two = np.append(first[copies], keys // count), np.append(copies, keys % count)
    ids, splits = np.asarray(rows["image_id"], dtype=object), np.asarray(rows["split"], dtype=object)
    table = pd.DataFrame(
        {
            "image_id": ids[one],
            "split": splits[one],
            "other_id": ids[two],
            "other_split": splits[two],
            "similarity": np.append(np.ones(len(copies)), values),
            "exact": np.arange(len(one)) < len(copies),
        }
    )
    order = ["exact", "similarity", "image_id"]
    return table.sort_values(order, ascending=[False, False, True], ignore_index=True), recall


def _pairs(
    asked: np.ndarray, others: np.ndarray, cosines: np.ndarray, files: np.ndarray, limit: float
) -> tuple[np.ndarray, np.ndarray]:
    """Unordered pairs of different files with a cosine of at least `limit`: keys lower row x N + higher row, and cosines."""
    place, column = np.nonzero(cosines >= limit)
    one, two, values = asked[place], others[place, column], cosines[place, column]
    apart = files[one] != files[two]
    keys = np.minimum(one, two)[apart] * len(files) + np.maximum(one, two)[apart]
    keys, kept = np.unique(keys, return_index=True)
    return keys, np.minimum(1, values[apart][kept])


def _typical_distance(cosines: np.ndarray, others: np.ndarray, files: np.ndarray, asked: np.ndarray) -> float:
    """Median cosine distance of an image to its nearest image that is not a copy of it; 2 if there are only copies."""
    copies = files[others] == files[asked][:, None]  # including itself
    nearest = np.where(copies, -1.0, cosines).max(axis=1)
    return float(np.median(1 - nearest))


def _approximate_pairs(gallery: Gallery, files: np.ndarray, *, neighbors: int, limit: float) -> tuple[np.ndarray, np.ndarray]:
    """As `_pairs`, for the nearest images of each image according to the inverted file.

    Projection on principal components shortens distances. Candidates whose projected squared distance exceeds 2 - 2 `limit` are
    therefore no pairs; only the others are looked up in the gallery.
    """
    components, lists = inverted_file(gallery)
    parts = []
    with progress(total=len(gallery), what="duplicates", unit="images") as advance:
        for start, block in gallery.blocks():
            distances, others = lists.search(components.apply(block), SPARE * (neighbors + 1))
            asked = np.arange(start, start + len(block))
            near = (distances <= 2 - 2 * limit + 1e-5) & (others >= 0) & (others != asked[:, None])
            cosines = np.full(others.shape, -1, dtype=np.float32)
            place, column = np.nonzero(near)
            for at in range(0, len(place), BLOCK):
                some, place_of = (place[at : at + BLOCK], column[at : at + BLOCK]), place[at : at + BLOCK]
                cosines[some] = np.einsum("nd,nd->n", block[place_of], gallery.take(others[some]))
            best = np.argsort(-cosines, axis=1, kind="stable")[:, :neighbors]
            found = np.take_along_axis(others, best, axis=1), np.take_along_axis(cosines, best, axis=1)
            parts.append(_pairs(asked, *found, files, limit))
            advance(len(block))
    keys, kept = np.unique(np.concatenate([keys for keys, _ in parts]), return_index=True)
    return keys, np.concatenate([values for _, values in parts])[kept]


def inverted_file(gallery: Gallery, *, compressed: bool = False) -> tuple[Any, Any]:
    """The principal components (`apply` projects) and FAISS's inverted file over all rows projected on them.

    Args:
        compressed: four bits a component instead of a float32: several times as fast, for more candidates that are ranked anew.
    """
    rng = np.random.default_rng(0)
    lists = max(1, len(gallery) // LIST)
    width = min(COMPONENTS, gallery.dim)
    sample = gallery.take(np.sort(rng.choice(len(gallery), min(len(gallery), TRAINED_ON * max(lists, LIST)), replace=False)))
    _refuse_nan(sample)
    components = faiss.PCAMatrix(gallery.dim, width)
    components.train(sample[: 256 * COMPONENTS])
    coarse = faiss.IndexFlatL2(width)
    index = faiss.IndexIVFPQFastScan(coarse, width, lists, width, 4) if compressed else faiss.IndexIVFFlat(coarse, width, lists)
    index.cp.niter, index.nprobe = 10, PROBES
    index.train(components.apply(sample))
    del sample
    for _, block in gallery.blocks():
        _refuse_nan(block)
        index.add(components.apply(block))
    return components, index
