"""A data set that has been run, made by hand: what the explorer reads, without a model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.numpy import save_file

from nola_core.files import PREDICTION_SCHEMA, sha256_file, write_json, write_table
from nola_core.prediction import prediction_table
from nola_core.trust.groups import SCHEMA as GROUPS
from tests.collection import write_collection
from tests.tiny import write_photos

CLASSES = ("ant", "bee", "cat")
DIM = 6


def write_explored(
    root: Path, *, images: int = 30, classes: Sequence[str] = CLASSES, names: Sequence[str] = (), pictures: bool = True
) -> np.ndarray:
    """A project with the data set `toy`; the class that lies nearest to each image, int64 [images].

    Two thirds are of the split train, the rest of test. Image i is near class i % C in both spaces. `evidence`, the final method,
    predicts that class with a confidence that grows with i; `zero_shot` predicts the next class for every fifth image. Images 0
    and 1 are near duplicates, images 3 to 6 are a group that fits no name.

    Args:
        names: image ids of the first images, which are files of these names if `pictures`.
    """
    write_collection(root, dataset="toy", classes=list(classes))
    (root / "dvc.yaml").write_text("stages: {}\n")  # the mark of a project
    folder, count = root / "data" / "toy", len(classes)
    ids = [*names, *(f"{number:03d}.png" for number in range(len(names), images))]
    (root / "images").mkdir()
    if pictures:
        write_photos(root / "images", count=images)
        for number, name in enumerate(names):
            (root / "images" / f"{number:03d}.png").rename(root / "images" / name)
    split = np.where(np.arange(images) < images * 2 // 3, "train", "test")
    files = {"image_id": ids, "path": ids, "shard": "", "row": -1, "split": split, "ok": True, "reason": ""}
    hashes = [sha256_file(root / "images" / name) if pictures else f"{number:064x}" for number, name in enumerate(ids)]
    folder.mkdir(parents=True, exist_ok=True)
    manifest = pd.DataFrame({**files, "sha256": hashes})
    manifest.to_parquet(folder / "manifest.parquet")
    table = pd.DataFrame({"class_id": range(count), "name": classes, "display_name": classes})
    table.to_parquet(folder / "classes.parquet")

    own = np.arange(images) % count
    rng = np.random.default_rng(0)
    centres = np.eye(max(DIM, count))[:count]
    features = (centres[own] + 0.2 * rng.normal(size=(images, centres.shape[1]))).astype(np.float16)
    features[1] = features[0] + np.float16(0.001)
    for part in ("train", "test"):
        rows = np.flatnonzero(split == part)
        for role in ("ssl", "clip"):
            _write_store(folder / "features" / role / part, manifest.iloc[rows], features[rows])

    other = np.where(np.arange(images) % 5 == 0, (own + 1) % count, own)
    confidence = np.linspace(0.4, 0.98, images)
    parts = []
    for method, answer in (("zero_shot", other), ("evidence", own)):
        p = np.full((images, count), 0.0)
        p += ((1 - confidence) / (count - 1))[:, None]
        p[np.arange(images), answer] = confidence
        for part in ("train", "test"):
            rows = np.flatnonzero(split == part)
            chosen = [ids[row] for row in rows]
            parts.append(prediction_table(chosen, torch.from_numpy(p[rows]).float(), split=part, method=method).to_pandas())
    write_table(folder / "predictions.parquet", pd.concat(parts), PREDICTION_SCHEMA)
    write_json(root / "data" / "inputs" / "toy.json", {"predict": {"final": "evidence"}, "texts": {}})

    texts = [(c, f"{kind} {name}") for c, name in enumerate(classes) for kind in ("a photo of a", "never mind the")]
    pd.DataFrame(texts, columns=["class_id", "text"]).to_parquet(folder / "description_quality.parquet")
    rows = np.repeat(centres, 2, axis=0) * np.tile([1, -1], count)[:, None]  # the second text of each class points away from it
    save_file({"features": rows.astype(np.float16)}, folder / "description_features.safetensors")
    group = pd.array([1 if 3 <= number <= 6 else pd.NA for number in range(images)], dtype="Int32")
    unknown = {"image_id": ids, "split": split, "score": np.linspace(0.9, 0.1, images), "class_id": own, "group": group}
    unknown["probability"] = np.where(np.arange(images) < 8, 0.4, 0.9)
    pd.DataFrame(unknown).to_parquet(folder / "unknown.parquet")
    one = {"group": 1, "images": 4, "score": 0.6, "inside": 0.9, "class_ids": [0, 1], "shares": [0.5, 0.5], "image_ids": ids[3:7]}
    write_table(folder / "unknown_groups.parquet", pd.DataFrame([one]), GROUPS)
    pair = {"image_id": ids[0], "split": "train", "other_id": ids[1], "other_split": "train", "similarity": 0.999, "exact": False}
    pd.DataFrame([pair]).to_parquet(folder / "near_duplicates.parquet")
    return own


def _write_store(folder: Path, part: pd.DataFrame, features: np.ndarray) -> None:
    folder.mkdir(parents=True)
    np.save(folder / "features.npy", features)
    index = pd.DataFrame({"row": range(len(part)), "image_id": part["image_id"].tolist(), "sha256": part["sha256"].tolist()})
    index.to_parquet(folder / "index.parquet")
    meta = {"dtype": "float16", "dim": features.shape[1], "count": len(part)}
    (folder / "meta.json").write_text(json.dumps(meta))
