"""The images of a finished data set as the explorer shows them: one array a property, one row an image. No label is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nola_core import files, inputs
from nola_core.errors import NolaError
from nola_core.features import FeatureStore, normalized
from nola_core.lookup import dataset_folder
from nola_core.prediction import Predictions, corrected, matrix
from nola_core.stages.paths import Paths

IMAGES = 20_000
"""Images shown, unless told otherwise; of a larger collection a sample with a fixed seed."""


@dataclass(frozen=True)
class Answers:
    """What one method predicts, for the n images shown.

    Attributes:
        title: the method's name for people.
        classes: int32 [n, t], the most probable classes, best first; t is at most 5.
        probabilities: float32 [n, t].
    """

    title: str
    classes: np.ndarray
    probabilities: np.ndarray


@dataclass(frozen=True)
class Collection:
    """The images shown, n of `whole`, and their properties.

    Attributes:
        ids: object [n], image ids.
        names: class names by class id.
        splits: names of the splits.
        split: uint8 [n], the place of each image's split in `splits`.
        methods: method -> its answers; the final method first.
        score: float32 [n], how little each image fits any name (NaN where it is not known).
        group: uint16 [n], its group of images that fit no name, from 1; or 0.
        groups: rows of unknown_groups.parquet.
        misfit: bool [n], whether it fits no name: its mean probability is nearer to 1 / C than to 1.
        duplicates: near-duplicate pairs with at least one image shown: `image_id, other_id, similarity, exact`.
        role: whose features place the images, `ssl` or `clip`.
        features: float32 [n, d], of unit length.
    """

    dataset: str
    folder: Path
    whole: int
    ids: np.ndarray
    names: list[str]
    splits: list[str]
    split: np.ndarray
    methods: dict[str, Answers]
    score: np.ndarray
    group: np.ndarray
    groups: pd.DataFrame
    misfit: np.ndarray
    duplicates: pd.DataFrame
    role: str
    features: np.ndarray

    def row_of(self, image_ids: pd.Series[str]) -> np.ndarray:
        """The rows of some images, int64; -1 for one that is not shown."""
        return pd.Index(self.ids).get_indexer(pd.Index(image_ids))


def read(root: Path, dataset: str, *, images: int = IMAGES) -> Collection:
    """The images that have features and predictions, at most `images` of them.

    Raises:
        NolaError: the data set is unknown, a stage has not run yet, or its files do not belong together.
    """
    folder = dataset_folder(root, dataset)
    names = [str(name) for name in files.read_table(folder / "classes.parquet").sort_values("class_id")["display_name"]]
    role, stores = _stores(Paths(root, dataset))
    ids = np.concatenate([store.index["image_id"].to_numpy(dtype=object) for _, store in stores])
    split = np.repeat(np.arange(len(stores), dtype=np.uint8), [len(store.index) for _, store in stores])
    rows = np.arange(len(ids))
    if len(ids) > images:
        rows = np.sort(np.random.default_rng(0).choice(len(ids), images, replace=False))
    features = np.concatenate([_rows_of(store, rows, first) for first, store in _starts(stores)])
    whole, ids, split = len(ids), ids[rows], split[rows]
    splits = [name for name, _ in stores]
    return Collection(
        dataset=dataset,
        folder=folder,
        whole=whole,
        ids=ids,
        names=names,
        splits=splits,
        split=split,
        methods=_methods(root, folder, dataset, [ids[split == place] for place in range(len(splits))], splits),
        **_unknown(folder, ids, len(names)),
        duplicates=_duplicates(folder, ids),
        role=role,
        features=features,
    )


def _stores(paths: Paths) -> tuple[str, list[tuple[str, FeatureStore]]]:
    """The SSL features of all splits, or CLIP's where there are none."""
    for role in ("ssl", "clip"):
        if (paths["features"] / role).is_dir() and (splits := paths.splits(role)):
            splits.sort(key=lambda split: split != "train")
            return role, [(split, FeatureStore.open(paths.store(role, split))) for split in splits]
    raise NolaError(f"{paths['features']} has no feature store yet: run the stage embed.")


