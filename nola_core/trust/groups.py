"""Groups of images that look alike and fit no name: candidates for a class of its own.

An image fits no name if its largest mean probability (`unknown.averaged`) is nearer to 1 / C, knowing nothing, than to 1. Two
images belong together if each is among the other's nearest neighbours in the SSL space of the whole collection. A connected
component of images that fit no name is a group if at least half of its members' neighbours are members, too: the fringe of a
class that has a name has neighbours inside that class. Other images that fit no name join the group that has half of their
neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from nola_core.neighbors import Gallery, search

FITS_NONE = 0.5
"""Where an image begins to fit no name, between a largest mean probability of 1 (0) and of 1 / C (1)."""
CANDIDATES = 5_000
"""Images looked at, at most: those of the highest scores."""
NEIGHBORS = 10
SMALLEST = 8
"""Images of a group, at least."""
INSIDE = 0.5
"""Least share of the members' neighbours that are members of the group."""
SHOWN = 12
"""Images of a group that are listed, the most typical first."""
NAMES = 3
"""Names of a group that are listed, the nearest first."""
SCHEMA = pa.schema(
    [
        ("group", pa.int32()),
        ("images", pa.int64()),
        ("score", pa.float32()),
        ("inside", pa.float32()),
        ("class_ids", pa.list_(pa.int32())),
        ("shares", pa.list_(pa.float32())),
        ("image_ids", pa.list_(pa.string())),
    ]
)


def find(
    scores: np.ndarray, class_ids: np.ndarray, image_ids: Sequence[str], gallery: Gallery, *, classes: int
) -> tuple[np.ndarray, pd.DataFrame]:
    """The groups of a collection, the largest first.

    Args:
        scores: float32 [N], `unknown.averaged`.
        class_ids: int32 [N], the name with the largest mean probability.
        image_ids: N.
        gallery: SSL features of the same images.
        classes: C, the number of names, at least 2.

    Returns:
        int32 [N], the group of every image, from 1, or 0; and the table of groups, columns of `SCHEMA`. `score` is the mean of
        the members', `inside` the share of the members' neighbours that are members; `class_ids` are the names nearest to most
        of them with their `shares`, and `image_ids` the members nearest to the group's mean.
    """
    group_of = np.zeros(len(scores), dtype=np.int32)
    asked = np.flatnonzero(scores >= FITS_NONE * (1 - 1 / classes))
    if len(asked) > CANDIDATES:
        asked = np.sort(asked[np.argsort(-scores[asked], kind="stable")[:CANDIDATES]])
    if len(asked) < SMALLEST:
        return group_of, SCHEMA.empty_table().to_pandas()
    features = gallery.take(asked)
    near = _neighbors(gallery, asked, features)
    found = [one for one in _components(asked, near) if len(one) >= SMALLEST and _inside(near[one], asked[one]) >= INSIDE]
    for group, members in enumerate(found, start=1):
        group_of[asked[members]] = group
    around = group_of[near]
    for group in range(1, len(found) + 1):
        group_of[asked[(group_of[asked] == 0) & ((around == group).mean(axis=1) >= INSIDE)]] = group
    rows: list[dict[str, object]] = []
    for group in range(1, len(found) + 1):
        members = np.flatnonzero(group_of[asked] == group)
        images = asked[members]
        names, counts = np.unique(class_ids[images], return_counts=True)
        first = np.argsort(-counts, kind="stable")[:NAMES]
        typical = np.argsort(-features[members] @ features[members].mean(axis=0), kind="stable")[:SHOWN]
        rows.append(
            {
                "group": group,
                "images": len(members),
                "score": float(scores[images].mean()),
                "inside": _inside(near[members], images),
                "class_ids": names[first].tolist(),
                "shares": (counts[first] / len(members)).tolist(),
                "image_ids": [image_ids[image] for image in images[typical]],
            }
        )
    return group_of, pd.DataFrame(rows, columns=SCHEMA.names)


def _inside(near: np.ndarray, members: np.ndarray) -> float:
    """The share of neighbours that are members."""
    return float(np.isin(near, members).mean()) if near.size else 0.0


def _neighbors(gallery: Gallery, asked: np.ndarray, features: np.ndarray) -> np.ndarray:
    """The nearest other images of some images, int64 [A, k]."""
    _, found = search(gallery, features, min(NEIGHBORS + 1, len(gallery)))
    itself = found == asked[:, None]
    itself[~itself.any(axis=1), -1] = True  # among many copies it may not be in the list: drop the last
    return found[~itself].reshape(len(asked), -1)


def _components(asked: np.ndarray, near: np.ndarray) -> list[np.ndarray]:
    """Positions in `asked` of the components of the mutual neighbour graph, the largest first."""
    place = np.searchsorted(asked, near).clip(max=len(asked) - 1)
    row, column = np.nonzero(asked[place] == near)
    edges = csr_array((np.ones(len(row), dtype=np.int8), (row, place[row, column])), shape=(len(asked), len(asked)))
    _, labels = connected_components(edges.multiply(edges.T), directed=False)
    order = np.argsort(labels, kind="stable")
    parts = np.split(order, np.searchsorted(labels[order], np.arange(1, labels.max() + 1)))
    return sorted(parts, key=len, reverse=True)


def sentence(groups: pd.DataFrame) -> str:
    """How many groups there are, in a sentence."""
    if groups.empty:
        return "No group of similar images was found that fits none of the names."
    count, images = len(groups), int(groups["images"].sum())
    if count == 1:
        return f"{images:,} images look alike and fit none of the names."
    return f"{images:,} images in {count:,} groups look alike and fit none of the names."
