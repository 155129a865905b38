"""Neighbour search compared with a blocked torch product, and near duplicates compared with all pairs."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nola_core import neighbors
from nola_core.errors import NolaError
from nola_core.features import normalized
from nola_core.files import read_table, write_table
from nola_core.neighbors import DUPLICATES_SCHEMA, Gallery, Recall, gpu_of, search
from nola_core.neighbors import near_duplicates as all_near_duplicates


def blocked_search(gallery: np.ndarray, queries: np.ndarray, k: int, block: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """The k largest inner products, block by block: memory q x (block + k), independent of N."""
    rows = torch.from_numpy(gallery)
    best = torch.empty(len(queries), 0)
    where = torch.empty(len(queries), 0, dtype=torch.int64)
    for start in range(0, len(gallery), block):
        products = torch.from_numpy(queries) @ rows[start : start + block].T
        places = torch.arange(start, start + products.shape[1]).expand_as(products)
        best, where = torch.cat([best, products], dim=1), torch.cat([where, places], dim=1)
        best, order = best.topk(min(k, best.shape[1]), dim=1)
        where = where.gather(1, order)
    return best.numpy(), where.numpy()


def unit_rows(count: int, dim: int = 8, seed: int = 0) -> np.ndarray:
    return normalized(np.random.default_rng(seed).normal(size=(count, dim)))


@pytest.mark.parametrize(("count", "k"), [(1000, 7), (101, 1), (3, 10), (1, 1)])
def test_search_equals_the_blocked_product(count: int, k: int) -> None:
    gallery, queries = unit_rows(count), unit_rows(50, seed=1)
    similarities, rows = search(gallery, queries, k)
    slow_similarities, slow_rows = blocked_search(gallery, queries, k)
    assert similarities.shape == rows.shape == (50, min(k, count))
    assert np.allclose(similarities, slow_similarities, atol=1e-5) and np.array_equal(rows, slow_rows)
    assert (np.diff(similarities, axis=1) <= 0).all()


def test_search_takes_views_and_half_precision() -> None:
    gallery = unit_rows(40, 16)[::2, ::2]
    assert not gallery.flags.c_contiguous
    assert np.array_equal(search(gallery, gallery[:3], 4)[1], search(gallery.copy(), gallery[:3].copy(), 4)[1])
    assert np.array_equal(search(gallery.astype(np.float16), gallery[:3], 1)[1][:, 0], [0, 1, 2])


def test_a_gallery_is_searched_block_by_block_across_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbors, "BLOCK", 7)
    rows = (3 * unit_rows(60)).astype(np.float16)
    gallery = Gallery([rows[:25], rows[25:25], rows[25:]])
    queries = unit_rows(20, seed=1)
    whole = search(normalized(rows), queries, 9)
    assert (len(gallery), gallery.dim) == (60, 8)
    for mine, slow in zip(search(gallery, queries, 9), whole, strict=True):
        assert np.allclose(mine, slow, atol=1e-6)
    order = np.array([59, 0, 25, 24, 0])
    assert np.array_equal(gallery.take(order), normalized(rows[order]))
    assert np.array_equal(np.concatenate([block for _, block in gallery.blocks()]), normalized(rows))
    assert [start for start, _ in gallery.blocks()] == [0, 7, 14, 21, 25, 32, 39, 46, 53]


def test_a_nan_in_a_large_gallery_is_refused_too() -> None:
    rows = unit_rows(30).astype(np.float16)
    rows[20, 3] = np.nan
    manifest = manifest_of([str(n) for n in range(30)], ["train"] * 30)
    for most in (0, 100):
        with pytest.raises(NolaError, match="got NaN features; run embed again"):
            all_near_duplicates(
                manifest,
                list(manifest["image_id"]),
                Gallery([rows]),
                neighbors=2,
                similarity=0.9,
                closeness=None,
                exact_images=most,
            )


@pytest.mark.parametrize(("place", "gpu"), [("cpu", None), ("cuda", 0), ("cuda:0", 0), ("cuda:1", 1)])
def test_faiss_takes_the_gpu_that_torch_takes(place: str, gpu: int | None) -> None:
    assert gpu_of(torch.device(place)) == gpu


@pytest.mark.parametrize(("name", "asked"), [("cpu", []), ("cuda:1", [1])])
def test_search_runs_where_nola_device_says(monkeypatch: pytest.MonkeyPatch, name: str, asked: list[int]) -> None:
    """FAISS's GPU functions replaced by functions that record the GPU they should use."""
    used: list[int] = []

    def knn_gpu(resources: Any, queries: np.ndarray, gallery: np.ndarray, k: int, *, metric: int, device: int) -> Any:
        used.append(device)
        return neighbors.faiss.knn(queries, gallery, k, metric=metric)

    monkeypatch.setattr(neighbors.faiss, "get_num_gpus", lambda: 2)
    monkeypatch.setattr(neighbors.faiss, "StandardGpuResources", object, raising=False)
    monkeypatch.setattr(neighbors.faiss, "knn_gpu", knn_gpu, raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("NOLA_DEVICE", name)
    rows = unit_rows(10)
    assert search(rows, rows, 1)[1][:, 0].tolist() == list(range(10))
    assert used == asked


def test_search_refuses_what_has_no_neighbours() -> None:
    rows = unit_rows(5)
    for gallery, queries in ((rows, rows[:, :4]), (rows[:0], rows), (rows[0], rows)):
        with pytest.raises(NolaError, match="non-empty N x d gallery and q x d queries, got"):
            search(gallery, queries, 1)
    bad = rows.copy()
    bad[3, 2] = np.nan
    for gallery, queries in ((bad, rows), (rows, bad)):
        with pytest.raises(NolaError, match="got NaN features; run embed again"):
            search(gallery, queries, 1)


def near_duplicates(
    manifest: pd.DataFrame,
    image_ids: list[str],
    features: np.ndarray,
    *,
    neighbors: int,
    similarity: float,
    closeness: float | None,
) -> pd.DataFrame:
    """The exact search over features in two parts."""
    gallery = Gallery([features[:2], features[2:]])
    options: dict[str, Any] = {"neighbors": neighbors, "similarity": similarity, "closeness": closeness}
    table, recall = all_near_duplicates(manifest, image_ids, gallery, **options)
    assert recall is None
    return table


def manifest_of(hashes: list[str], splits: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"image_id": [f"i{n}" for n in range(len(hashes))], "split": splits, "sha256": hashes})