def _starts(stores: list[tuple[str, FeatureStore]]) -> Iterator[tuple[int, FeatureStore]]:
    """Each store with the number of its first row, counted over all of them."""
    first = 0
    for _, store in stores:
        yield first, store
        first += len(store.index)


def _rows_of(store: FeatureStore, rows: np.ndarray, first: int) -> np.ndarray:
    """Those of `rows` that are in a store, as unit rows; `first` is the number of its first row."""
    mine = rows[(rows >= first) & (rows < first + len(store.index))] - first
    return normalized(store.features[mine])


def _methods(root: Path, folder: Path, dataset: str, ids: list[np.ndarray], splits: list[str]) -> dict[str, Answers]:
    """The answers of all methods that predicted every split, the final one first."""
    table = Predictions.open(folder / "predictions.parquet")
    found = table.keys()
    names = [name for name in dict.fromkeys(method for _, method in found) if all((one, name) in found for one in splits)]
    if not names:
        raise NolaError(f"{folder / 'predictions.parquet'} lacks a split that has features; run the stage predict again.")
    final = inputs.read(root, dataset, "predict").values.get("final")
    names.sort(key=lambda name: name != final)
    titles, given = _titles(folder), table.given()
    answers = {}
    for name in names:
        classes, probabilities = [], []
        for part, asked in zip(splits, ids, strict=True):
            rows = table.read(part, name, ["image_id", "top_classes", "top_probabilities"])
            at = pd.Index(rows["image_id"]).get_indexer(pd.Index(asked))
            if (at < 0).any():
                missing = asked[at < 0][0]
                raise NolaError(f"{name} has not predicted the image '{missing}'; run the stage predict again.")
            best = matrix(rows["top_classes"])[at], matrix(rows["top_probabilities"])[at]
            mine = corrected(asked, *best, given)
            classes.append(mine[0])
            probabilities.append(mine[1])
        answers[name] = Answers(
            titles.get(name, name),
            np.concatenate(classes).astype(np.int32),
            np.concatenate(probabilities).astype(np.float32),
        )
    return answers


def _titles(folder: Path) -> dict[str, str]:
    """The methods' names for people, as the last evaluation recorded them."""
    path = folder / "metrics.json"
    listed = files.read_json(path).get("in_force", {}).get("methods", []) if path.is_file() else []
    return {str(one["name"]): str(one["title"]) for one in listed}


def _unknown(folder: Path, ids: np.ndarray, classes: int) -> dict[str, Any]:
    """`score, group, groups, misfit`; nothing fits no name where the stage predict was of an earlier version."""
    score, group, misfit = np.full(len(ids), np.nan, np.float32), np.zeros(len(ids), np.uint16), np.zeros(len(ids), bool)
    groups = pd.DataFrame({"group": [], "images": [], "class_ids": [], "shares": []})
    if (folder / "unknown.parquet").is_file():
        table = files.read_table(folder / "unknown.parquet", ["image_id", "score", "probability", "group"])
        table = table.set_index("image_id").reindex(ids)
        score = table["score"].to_numpy(np.float32)
        group = table["group"].fillna(0).to_numpy().astype(np.uint16)
        misfit = (table["probability"] < (1 + 1 / classes) / 2).to_numpy()
        groups = files.read_table(folder / "unknown_groups.parquet")
    return {"score": score, "group": group, "groups": groups, "misfit": misfit}


def _duplicates(folder: Path, ids: np.ndarray) -> pd.DataFrame:
    columns = ["image_id", "other_id", "similarity", "exact"]
    path = folder / "near_duplicates.parquet"
    table = files.read_table(path, columns) if path.is_file() else pd.DataFrame({name: [] for name in columns})
    return table[table["image_id"].isin(ids) | table["other_id"].isin(ids)].reset_index(drop=True)
