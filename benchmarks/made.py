"""A synthetic collection of any size without an image tower: features, tables and images for stages that need no images.

Each class has a centre in both feature spaces. Images scatter around it along directions of decreasing variance (the i-th by 1 /
sqrt(i)), as real features do. In CLIP's space the centres are the text embeddings of the classes, computed by a CLIP with random
weights and a real tokenizer, so that `classify` runs unchanged. One image in a hundred is a near copy of another, one in a
thousand is the same file. Every image is a PNG of 2 x 2 pixels in one Parquet table, so `report` can open it.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml
from safetensors.torch import save_file

from nola_core import text_classifier
from nola_core.backbones.clip import load_clip
from nola_core.backbones.pairs import load_pair
from nola_core.datasets.manifest import CLASSES_SCHEMA, LABELS_SCHEMA, MANIFEST_SCHEMA
from nola_core.descriptions.texts.table import SCHEMA as DESCRIPTIONS_SCHEMA
from nola_core.features import INDEX_SCHEMA, normalized
from nola_core.files import table_writer, write_json, write_table

ROOT = Path(__file__).parent.parent
DATASET = "made"
CLIP_DIM, SSL_DIM = 512, 768
HELD_OUT = 0.1
SENTENCES = 10  # per class
ROWS_AT_ONCE = 1 << 16
CLIP_SPREAD, SSL_SPREAD = 0.7, 1.8  # length of an image's deviation from its class centre, which has length 1
PARTS = [
    "ba",
    "de",
    "fi",
    "go",
    "hu",
    "ka",
    "le",
    "mi",
    "no",
    "pu",
    "ra",
    "se",
    "ti",
    "vo",
    "zu",
    "bri",
    "cla",
    "dro",
    "fle",
    "gri",
]
CLIP: dict[str, Any] = {
    "embed_dim": CLIP_DIM,
    "vision_cfg": {"image_size": 16, "layers": 1, "width": 64, "head_width": 32, "patch_size": 8},
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}


def make(root: Path, rows: int, classes: int) -> None:
    """Write a project with the data set `made` as it is after `embed`: `rows` images, a tenth of them held out."""
    names = class_names(classes)
    folder = root / "data" / DATASET
    write_clip(root / "clip")
    write_settings(root, names)
    sentences = write_class_tables(folder, names)
    templates = [f"a photo of a {name}." for name in names]
    pair = load_pair({"clip": {"model": "local-dir:clip"}, "ssl": "demo"})
    clip = load_clip(pair.clip, root=root)
    phi = text_classifier.build(
        clip.encode_texts, [[*mine, one] for mine, one in zip(sentences, templates, strict=True)], names=names
    )
    meta = {"model": "made", "weights": "made", "transform": "none", "versions": {}}
    write_images(
        root,
        rows,
        {"clip": centred(phi.numpy()), "ssl": ssl_centres(classes)},
        {"clip": meta | {"weights_sha256": clip.image.meta["weights_sha256"]}, "ssl": meta | {"weights_sha256": "0" * 64}},
    )


def class_names(count: int) -> list[str]:
    """Distinct names of two invented words."""
    rng = np.random.default_rng(1)
    words = ["".join(rng.choice(PARTS, 3)) for _ in range(4 * count)]
    return list(dict.fromkeys(f"{one} {two}" for one, two in zip(words[::2], words[1::2], strict=True)))[:count]


def centred(phi: np.ndarray) -> np.ndarray:
    """Unit rows along each text embedding's difference from the mean: the random tower maps all texts close together."""
    return normalized(phi - phi.mean(axis=0))


def ssl_centres(count: int) -> np.ndarray:
    """Unit rows with decreasing variance per dimension."""
    return normalized(np.random.default_rng(2).standard_normal((count, SSL_DIM)) / np.sqrt(1 + np.arange(SSL_DIM)))


def write_clip(folder: Path) -> None:
    """A CLIP with random weights in open_clip's folder format."""
    folder.mkdir(parents=True)
    preprocess = {"size": [16, 16], "mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic"}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": CLIP, "preprocess_cfg": preprocess}))
    torch.manual_seed(0)
    state = open_clip.CLIP(**CLIP).state_dict()
    state["logit_scale"] = torch.tensor(100.0).log()  # the value that training reaches
    save_file(state, folder / "open_clip_model.safetensors")


