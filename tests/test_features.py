"""Feature stores open only if their three files match; the row cache returns the rows it was given."""

from __future__ import annotations

import errno
import gc
import json
import multiprocessing
import os
import shutil
import subprocess
import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nola_core import features
from nola_core.errors import NolaError
from nola_core.features import FeatureStore, RowCache, normalized, write_store
from nola_core.files import digest, read_table

META = {"role": "ssl", "model": "m", "weights": "w", "weights_sha256": "0" * 64, "transform": "t"}


def sha(name: object) -> str:
    return digest(str(name))


def random_rows(count: int, dim: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float16)


def store_of(folder: Path, count: int = 6) -> tuple[Path, np.ndarray]:
    """A store of images '0', '1', ... below `folder`, and its rows."""
    rows = random_rows(count)
    cache = RowCache(folder / "rows", 4)
    cache.append([sha(number) for number in range(count)], rows)
    names = [str(number) for number in range(count)]
    write_store(folder / "store", pd.DataFrame({"image_id": names, "sha256": [sha(n) for n in names]}), cache, META)
    return folder / "store", rows


def test_a_store_gives_back_its_rows_by_image(tmp_path: Path) -> None:
    path, rows = store_of(tmp_path)
    store = FeatureStore.open(path)
    assert store.features.dtype == np.float16 and store.features.flags.c_contiguous and isinstance(store.features, np.memmap)
    assert np.array_equal(store.features, rows)
    assert store.index.to_dict("list") == {
        "row": list(range(6)),
        "image_id": list("012345"),
        "sha256": [sha(number) for number in range(6)],
    }
    assert store.meta.items() >= {**META, "dtype": "float16", "dim": 4, "count": 6}.items()
    assert set(store.meta["versions"]) == {"torch", "open_clip_torch", "timm", "pillow"}

    asked = store.rows(["4", "0", "4"])
    assert asked.dtype == np.float32 and np.allclose(np.linalg.norm(asked, axis=1), 1, atol=1e-6)
    expected = rows[[4, 0, 4]].astype(np.float32)
    assert np.allclose(asked, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-6)
    assert np.array_equal(store.normalized()[[4, 0, 4]], asked)
    with pytest.raises(NolaError, match=r"store has no image '7' \(2 of 3 asked for are missing\)"):
        store.rows(["1", "7", "x"])


def test_ids_are_indexed_once_and_blocks_are_read_by_position(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _ = store_of(tmp_path)
    store = FeatureStore.open(path)
    assert np.array_equal(store.block(2, 4), store.rows(["2", "3"])) and np.array_equal(
        store.block(4, 99), store.rows(["4", "5"])
    )
    made: list[int] = []

    def counted(values: Any) -> Any:
        made.append(len(values))
        return pd.Index(values)

    monkeypatch.setattr(features, "pd", SimpleNamespace(Index=counted))
    again = FeatureStore.open(path)
    for number in range(6):
        again.rows([str(number)])
    assert made.count(6) == 1, "once for the store, whatever the number of calls"


@given(st.integers(0, 5), st.integers(1, 5), st.integers(0, 99))
def test_normalised_rows_have_unit_length_and_zero_rows_stay(count: int, dim: int, seed: int) -> None:
    rows = random_rows(count, dim, seed)
    rows[: count // 2] = 0
    lengths = np.linalg.norm(normalized(rows), axis=1)
    assert np.allclose(lengths, (rows != 0).any(axis=1), atol=1e-6)


@pytest.mark.parametrize("size", [0, 10, 100, -2])
def test_a_truncated_array_is_refused(tmp_path: Path, size: int) -> None:
    path, _ = store_of(tmp_path)
    data = (path / "features.npy").read_bytes()
    (path / "features.npy").write_bytes(data[:size])
    with pytest.raises(NolaError, match=r"features.npy cannot be read \(.*\); delete .*/store and run embed again"):
        FeatureStore.open(path)


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    path, rows = store_of(tmp_path)
    index = read_table(path / "index.parquet")
    index.head(5).to_parquet(path / "index.parquet")
    with pytest.raises(NolaError, match=r"float16 \(6, 4\), index.parquet has 5 rows, meta.json says float16 \(6, 4\); delete"):
        FeatureStore.open(path)
    index.to_parquet(path / "index.parquet")
    for other in (rows[:5], rows[:, :3], rows.astype(np.float32)):
        np.save(path / "features.npy", other)
        with pytest.raises(NolaError, match=r"features.npy is .*; delete the folder and run embed again"):
            FeatureStore.open(path)
    np.save(path / "features.npy", rows)
    FeatureStore.open(path)
    (path / "meta.json").write_text(json.dumps(META))
    with pytest.raises(NolaError, match="delete the folder and run embed again"):
        FeatureStore.open(path)


@pytest.mark.parametrize("name", ["meta.json", "index.parquet", "features.npy"])
def test_an_absent_file_is_named(tmp_path: Path, name: str) -> None:
    path, _ = store_of(tmp_path)
    (path / name).unlink()
    with pytest.raises(NolaError, match=name):
        FeatureStore.open(path)


def test_a_row_that_was_never_filled_is_named(tmp_path: Path) -> None:
    cache = RowCache(tmp_path / "rows", 4)
    cache.append([sha("a"), sha("c")], random_rows(2))
    part = pd.DataFrame({"image_id": ["a", "b", "c"], "sha256": [sha("a"), sha("b"), sha("c")]})
    with pytest.raises(NolaError, match=r"1 of 3 images have no features \(first: 'b'\)"):
        write_store(tmp_path / "store", part, cache, META)
    assert not (tmp_path / "store" / "meta.json").exists()


def test_identical_files_share_a_row(tmp_path: Path) -> None:
    cache = RowCache(tmp_path / "rows", 4)
    cache.append([sha("a")], random_rows(1))
    part = pd.DataFrame({"image_id": ["one", "two"], "sha256": [sha("a")] * 2})
    write_store(tmp_path / "store", part, cache, META)
    features = FeatureStore.open(tmp_path / "store").features
    assert np.array_equal(features[0], features[1])


@given(st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=6, unique=True), max_size=5), st.lists(st.integers(0, 30)))
@settings(max_examples=30, deadline=None)
def test_the_cache_gives_back_every_row_and_keeps_it(chunks: list[list[int]], asked: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        cache = RowCache(Path(folder) / "rows", 4)
        known: set[int] = set()
        for chunk in chunks:
            cache.append([sha(number) for number in chunk], np.full((len(chunk), 4), np.array(chunk)[:, None], np.float16))
            known |= set(chunk)
        for view in (cache, RowCache(Path(folder) / "rows", 4)):
            found = view.contains([sha(number) for number in range(31)])
            assert found.tolist() == [number in known for number in range(31)]
            assert read(view, asked) == {place: [number] * 4 for place, number in enumerate(asked) if number in known}


def read(cache: RowCache, asked: list[int]) -> dict[int, list[float]]:
    """Position in `asked` -> row, for the images in the cache."""
    parts = list(cache.read([sha(number) for number in asked]))
    places = [place for positions, _ in parts for place in positions.tolist()]
    assert len(set(places)) == len(places)
    return dict(zip(places, [row for _, rows in parts for row in rows.tolist()], strict=True))


def two_chunks(folder: Path) -> tuple[Path, dict[int, list[float]]]:
    """A cache of images 0, 1 and 2, 3; the file of the first two, and all rows."""
    cache, rows = RowCache(folder, 4), random_rows(4)
    for start in (0, 2):
        cache.append([sha(start), sha(start + 1)], rows[start : start + 2])
    return min(folder.iterdir()), dict(enumerate(rows.tolist()))


@pytest.mark.parametrize("size", [0, 5, 100, -1])
def test_a_cut_chunk_is_dropped_with_one_line_and_the_others_stay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], size: int
) -> None:
    chunk, rows = two_chunks(tmp_path)
    chunk.write_bytes(chunk.read_bytes()[:size])
    cache = RowCache(tmp_path, 4)
    assert read(cache, [0, 1, 2, 3]) == {2: rows[2], 3: rows[3]} and not chunk.exists()
    assert capsys.readouterr().err == f"{chunk} is damaged: NoLA deletes it and embeds its images again\n"
    cache.append([sha(0), sha(1)], np.array([rows[0], rows[1]]))
    assert read(RowCache(tmp_path, 4), [0, 1, 2, 3]) == rows


