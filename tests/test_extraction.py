"""Extraction on real image files with a tiny ViT, compared with a plain loop; nothing is computed twice."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from nola_core import extraction
from nola_core.backbones.encoder import ImageEncoder
from nola_core.backbones.pairs import SslSpec
from nola_core.backbones.ssl import load_ssl
from nola_core.datasets.opener import image_opener
from nola_core.errors import NolaError
from nola_core.extraction import BATCHES_PER_CHUNK, extract, loaded_batches
from nola_core.features import FeatureStore
from nola_core.files import read_table
from nola_core.schema import Precision
from nola_core.stages.__main__ import main as stage
from tests.collection import write_collection
from tests.tiny import write_photos, write_ssl

Open = Callable[[str], Image.Image]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ssl(tmp_path_factory.mktemp("models") / "ssl")


def encoder_of(model: Path) -> ImageEncoder:
    return load_ssl(SslSpec(model=f"local-dir:{model.name}", checkpoint=None, sha256=None), root=model.parent)


@pytest.fixture(scope="module")
def encoder(model: Path) -> ImageEncoder:
    return encoder_of(model)


def prepared(root: Path) -> pd.DataFrame:
    assert stage(["resolve", "--root", str(root)]) == stage(["prepare", "--dataset", "toy", "--root", str(root)]) == 0
    return read_table(root / "data/toy/manifest.parquet")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project of 30 images in two splits, one of which cannot be read."""
    write_collection(tmp_path, images={"reader": "folder", "holdout": 0.3, "labels": "none"})
    write_photos(tmp_path / "images", count=30)
    (tmp_path / "images" / "bad.png").write_text("no picture")
    prepared(tmp_path)
    return tmp_path


def embed(
    root: Path,
    encoder: ImageEncoder,
    open_image: Open | None = None,
    *,
    out: str = "ssl",
    batch_size: int = 4,
    code: str = "one",
    precision: Precision = "float32",
) -> int:
    return extract(
        encoder,
        read_table(root / "data/toy/manifest.parquet"),
        open_image or image_opener(root, "toy"),
        role="ssl",
        out=root / out,
        cache=root / ".nola",
        device=torch.device("cpu"),
        code=code,
        batch_size=batch_size,
        precision=precision,
    )


def stores(root: Path, out: str = "ssl") -> dict[str, FeatureStore]:
    return {path.name: FeatureStore.open(path) for path in sorted((root / out).iterdir())}


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_stores_equal_the_plain_loop(root: Path, encoder: ImageEncoder) -> None:
    assert embed(root, encoder) == 30
    manifest = read_table(root / "data/toy/manifest.parquet")
    usable = manifest[manifest["ok"]]
    opened = stores(root)
    assert set(opened) == {"train", "test"}
    for split, store in opened.items():
        part = usable[usable["split"] == split]
        assert store.index["image_id"].tolist() == part["image_id"].tolist()
        assert store.index["sha256"].tolist() == part["sha256"].tolist()
        for image, row in zip(part["path"], store.features, strict=True):
            with torch.inference_mode():
                pixels = encoder.preprocess(Image.open(root / "images" / image).convert("RGB"))
                slow = encoder.module(pixels[None])[0].numpy()
            assert np.allclose(row, slow, rtol=2**-10, atol=1e-4)
        assert store.meta.items() >= {"role": "ssl", "dim": 24, "count": len(part), **encoder.meta}.items()


def test_a_second_run_computes_nothing_and_gives_the_same(root: Path, encoder: ImageEncoder) -> None:
    def closed(image_id: str) -> Image.Image:
        raise AssertionError(f"{image_id} was opened")

    embed(root, encoder)
    first = files(root / "ssl")
    assert embed(root, encoder, closed, batch_size=7) == 0
    assert files(root / "ssl") == first
    shutil.rmtree(root / "ssl")
    assert embed(root, encoder, closed) == 0
    assert files(root / "ssl") == first


def test_a_grown_collection_embeds_its_new_images_alone(root: Path, encoder: ImageEncoder) -> None:
    embed(root, encoder)
    before = {split: dict(zip(store.index["image_id"], store.features, strict=True)) for split, store in stores(root).items()}
    for path in write_photos(root / "new", count=20, seed=1).iterdir():
        path.rename(root / "images" / f"new-{path.name}")
    (root / "images" / "copy.png").write_bytes((root / "images" / "003.png").read_bytes())
    prepared(root)
    assert embed(root, encoder) == 20
    after = stores(root)
    assert sum(len(store.index) for store in after.values()) == 51
    for split, rows in before.items():
        for image, row in rows.items():
            assert np.array_equal(after[split].features[after[split].index["image_id"].tolist().index(image)], row)


def test_identical_files_go_through_the_encoder_once(root: Path, encoder: ImageEncoder) -> None:
    for number in range(5):
        (root / "images" / f"copy{number}.png").write_bytes((root / "images" / "003.png").read_bytes())
    prepared(root)
    opened: list[str] = []
    open_image = image_opener(root, "toy")

    def counted(image_id: str) -> Image.Image:
        opened.append(image_id)
        return open_image(image_id)

    assert embed(root, encoder, counted) == 30 == len(opened)
    rows = {
        image: row.tobytes()
        for store in stores(root).values()
        for image, row in zip(store.index["image_id"], store.features, strict=True)
    }
    assert len(rows) == 35 and len({rows[image] for image in rows if image == "003.png" or "copy" in image}) == 1