def write_settings(root: Path, names: list[str]) -> None:
    """params.yaml and data/made.yaml."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["datasets"] = [DATASET]
    params["select"]["unpredicted"] = "skip"
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    definition = {
        "source": f"{DATASET}.parquet",
        "images": {"reader": "table", "holdout": HELD_OUT, "labels": "none"},
        "classes": names,
        "templates": ["a photo of a {}."],
        "backbones": {"clip": {"model": "local-dir:clip"}, "ssl": "demo"},
    }
    (root / "data").mkdir()
    (root / "data" / f"{DATASET}.yaml").write_text(yaml.safe_dump(definition))


def write_class_tables(folder: Path, names: list[str]) -> list[list[str]]:
    """classes.parquet, descriptions.parquet and the curve of a tuning; returns the sentences of each class."""
    classes = pd.DataFrame({"class_id": range(len(names)), "name": names, "display_name": names})
    write_table(folder / "classes.parquet", classes, CLASSES_SCHEMA)
    rng = np.random.default_rng(3)
    sentences = [[f"The {name} has a {' '.join(rng.choice(PARTS, 4))} shape." for _ in range(SENTENCES)] for name in names]
    rows = [(c, names[c], "made", text, "made", "") for c, mine in enumerate(sentences) for text in mine]
    write_table(folder / "descriptions.parquet", pd.DataFrame(rows, columns=DESCRIPTIONS_SCHEMA.names), DESCRIPTIONS_SCHEMA)
    curve = {
        "method": "nola",
        "epoch": [1, 2],
        "loss": [2.0, 1.5],
        "teacher_agreement": [0.5, 0.6],
        "learning_rate": 0.004,
        "seconds": 1.0,
    }
    pd.DataFrame(curve).to_csv(folder / "curve.csv", index=False)
    return sentences


def write_images(root: Path, rows: int, centres: dict[str, np.ndarray], meta: dict[str, dict[str, Any]]) -> None:
    """The pictures, manifest.parquet, labels.parquet and the feature stores."""
    rng = np.random.default_rng(0)
    folder = root / "data" / DATASET
    held_out = rng.random(rows) < HELD_OUT
    splits = np.where(held_out, "test", "train")
    stores = {(role, split): Store(folder / "features" / role / split, int((splits == split).sum()), role, meta[role])
              for role in centres for split in ("train", "test")}  # fmt: skip
    pictures = pa.schema([("image", pa.binary())])
    with (
        pq.ParquetWriter(root / f"{DATASET}.parquet", pictures) as write_pictures,
        table_writer(folder / "manifest.parquet", MANIFEST_SCHEMA) as write,
        table_writer(folder / "labels.parquet", LABELS_SCHEMA) as write_labels,
    ):
        for start in range(0, rows, ROWS_AT_ONCE):
            count = min(ROWS_AT_ONCE, rows - start)
            source = np.arange(count)  # the row itself, or the earlier image it is a copy of
            copies = np.flatnonzero(rng.random(count) < 0.011)[1:]
            source[copies] = (rng.random(len(copies)) * copies).astype(int)
            source = source[source]  # a copy of a copy is one of the same original, or of another copy: both are pairs
            exact = (source != np.arange(count)) & (rng.random(count) < 1 / 11)
            classes = rng.integers(0, len(next(iter(centres.values()))), count)[source]
            pngs = [png(start + int(row)) for row in np.where(exact, source, np.arange(count))]
            hashes = [hashlib.sha256(data).hexdigest() for data in pngs]
            split = splits[start : start + count]
            ids = [f"{row:06d}" for row in range(start, start + count)]
            for role, points in centres.items():
                features = scattered(points[classes], source, exact, rng, CLIP_SPREAD if role == "clip" else SSL_SPREAD)
                for name in ("train", "test"):
                    mine = np.flatnonzero(split == name)
                    stores[role, name].append(features[mine], [ids[row] for row in mine], [hashes[row] for row in mine])
            write_pictures.write_table(pa.table({"image": pngs}, schema=pictures), row_group_size=4096)
            write(pa.table({
                "image_id": ids, "path": pa.repeat("", count), "shard": pa.repeat(f"{DATASET}.parquet", count),
                "row": np.arange(start, start + count),
                "split": split, "width": np.full(count, 2), "height": np.full(count, 2), "sha256": hashes, "pixels": hashes,
                "ok": np.ones(count, bool), "reason": [""] * count,
            }))  # fmt: skip
            write_labels(pa.table({"image_id": ids, "class_id": classes}))
    for store in stores.values():
        store.close()


def scattered(points: np.ndarray, source: np.ndarray, exact: np.ndarray, rng: np.random.Generator, spread: float) -> np.ndarray:
    """float16 rows around their centres; copies are close to their source, exact copies equal to it."""
    count, dim = points.shape
    falling = 1 / np.sqrt(1 + np.arange(dim, dtype=np.float32))
    falling *= spread / np.linalg.norm(falling)
    features = normalized(points + falling * rng.standard_normal((count, dim), dtype=np.float32))
    copies = np.flatnonzero((source != np.arange(count)) & ~exact)
    length = rng.uniform(0.02, 0.25, (len(copies), 1)) / np.sqrt(dim)  # cosines from 0.9998 to 0.970
    copied = features[source]
    copied[copies] += length * rng.standard_normal((len(copies), dim), dtype=np.float32)
    return copied.astype(np.float16)


class Store:
    """A feature store in the format of `embed`, written in blocks of rows."""

    def __init__(self, folder: Path, count: int, role: str, meta: dict[str, Any]) -> None:
        folder.mkdir(parents=True)
        dim = CLIP_DIM if role == "clip" else SSL_DIM
        self.folder, self.at = folder, 0
        self.features = np.lib.format.open_memmap(folder / "features.npy", mode="w+", dtype=np.float16, shape=(count, dim))
        self.index: list[pd.DataFrame] = []
        write_json(folder / "meta.json", {"role": role, **meta, "dtype": "float16", "dim": dim, "count": count})

    def append(self, rows: np.ndarray, ids: list[str], hashes: list[str]) -> None:
        self.features[self.at : self.at + len(rows)] = rows
        place = range(self.at, self.at + len(rows))
        self.index.append(pd.DataFrame({"row": place, "image_id": ids, "sha256": hashes}))
        self.at += len(rows)

    def close(self) -> None:
        self.features.flush()
        write_table(self.folder / "index.parquet", pd.concat(self.index, ignore_index=True), INDEX_SCHEMA)


def png(number: int) -> bytes:
    """A PNG of 2 x 2 pixels, different for every number."""
    pixels = number.to_bytes(6, "little")

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 2, 2, 8, 2, 0, 0, 0)
    body = zlib.compress(b"\0" + pixels + b"\0" + pixels[::-1], 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