def test_copies_and_near_copies_are_found_across_splits(tmp_path: Path) -> None:
    features = unit_rows(6, 32)
    features[4] = features[0]  # the same file, once in train and once in test
    features[5] = normalized(features[1:2] + 0.01 * unit_rows(1, 32, seed=9))[0]  # nearly the same, likewise
    features[2] = features[3]  # other files with the same features
    manifest = manifest_of(["a", "b", "c", "d", "a", "f"], ["train", "train", "train", "val", "test", "test"])
    ids = manifest["image_id"].tolist()
    table = near_duplicates(manifest.sample(frac=1, random_state=0), ids, features, neighbors=2, similarity=0.98, closeness=None)
    pairs = table[["image_id", "split", "other_id", "other_split", "exact"]].to_numpy().tolist()
    assert pairs == [
        ["i0", "train", "i4", "test", True],
        ["i2", "train", "i3", "val", False],
        ["i1", "train", "i5", "test", False],
    ]
    assert table["similarity"].tolist() == pytest.approx([1, 1, float(features[1] @ features[5])], abs=1e-6)
    write_table(tmp_path / "near.parquet", table, DUPLICATES_SCHEMA)
    assert len(read_table(tmp_path / "near.parquet")) == 3


def test_many_copies_are_each_listed_with_the_first_whatever_the_neighbours() -> None:
    features = np.repeat(unit_rows(1), 9, axis=0)
    table = near_duplicates(
        manifest_of(["a"] * 9, ["train"] * 9), [f"i{n}" for n in range(9)], features, neighbors=1, similarity=0.9, closeness=None
    )
    assert table["image_id"].tolist() == ["i0"] * 8 and table["other_id"].tolist() == [f"i{n}" for n in range(1, 9)]
    assert table["exact"].all() and (table["similarity"] == 1).all()


def test_no_duplicates_is_an_empty_table(tmp_path: Path) -> None:
    table = near_duplicates(
        manifest_of(list("abc"), ["train"] * 3),
        ["i0", "i1", "i2"],
        np.eye(3, dtype=np.float32),
        neighbors=5,
        similarity=0.5,
        closeness=None,
    )
    write_table(tmp_path / "near.parquet", table, DUPLICATES_SCHEMA)
    assert read_table(tmp_path / "near.parquet").empty


def test_where_all_images_look_alike_only_the_unusually_close_are_listed() -> None:
    features = normalized(np.ones((1, 32), dtype=np.float32) + 0.05 * unit_rows(40, 32))  # every cosine is above 0.99
    features[1] = normalized(features[:1] + 0.001 * unit_rows(1, 32, seed=9))[0]
    manifest = manifest_of([f"{n}" for n in range(40)], ["train"] * 40)
    ids = manifest["image_id"].tolist()
    alone = near_duplicates(manifest, ids, features, neighbors=3, similarity=0.98, closeness=None)
    table = near_duplicates(manifest, ids, features, neighbors=3, similarity=0.98, closeness=0.25)
    assert len(alone) > 40
    assert table[["image_id", "other_id"]].to_numpy().tolist() == [["i0", "i1"]]