def test_no_flipped_bit_becomes_a_feature(tmp_path: Path) -> None:
    chunk, rows = two_chunks(tmp_path)
    sound = chunk.read_bytes()
    draw = np.random.default_rng(0)
    for place in range(len(sound)):
        damaged = bytearray(sound)
        damaged[place] ^= 1 << int(draw.integers(8))
        chunk.write_bytes(damaged)
        assert read(RowCache(tmp_path, 4), [0, 1, 2, 3]) == {2: rows[2], 3: rows[3]}, place


def test_a_chunk_damaged_while_it_is_in_use_fills_no_row(tmp_path: Path) -> None:
    chunk, rows = two_chunks(tmp_path)
    cache = RowCache(tmp_path, 4)
    data = bytearray(chunk.read_bytes())
    data[-1] ^= 1
    chunk.write_bytes(data)
    assert read(cache, [0, 1, 2, 3]) == {2: rows[2], 3: rows[3]}
    part = pd.DataFrame({"image_id": ["a"], "sha256": [sha(0)]})
    with pytest.raises(NolaError, match=r"1 of 1 images have no features \(first: 'a'\); run embed again"):
        write_store(tmp_path / "store", part, cache, META)


def test_a_cached_row_costs_little_memory(tmp_path: Path) -> None:
    """1.28 million rows (ImageNet) must take tens of megabytes, not hundreds as in a dict."""
    cache, count = RowCache(tmp_path, 1), 4096
    for chunk in range(8):
        cache.append([sha(f"{chunk}-{number}") for number in range(count)], np.zeros((count, 1), np.float16))
    tracemalloc.start()
    try:
        opened = RowCache(tmp_path, 1)
        assert opened.contains([sha("7-0")]).all()
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 64 * 8 * count


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KB."""
    if shutil.which("mount") is None:
        pytest.skip("there is no `mount` to make a small file system with")
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"no file system can be mounted here ({made.stderr.strip()})")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_an_error_and_no_crash(tmp_path: Path, small_disk: Path) -> None:
    """In a child process, because a memory map of a sparse file would end it with SIGBUS."""

    def write() -> None:
        names = [str(number) for number in range(1000)]
        cache = RowCache(tmp_path / "rows", 100)
        cache.append([sha(name) for name in names], random_rows(1000, 100))
        try:
            write_store(small_disk / "store", pd.DataFrame({"image_id": names, "sha256": map(sha, names)}), cache, META)
        except OSError as error:
            os._exit(error.errno)

    child = multiprocessing.get_context("fork").Process(target=write)
    child.start()
    child.join()
    assert child.exitcode == errno.ENOSPC
