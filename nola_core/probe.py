"""The nearest-neighbour probe: accuracy of self-supervised features by a vote of labelled neighbours."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from nola_core.neighbors import search

if TYPE_CHECKING:
    from nola_core.features import FeatureStore

GALLERY, QUERIES = 100_000, 10_000
"""Limits for the train images that vote and for the images classified; above them, a sample with a fixed seed is used."""
VOTES = 8192
"""Queries whose votes are counted at a time."""


def ssl_knn(ssl_features: Callable[[str], FeatureStore], known: pd.DataFrame, *, split: str, k: int) -> dict[str, float | int]:
    """k-NN accuracy on the SSL features: train images classify the reported split, or each other if the split is train.

    Args:
        ssl_features: opens the feature store of a split.
        known: `image_id, split, class_id` of the labelled images; at least two of train and one of `split`.
        split: the reported split.
        k: number of neighbours that vote.

    Returns:
        `top1`; `neighbors`: k; `images`: number of images classified; `gallery`: number of train images that vote.
    """
    rng = np.random.default_rng(0)
    train = _drawn(known[known["split"] == "train"], GALLERY, rng)
    gallery, classes = ssl_features("train").rows(train["image_id"]), train["class_id"].to_numpy()
    if split == "train":
        images = min(len(train), QUERIES)
        top1 = knn_accuracy(gallery, classes, None, None, k, asked=images)
    else:
        asked = _drawn(known[known["split"] == split], QUERIES, rng)
        images = len(asked)
        top1 = knn_accuracy(gallery, classes, ssl_features(split).rows(asked["image_id"]), asked["class_id"].to_numpy(), k)
    return {"top1": top1, "neighbors": k, "images": images, "gallery": len(train)}


def _drawn(rows: pd.DataFrame, most: int, rng: np.random.Generator) -> pd.DataFrame:
    """All rows, or a random sample of `most` of them."""
    return rows if len(rows) <= most else rows.iloc[rng.permutation(len(rows))[:most]]


def knn_accuracy(
    gallery: np.ndarray,
    gallery_classes: np.ndarray,
    queries: np.ndarray | None,
    query_classes: np.ndarray | None,
    k: int,
    *,
    asked: int | None = None,
) -> float:
    """Fraction of queries for which the k most similar gallery images vote for the correct class.

    Ties go to the class with the larger summed similarity.

    Args:
        gallery: [n, d] L2-normalised.
        gallery_classes: [n] class ids.
        queries: [q, d] L2-normalised; None classifies gallery images by the others.
        query_classes: [q] class ids; None with `queries`.
        k: how many neighbours vote; fewer if the gallery is smaller.
        asked: without `queries`, the number of gallery images to classify, starting with the first; None for all.
    """
    if queries is None or query_classes is None:
        query_classes = gallery_classes[:asked]
        similarity, index = nearest_others(gallery, len(query_classes), k)
    else:
        similarity, index = search(gallery, queries, min(k, len(gallery)))
    return float((vote(gallery_classes[index], similarity) == query_classes).mean())


def nearest_others(gallery: np.ndarray, asked: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k most similar other images of each of the first `asked`: cosines and numbers [asked, min(k, n - 1)], best first.

    Args:
        gallery: [n, d] L2-normalised.
    """
    wanted = min(k + 1, len(gallery))
    similarity, index = search(gallery, gallery[:asked], wanted)
    own = index == np.arange(asked)[:, None]
    own[~own.any(axis=1), -1] = True  # with more than k exact copies the image itself may be missing: drop the last
    return similarity[~own].reshape(asked, wanted - 1), index[~own].reshape(asked, wanted - 1)


def vote(voted: np.ndarray, similarity: np.ndarray) -> np.ndarray:
    """The most frequent class among the neighbours, int64 [q]; ties go to the class with the larger summed similarity.

    Args:
        voted: class ids [q, k] of the neighbours.
        similarity: their cosines [q, k].
    """
    parts = range(0, len(voted), VOTES)
    return np.concatenate([_vote(voted[at : at + VOTES], similarity[at : at + VOTES]) for at in parts])


def _vote(voted: np.ndarray, similarity: np.ndarray) -> np.ndarray:
    """The most frequent class among the neighbours: class ids [q, k] and their cosines -> [q]."""
    same = voted[:, :, None] == voted[:, None, :]
    # Counts are integers and the summed similarities are scaled below 1/4, so these only break ties.
    weight = 1.0 + np.clip(similarity.astype(np.float64), -1, 1) / (4 * max(1, voted.shape[1] + 1))
    best = (same * weight[:, None, :]).sum(axis=2).argmax(axis=1)
    return voted[np.arange(len(voted)), best]
