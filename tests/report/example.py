"""A small finished data set, written the way the stages write it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from safetensors.numpy import save_file

from nola_core.config import in_force as of_settings
from nola_core.config import parse
from nola_core.evaluation import evaluate
from nola_core.files import write_json
from nola_core.methods.method import InForce, Listed
from nola_core.prediction import Predictions
from nola_core.trust import groups, proportions

SETTINGS: dict[str, Any] = {
    "preset": "paper",
    "seed": 7,
    "datasets": {"pets": {"source": "photos", "descriptions": None}},
    "describe": {"provider": "llm"},
    "select": {"fraction": 0.2},
    "nola": {"betas": [0.9, 0.999], "epochs": 3},
    "evaluate": {"calibration_bins": 15, "neighbors": 5},
    "report": {"images_per_class": 4},
}
NAMES = ["cat", "dog & <wolf>", "owl"]
NEAREST = Listed("nearest", "Nearest <k>", "vote of the nearest neighbours", "features")
"""A method that is in no module, known by its predictions and its entry in the list alone."""


def in_force_of(*names: str, final: str, teacher: str = "alignment", text_classifier: str = "cde") -> InForce:
    """Methods of the package by name, or NEAREST, as the stages get them."""
    own = [name for name in names if name != NEAREST.name]
    listed = {one.name: one for one in (*of_settings(parse({"methods": own, "final": own[0]})).methods, NEAREST)}
    return InForce(tuple(listed[name] for name in names), text_classifier, teacher, final)


LADDER = in_force_of("zero_shot", "cde", "alignment", "nola", final="nola")


def write_example(
    folder: Path,
    *,
    truth: bool = True,
    student: float = 0.9,
    described: bool = True,
    in_force: InForce = LADDER,
    accuracies: Mapping[str, float] | None = None,
    unnamed: bool = False,
) -> None:
    """Write 60 train and 30 test images of three classes; zero-shot classifies half of them correctly, NoLA `student`.

    Args:
        accuracies: of methods that are not in the ladder, or other ones; 0.6 where none is given.
        unnamed: a group of images fits no name.
    """
    shares = {"zero_shot": 0.5, "cde": 0.6, "alignment": 0.7, "nola": student} | dict(accuracies or {})
    generator = np.random.default_rng(0)
    folder.mkdir(parents=True)
    (folder / "responses").mkdir()
    count = len(NAMES)
    actual = np.arange(90) % count
    ids = [f"pictures/{number:03d}.png" for number in range(90)]
    split = np.where(np.arange(90) < 60, "train", "test")
    manifest = pd.DataFrame({"image_id": ids, "split": split, "ok": True, "reason": ""})
    broken = {
        "image_id": "pictures/broken.png",
        "split": "train",
        "ok": False,
        "reason": "not an image: <b>truncated</b>",
    }
    manifest = pd.concat([manifest, pd.DataFrame([broken])], ignore_index=True)
    classes = pd.DataFrame({"class_id": range(count), "name": NAMES, "display_name": NAMES})
    labels = pd.DataFrame({"image_id": ids, "class_id": actual}).iloc[: 90 if truth else 0]

    parts = {}
    rest = np.array([0.6, 0.4, 0, 0])[: min(count, 5) - 1]
    for method in [*in_force.names, *({in_force.text_classifier} - set(in_force.names))]:
        right = np.arange(90) // 3 % 10 < round(10 * shares.get(method, 0.6))
        answer = np.where(right, actual, (actual + 1) % count)
        top = [[int(c), *[other for other in range(5) if other != c][: min(count, 5) - 1]] for c in answer]
        p = generator.uniform(0.5, 0.9, 90)
        columns = {
            "image_id": ids,
            "split": split,
            "method": method,
            "class_id": answer,
            "probability": p,
            "margin": 0.2,
        }
        parts[method] = pd.DataFrame({**columns, "top_classes": top, "top_probabilities": [[x, *rest * (1 - x)] for x in p]})
    predictions = pd.concat([parts[method] for method in in_force.names], ignore_index=True)

    zero_shot = parts[in_force.text_classifier].query("split == 'train'")
    pseudo = zero_shot.rename(columns={"probability": "confidence"})[["image_id", "class_id", "confidence", "margin"]]
    pseudo["rank"] = pseudo.groupby("class_id")["confidence"].rank(ascending=False, method="first").astype(int)
    pseudo["selected"] = pseudo["rank"] <= 8
    pseudo["why"] = np.where(pseudo["selected"], "selected: among the 8 most confident", "not selected: beyond the first 8")

    score = {
        "neighbors_clip": 0.7,
        "neighbors_ssl": 0.8,
        "answer_nuclear_norm": 0.8,
        "mean_prediction_entropy": 0.9,
        "images": 30,
    }
    fallen = score | {"answer_nuclear_norm": 0.8 if student >= 0.7 else 0.4}
    label_free = {"test": {one.name: fallen if one.kind == "student" else score for one in in_force.methods}}
    write_json(folder / "label_free.json", label_free)
    result = evaluate(
        dataset="pets", in_force=in_force, manifest=manifest, classes=classes, labels=labels,
        predictions=Predictions.of(predictions), pseudo_labels=pseudo, label_free=label_free, ssl_features=None,
        bins=15, neighbors=5,
    )  # fmt: skip
    result.write(folder)
    tables = {
        "manifest": manifest,
        "classes": classes,
        "labels": labels,
        "predictions": predictions,
        "zero_shot": zero_shot,
        "pseudo_labels": pseudo,
    }
    texts = [(c, NAMES[c], "What does it look like?", f"It looks like {NAMES[c]}.", "hand-written", "") for c in range(3)]
    tables["descriptions"] = pd.DataFrame(texts, columns=["class_id", "class", "prompt", "text", "provider", "model"])
    if not described:
        tables["descriptions"] = tables["descriptions"].iloc[:0]
    quality = tables["descriptions"][["class_id", "class", "text"]].assign(
        tokens=9, truncated=False, repeats="", names_own=True, names_others=[[]] * len(tables["descriptions"]), own_cosine=0.8,
        rival="cat", rival_cosine=0.5, margin=[0.3, 0.2, 0.4][: len(tables["descriptions"])], kept=True, why="kept: all are",
    )  # fmt: skip
    quality["own_cosine"] = [0.8, 0.4, 0.8][: len(quality)]
    tables["description_quality"] = quality
    save_file({"features": np.eye(4, dtype=np.float16)[: len(quality)]}, folder / "description_features.safetensors")
    pairs = [(ids[0], "train", ids[70], "test", 0.999, False), (ids[1], "train", ids[2], "train", 1.0, True)]
    names = ["image_id", "split", "other_id", "other_split", "similarity", "exact"]
    tables["near_duplicates"] = pd.DataFrame(pairs, columns=names)
    here = predictions[predictions["method"] == in_force.final]
    tables["unknown"] = here[["image_id", "split", "class_id", "probability"]].assign(score=1 - here["probability"], group=np.nan)
    tables["class_proportions"] = proportions.table(
        np.array(here["top_classes"].tolist()), np.array(here["top_probabilities"].tolist()), NAMES
    )
    tables["unknown_groups"] = groups.SCHEMA.empty_table().to_pandas()
    if unnamed:
        row = {
            "group": 1,
            "images": 12,
            "score": 0.6,
            "inside": 0.9,
            "class_ids": [1, 0],
            "shares": [0.75, 0.25],
            "image_ids": ids[:9],
        }
        tables["unknown_groups"] = pd.DataFrame([row])
    told = {"images": 60, "wins": 0.97, "described": described, "ranks": dict.fromkeys(NAMES, 0.99)}
    write_json(folder / "names.json", told)
    for name, table in tables.items():
        table.to_parquet(folder / f"{name}.parquet")
    students = [one.name for one in in_force.methods if one.kind == "student"]
    curve = {"epoch": [1, 2, 3], "loss": [2.0, 1.0, 0.8], "teacher_agreement": [0.5, 0.8, 0.9]}
    one = pd.DataFrame(curve).assign(learning_rate=0.004, seconds=1.0)
    one.insert(0, "method", "")
    pd.concat([one.iloc[:0], *(one.assign(method=name) for name in students)]).to_csv(folder / "curve.csv", index=False)
    write_json(folder.parent / "inputs" / f"{folder.name}.json", {"predict": {"final": in_force.final}})
    write_store(folder / "features/ssl/train", ids[:60], actual[:60])
    write_store(folder / "features/ssl/test", ids[60:], actual[60:])
    write_store(folder / "features/clip/test", ids[60:], actual[60:])


def write_store(folder: Path, ids: list[str], actual: np.ndarray) -> None:
    """A feature store in which the images of a class lie close together, each at its own angle."""
    folder.mkdir(parents=True)
    features = 3 * np.eye(4)[actual % 4] + 0.01 * np.array([int(i[-7:-4]) for i in ids])[:, None] * np.eye(4)[3]
    np.save(folder / "features.npy", features.astype(np.float16))
    index = pd.DataFrame({"row": np.arange(len(ids)), "image_id": ids, "sha256": "0" * 64})
    index.to_parquet(folder / "index.parquet")
    meta = {"role": "ssl", "model": "vit_tiny", "weights": "demo/ssl.safetensors", "weights_sha256": "ab" * 32}
    meta["transform"] = "resize 32, mean 0.5"
    rest = {"dtype": "float16", "dim": 4, "count": len(ids), "versions": {"timm": "1.0.31"}}
    (folder / "meta.json").write_text(json.dumps(meta | rest))


def image_of(image_id: str) -> Image.Image:
    """A plain picture whose grey is the image's number."""
    number = int(image_id[-7:-4])
    return Image.new("RGB", (20, 10), (number, number, number))
