"""The map: similar images lie together, whether t-SNE placed them or their anchors did."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nola_core.explore import layout


def blobs(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    of = np.arange(count) % 3
    rows = np.eye(8)[of] + 0.1 * rng.normal(size=(count, 8))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), of


@pytest.mark.parametrize("anchors", [3_000, 60])
def test_nearest_on_the_map_is_of_the_same_kind(monkeypatch: pytest.MonkeyPatch, anchors: int) -> None:
    monkeypatch.setattr(layout, "ANCHORS", anchors)
    rows, of = blobs(150)
    components = layout.principal(rows)
    at = layout.placed(components)
    assert at.shape == (150, 2) and np.isfinite(at).all()
    distances = np.linalg.norm(at[:, None] - at[None], axis=2) + 1e9 * np.eye(150)
    assert (of[distances.argmin(axis=1)] == of).mean() > 0.98
    assert len(np.unique(at, axis=0)) == 150  # nobody hides another
    assert layout.placed(components).tolist() == at.tolist()


def test_components_are_those_of_the_whole_decomposition() -> None:
    rng = np.random.default_rng(0)
    rows = (rng.normal(size=(200, 70)) * np.linspace(3, 0.1, 70)).astype(np.float32)
    found = layout.principal(rows)
    centred = rows - rows.mean(axis=0)
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    assert found.shape == (200, 50)
    assert np.linalg.norm(found, axis=0)[:10] == pytest.approx(sizes[:10], rel=1e-2)
    for place in range(2):
        assert abs(found[:, place] @ (centred @ axes[place])) / sizes[place] ** 2 > 0.98


@pytest.mark.parametrize("count", [1, 2, 4, 5, 9])
def test_few_images_have_places_too(count: int) -> None:
    rows, _ = blobs(count)
    places = layout.scaled(layout.placed(layout.principal(rows)))
    assert places.shape == (count, 2) and places.dtype == np.uint16


def test_scaling_keeps_proportions() -> None:
    at = layout.scaled(np.array([[0, 10], [4, 10], [2, 12]], dtype=np.float32)).astype(int)
    assert at[0, 0] == 0 and at[1, 0] == 65_535
    assert at[2, 1] - at[0, 1] == pytest.approx(65_535 / 2, abs=1) and at[0, 1] + at[2, 1] == pytest.approx(65_535, abs=1)


def test_a_map_is_kept_for_its_key_alone(tmp_path: Path) -> None:
    coordinates = np.arange(6, dtype=np.float32).reshape(3, 2)
    layout.store(tmp_path, "one", coordinates)
    found = layout.cached(tmp_path, "one", 3)
    assert found is not None and found.tolist() == coordinates.tolist()
    assert layout.cached(tmp_path, "one", 4) is None and layout.cached(tmp_path, "two", 3) is None
    layout.store(tmp_path, "two", coordinates)
    assert layout.cached(tmp_path, "one", 3) is None  # the older map goes
    (tmp_path / "two.npy").write_bytes(b"\x93NUMPY broken")
    assert layout.cached(tmp_path, "two", 3) is None
