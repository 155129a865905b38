"""Nearest neighbours over feature stores: FAISS's exact inner-product index, on the GPU when there is one."""

from __future__ import annotations

import faiss
import numpy as np
import pandas as pd
import pyarrow as pa

from nola_core.errors import NolaError

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


def search(gallery: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k rows of `gallery` with the largest inner product with each query.

    Args:
        gallery: float32 [N, d], L2-normalised rows (then the inner product is the cosine).
        queries: float32 [q, d], likewise.
        k: at most N are returned.

    Returns:
        Similarities float32 [q, k] in falling order, and row numbers int64 [q, k].

    Raises:
        NolaError: widths differ, the gallery is empty, or a value is NaN.
    """
    if gallery.ndim != 2 or queries.ndim != 2 or gallery.shape[1] != queries.shape[1] or not len(gallery):
        raise NolaError(
            f"neighbour search needs a non-empty N x d gallery and q x d queries, got {gallery.shape}, {queries.shape}."
        )
    if np.isnan(gallery).any() or np.isnan(queries).any():
        raise NolaError("neighbour search got NaN features; run embed again and look at the model it names.")
    index: faiss.Index = faiss.IndexFlatIP(gallery.shape[1])
    if hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0:
        index = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index)
    index.add(np.ascontiguousarray(gallery, dtype=np.float32))
    similarities, rows = index.search(np.ascontiguousarray(queries, dtype=np.float32), min(k, len(gallery)))
    return similarities, rows


def near_duplicates(
    manifest: pd.DataFrame,
    image_ids: list[str],
    features: np.ndarray,
    *,
    neighbors: int,
    similarity: float,
    closeness: float | None,
) -> pd.DataFrame:
    """Pairs of images that are the same or nearly so, across all splits: duplicates within train, leakage between splits.

    Args:
        manifest: `image_id, split, sha256` of at least `image_ids`.
        features: float32 [N, d], L2-normalised, in the order of `image_ids`.
        neighbors: nearest images looked at for each image.
        similarity: cosine from which on a pair is listed, if it is also unusually close:
        closeness: its cosine distance is at most this share of the median distance of an image to its nearest other. In a
            collection whose images all look alike, a cosine alone says nothing. None: the cosine alone.

    Returns:
        One row an unordered pair (docs/formats.md), most similar first; `exact` where the files are equal byte for byte.
        Exact pairs are found by hash, whatever `neighbors` says: each image with the first of its copies.
    """
    rows = manifest.set_index("image_id").loc[image_ids]
    splits, hashes = rows["split"].to_numpy(), rows["sha256"].to_numpy()
    pairs: dict[tuple[int, int], float] = {}
    for group in rows.groupby("sha256", sort=False).indices.values():
        pairs.update({(int(group[0]), int(other)): 1.0 for other in group[1:]})
    cosines, others = search(features, features, neighbors + 1)
    limit = similarity if closeness is None else max(similarity, 1 - closeness * _typical_distance(cosines, others, hashes))
    for one, column in zip(*np.nonzero(cosines >= limit), strict=True):
        two = int(others[one, column])
        if hashes[one] != hashes[two]:
            pairs[min(int(one), two), max(int(one), two)] = min(1.0, float(cosines[one, column]))
    table = pd.DataFrame(
        [
            (image_ids[one], splits[one], image_ids[two], splits[two], cosine, hashes[one] == hashes[two])
            for (one, two), cosine in pairs.items()
        ],
        columns=DUPLICATES_SCHEMA.names,
    )
    return table.sort_values(["exact", "similarity", "image_id"], ascending=[False, False, True], ignore_index=True)


def _typical_distance(cosines: np.ndarray, others: np.ndarray, hashes: np.ndarray) -> float:
    """Median cosine distance of an image to its nearest image that is no copy of it; 2 if there are copies only."""
    copies = hashes[others] == hashes[:, None]  # itself among them
    nearest = np.where(copies, -1.0, cosines).max(axis=1)
    return float(np.median(1 - nearest))