def test_other_weights_and_other_transforms_have_rows_of_their_own(root: Path, encoder: ImageEncoder, tmp_path: Path) -> None:
    embed(root, encoder)
    other = encoder_of(write_ssl(tmp_path / "models" / "ssl", seed=1))
    assert other.meta["weights_sha256"] != encoder.meta["weights_sha256"]
    assert embed(root, other, out="other") == 30
    assert embed(root, replace(encoder, meta={**encoder.meta, "transform": "another"}), out="third") == 30
    assert embed(root, encoder) == 0


def test_bfloat16_is_close_recorded_and_cached_apart(root: Path, encoder: ImageEncoder) -> None:
    embed(root, encoder)
    assert embed(root, encoder, out="rough", precision="bfloat16") == 30
    assert embed(root, encoder) == 0
    for split, rough in stores(root, "rough").items():
        fine = stores(root)[split]
        assert rough.meta["precision"] == "bfloat16" and "precision" not in fine.meta
        assert not np.array_equal(rough.features, fine.features)
        assert (rough.normalized() * fine.normalized()).sum(axis=1).min() > 0.999


def test_rows_of_other_code_are_not_used(root: Path, encoder: ImageEncoder) -> None:
    assert embed(root, encoder) == 30
    assert embed(root, encoder, out="other", code="two") == 30
    assert embed(root, encoder) == 0
    assert files(root / "other") == files(root / "ssl"), "equal features make equal stores, so nothing behind them reruns"


def test_images_of_a_damaged_chunk_alone_are_embedded_again(
    root: Path, encoder: ImageEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extraction, "BATCHES_PER_CHUNK", 2)  # chunks of eight images
    embed(root, encoder)
    sound = files(root / "ssl")
    chunks = sorted((root / ".nola" / "rows").rglob("*.safetensors"))
    data = bytearray(chunks[1].read_bytes())
    data[-7] ^= 16  # in a row
    chunks[1].write_bytes(data)
    assert embed(root, encoder) == 8
    assert files(root / "ssl") == sound
    assert embed(root, encoder) == 0


class Broken(nn.Module):
    """The encoder with one value of one image replaced."""

    def __init__(self, module: nn.Module, image: Tensor, value: float) -> None:
        super().__init__()
        self.module, self.image, self.value = module, image, value

    def forward(self, images: Tensor) -> Tensor:
        features = self.module(images).clone()
        features[(images == self.image).flatten(1).all(dim=1), 5] = self.value
        return features


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e5])  # 1e5 is beyond float16
def test_features_that_are_no_numbers_name_the_image(root: Path, encoder: ImageEncoder, value: float) -> None:
    image = encoder.preprocess(image_opener(root, "toy")("013.png"))
    broken = replace(encoder, module=Broken(encoder.module, image, value))
    with pytest.raises(NolaError, match=r"embed ssl: local-dir:ssl returns NaN or infinite features .* image '013.png' \(1 in"):
        embed(root, broken)
    assert not (root / "ssl").exists()
    assert embed(root, encoder) == 30


def test_an_image_deleted_after_prepare_is_named_and_nothing_half_is_left(root: Path, encoder: ImageEncoder) -> None:
    (root / "images" / "017.png").unlink()
    with pytest.raises(NolaError, match=r"image '017.png' of .*/images cannot be read \(No such file or directory\); restore it"):
        embed(root, encoder)
    assert not (root / "ssl").exists() and not list(root.glob(".ssl*"))


def test_whatever_a_transform_raises_names_the_image() -> None:
    def preprocess(image: Image.Image) -> Tensor:
        if image.width == 2:
            raise ZeroDivisionError("division by zero")
        return torch.zeros(3, 4, 4)

    batches = loaded_batches([["a", "b"], ["c"]], preprocess, lambda name: Image.new("RGB", (2 if name == "c" else 1, 1)))
    assert next(batches)[1].shape == (2, 3, 4, 4)
    with pytest.raises(NolaError, match=r"image 'c' cannot be loaded \(ZeroDivisionError: division by zero\)"):
        next(batches)


def embed_in_child(root: Path, model: Path, out: str, kill_at: int | None) -> None:
    """Embed in batches of two; with `kill_at`, SIGKILL this process when it opens that image (counted from 0)."""
    torch.set_num_threads(1)
    open_image = image_opener(root, "toy")

    def lethal(image_id: str) -> Image.Image:
        if kill_at is not None and image_id == f"{kill_at:03d}.png":
            os.kill(os.getpid(), signal.SIGKILL)
        return open_image(image_id)

    computed = embed(root, encoder_of(model), lethal, out=out, batch_size=2)
    (root / "computed.json").write_text(json.dumps(computed))


def test_kill_9_in_the_middle_costs_only_what_was_not_cached(tmp_path: Path, model: Path) -> None:
    write_collection(tmp_path, images={"reader": "folder", "holdout": 0.3, "labels": "none"})
    write_photos(tmp_path / "images", count=60)
    prepared(tmp_path)
    children = multiprocessing.get_context("forkserver")
    children.set_forkserver_preload(["nola_core.extraction", "nola_core.datasets"])

    def run(kill_at: int | None, out: str = "ssl") -> int | None:
        child = children.Process(target=embed_in_child, args=(tmp_path, model, out, kill_at))
        child.start()
        child.join(120)
        return child.exitcode

    assert run(None, out="undisturbed") == 0 and json.loads((tmp_path / "computed.json").read_text()) == 60
    shutil.rmtree(tmp_path / ".nola")
    assert run(3) == -signal.SIGKILL
    assert run(40) == -signal.SIGKILL and not (tmp_path / "ssl").exists()
    assert run(None) == 0
    chunk = 2 * BATCHES_PER_CHUNK  # images 0 to 31 were cached when the 40th was read ahead
    assert json.loads((tmp_path / "computed.json").read_text()) == 60 - 2 * chunk
    assert files(tmp_path / "ssl") == files(tmp_path / "undisturbed")
