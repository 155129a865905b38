"""Places for images on a map: images with similar features lie close together."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nola_core import files

ANCHORS = 3_000
"""Images that t-SNE places, at most; every other image goes to its nearest anchors. All pairs of 20,000 would take minutes."""
COMPONENTS = 50
PERPLEXITY = 30.0
STEPS = 500
NEAREST = 4
"""Anchors that place an image."""
SPREAD = 0.35
"""Images around their anchors, as a share of the distance between neighbouring anchors, so that they do not hide each other."""


def principal(features: np.ndarray) -> np.ndarray:
    """The principal components of features [n, d], at most 50 of them and at least 2, float32; the first two are a quick map.

    Subspace iteration (Halko, Martinsson and Tropp, SIAM Review 2011), as scikit-learn has it, whose import takes seconds.
    """
    if min(features.shape) < 2:
        return np.zeros((len(features), 2), np.float32)
    sample = features[_anchors(len(features))]
    mean = sample.mean(axis=0)
    centred = sample - mean
    axes = np.random.default_rng(0).normal(size=(features.shape[1], COMPONENTS + 10)).astype(np.float32)
    for _ in range(4):
        axes = centred.T @ np.linalg.qr(centred @ axes)[0]
    _, _, rows = np.linalg.svd(axes.T, full_matrices=False)
    return ((features - mean) @ rows[: min(COMPONENTS, *features.shape)].T).astype(np.float32)


def placed(components: np.ndarray) -> np.ndarray:
    """The map: t-SNE of some images as anchors (van der Maaten, JMLR 2014), each other image beside its nearest anchors.

    Args:
        components: float32 [n, k], of `principal`.

    Returns:
        float32 [n, 2]. The same input gives the same map on the same machine.
    """
    from sklearn.manifold import TSNE
    from sklearn.neighbors import NearestNeighbors

    count = len(components)
    if count < 5:  # too few for neighbourhoods
        return components[:, :2].astype(np.float32)
    anchors = _anchors(count)
    perplexity = min(PERPLEXITY, (len(anchors) - 1) / 3)
    tsne = TSNE(2, perplexity=perplexity, init="pca", max_iter=STEPS, random_state=0)
    at = tsne.fit_transform(components[anchors]).astype(np.float32)
    if len(anchors) == count:
        return at
    distances, nearest = NearestNeighbors(n_neighbors=NEAREST).fit(components[anchors]).kneighbors(components)
    weights = 1 / np.maximum(distances, 1e-6) ** 2
    weights /= weights.sum(axis=1, keepdims=True)
    # An image between two islands would lie in the sea: only anchors near the nearest one on the map count.
    gaps = NearestNeighbors(n_neighbors=NEAREST).fit(at).kneighbors(at)[0][:, 1:].mean(axis=1)
    away = np.linalg.norm(at[nearest] - at[nearest[:, :1]], axis=2) > 8 * np.median(gaps)
    weights[away] = 0
    result = (at[nearest] * (weights / weights.sum(axis=1, keepdims=True))[..., None]).sum(axis=1)
    noise = np.random.default_rng(0).normal(size=result.shape) * (SPREAD * gaps[nearest[:, 0]])[:, None]
    result += noise
    result[anchors] = at
    return result.astype(np.float32)


def cached(path: Path, key: str, count: int) -> np.ndarray | None:
    """The map that `store` kept under a key, float32 [n, 2]; None if there is none."""
    file = path / f"{key}.npy"
    try:
        found = np.load(file)
    except (OSError, ValueError, EOFError):
        return None
    return found if found.shape == (count, 2) and found.dtype == np.float32 and np.isfinite(found).all() else None


def store(path: Path, key: str, coordinates: np.ndarray) -> None:
    """Keep a map for `cached`; older maps in `path` go."""
    old = list(path.glob("*.npy"))
    with files.replacing(path / f"{key}.npy") as scratch, scratch.open("wb") as stream:
        np.save(stream, coordinates)
    for file in old:
        if file.stem != key:
            file.unlink(missing_ok=True)


def scaled(coordinates: np.ndarray) -> np.ndarray:
    """Coordinates as whole numbers, uint16 [n, 2], in a square; the proportions stay."""
    low = coordinates.min(axis=0)
    span = float((coordinates - low).max()) or 1.0
    middle = (span - (coordinates.max(axis=0) - low)) / 2
    return ((coordinates - low + middle) / span * 65_535).round().clip(0, 65_535).astype(np.uint16)


def _anchors(count: int) -> np.ndarray:
    if count <= ANCHORS:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).choice(count, ANCHORS, replace=False))