collections = st.integers(1, 12).flatmap(
    lambda count: st.tuples(st.lists(st.sampled_from("abcdefgh"), min_size=count, max_size=count), st.integers(0, 1000))
)


def clustered(hashes: list[str], seed: int) -> np.ndarray:
    """Three tight clusters in the plane and one row a hash: equal files have equal features."""
    rng = np.random.default_rng(seed)
    angles = {name: rng.integers(3) * 2.0 + rng.normal() * 0.2 for name in "abcdefgh"}
    return normalized(np.array([[np.cos(angles[name]), np.sin(angles[name])] for name in hashes]))


@given(collections, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_near_duplicates_are_all_pairs_once_in_any_order(collection: tuple[list[str], int], random: Random) -> None:
    hashes, seed = collection
    features = clustered(hashes, seed)
    cosines = features.astype(np.float64) @ features.T.astype(np.float64)
    assume((np.abs(cosines - 0.98) > 1e-5).all())
    count = len(hashes)
    expected = {
        frozenset((f"i{one}", f"i{two}"))
        for one in range(count)
        for two in range(one)
        if hashes[one] != hashes[two] and cosines[one, two] >= 0.98
    }
    manifest = manifest_of(hashes, ["train"] * count)
    order = list(range(count))
    random.shuffle(order)
    for rows in (list(range(count)), order):
        ids = [f"i{row}" for row in rows]
        table = near_duplicates(manifest, ids, features[rows], neighbors=count, similarity=0.98, closeness=None)
        assert (table["image_id"] != table["other_id"]).all()
        pairs = [frozenset(pair) for pair in table[["image_id", "other_id"]].to_numpy().tolist()]
        assert len(set(pairs)) == len(pairs)
        exact = table["exact"].to_numpy(dtype=bool)
        assert {pair for pair, same in zip(pairs, exact, strict=True) if not same} == expected
        assert exact.sum() == count - len(set(hashes))
        assert table["similarity"].is_monotonic_decreasing


def test_the_inverted_file_finds_the_pairs_that_exact_search_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    """4,000 images in 40 clusters, a fortieth of them near copies, some files twice; several blocks and lists."""
    monkeypatch.setattr(neighbors, "BLOCK", 1500)
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(40, 96))
    features = normalized(centres[generator.integers(0, 40, 4000)] + 1.2 * generator.normal(size=(4000, 96)))
    features[3900:] = normalized(features[:100] + 0.01 * generator.normal(size=(100, 96)))
    features[3800:3810] = features[200:210]
    hashes = [str(n) for n in range(4000)]
    hashes[3800:3810] = hashes[200:210]
    manifest = manifest_of(hashes, ["train", "test"] * 2000)
    options: dict[str, Any] = {"neighbors": 3, "similarity": 0.98, "closeness": 0.25}
    ids, gallery = manifest["image_id"].tolist(), Gallery([features.astype(np.float16)])
    exact, nothing = all_near_duplicates(manifest, ids, gallery, **options)
    table, recall = all_near_duplicates(manifest, ids, gallery, **options, exact_images=1000)
    assert nothing is None and isinstance(recall, Recall)
    assert len(exact) == 110 and exact["exact"].sum() == 10
    pd.testing.assert_frame_equal(table.drop(columns="similarity"), exact.drop(columns="similarity"), check_like=True)
    assert np.allclose(table["similarity"], exact["similarity"], atol=1e-5)
    assert recall.images == 2000 and 0 < recall.found == recall.pairs <= 100
    assert "(100.0%) that exact search finds for 2,000 sampled images" in str(recall)


def test_recall_says_what_was_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbors, "_approximate_pairs", lambda gallery, files, **options: (np.array([1]), np.array([0.99])))
    features = np.repeat(np.eye(4, dtype=np.float32), 2, axis=0)  # four pairs, of which a poor search finds that of rows 0 and 1
    manifest = manifest_of(list("abcdefgh"), ["train"] * 8)
    table, recall = all_near_duplicates(
        manifest, list(manifest["image_id"]), Gallery([features]), neighbors=1, similarity=0.9, closeness=None, exact_images=0
    )
    assert recall == Recall(8, 4, 1) and str(recall).startswith("approximate search lists 1 of the 4 pairs (25.0%)")
    assert table[["image_id", "other_id"]].to_numpy().tolist() == [["i0", "i1"]]
    assert "finds no pair for 7 sampled images either" in str(Recall(7, 0, 0))
