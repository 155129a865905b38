"""What the stage `predict` finds out about a collection without labels: unknown scores, groups without a name, absent names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from nola_core.corrections import NO_CLASS
from nola_core.features import FeatureStore
from nola_core.files import table_writer, write_table
from nola_core.methods.collection import Space, answers, spaces
from nola_core.methods.method import Fitted
from nola_core.neighbors import Gallery
from nola_core.prediction import Predictions, chunks, corrected, matrix
from nola_core.trust import groups, proportions, unknown

SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("split", pa.string()),
        ("score", pa.float32()),
        ("class_id", pa.int32()),
        ("probability", pa.float32()),
        ("group", pa.int32()),
    ]
)
"""Of unknown.parquet."""


@dataclass(frozen=True)
class Answers:
    """The final method's answers for a split, in the order of the feature store.

    Attributes:
        top_classes: int32 [N, t].
        top_probabilities: float32 [N, t].
    """

    image_ids: pd.Series[str]
    top_classes: np.ndarray
    top_probabilities: np.ndarray

    @classmethod
    def read(cls, predictions: Predictions, split: str, method: str, image_ids: pd.Series[str]) -> Answers:
        """From a prediction table, and what people corrected."""
        rows = predictions.read(split, method, ["image_id", "top_classes", "top_probabilities"])
        if not rows["image_id"].equals(image_ids):
            rows = rows.iloc[pd.Index(rows["image_id"]).get_indexer(pd.Index(image_ids))]
        best = matrix(rows["top_classes"]), matrix(rows["top_probabilities"])
        return cls(image_ids, *corrected(image_ids, *best, predictions.given(split)))


def write(
    folder: Path,
    predictions: Predictions,
    stores: Mapping[str, Mapping[str, FeatureStore]],
    *,
    final: str,
    text: Fitted,
    pseudo_labels: pd.DataFrame,
    names: list[str],
) -> None:
    """Write unknown.parquet, unknown_groups.parquet and class_proportions.parquet into `folder`, and print what they say.

    Args:
        predictions: of all splits.
        stores: split -> `clip`, `ssl` -> features.
        final: the method whose predictions are the product.
        text: the text classifier.
        pseudo_labels: `image_id, class_id` of the selected train images.
        names: class names by class id.
    """
    given = {
        split: Answers.read(predictions, split, final, both["clip"].index["image_id"].reset_index(drop=True))
        for split, both in stores.items()
    }
    columns = np.concatenate([one.top_classes for one in given.values()])
    shares = proportions.table(columns, np.concatenate([one.top_probabilities for one in given.values()]), names)
    write_table(folder / "class_proportions.parquet", shares, proportions.SCHEMA)

    scorer = Scorer.fit(stores["train"], pseudo_labels, text=text, classes=len(names))
    found = {split: scorer.score(given[split], spaces(both)) for split, both in stores.items()}
    for split, parts in found.items():
        _sure(parts, given[split].image_ids, predictions.given(split))
    joined = {name: np.concatenate([parts[name] for parts in found.values()]) for name in ("probability", "class_id")}
    ids = pd.concat([one.image_ids for one in given.values()], ignore_index=True)
    gallery = Gallery([rows for both in stores.values() for rows in _ssl(both)])
    group_of, listed = groups.find(1 - joined["probability"], joined["class_id"], ids.tolist(), gallery, classes=len(names))
    write_table(folder / "unknown_groups.parquet", listed, groups.SCHEMA)
    with table_writer(folder / "unknown.parquet", SCHEMA) as out:
        start = 0
        for split, parts in found.items():
            stop = start + len(given[split].image_ids)
            rows = {
                "image_id": pa.array(given[split].image_ids, pa.string()),
                "split": pa.repeat(split, stop - start),
                "score": pa.array(parts["score"], pa.float32()),
                "class_id": pa.array(parts["class_id"], pa.int32()),
                "probability": pa.array(parts["probability"], pa.float32()),
                "group": pa.array(group_of[start:stop], pa.int32(), mask=group_of[start:stop] == 0),
            }
            out(pa.table(rows))
            start = stop
    print(groups.sentence(listed))
    if absent := proportions.sentence(shares):
        print(absent)


def _sure(parts: dict[str, np.ndarray], image_ids: pd.Series[str], told: Mapping[str, int]) -> None:
    """In place: an image that a person gave to a class fits that name for sure."""
    for row, image_id in enumerate(image_ids if told else ()):
        if told.get(image_id, NO_CLASS) != NO_CLASS:
            parts["probability"][row], parts["class_id"][row] = 1, told[image_id]


@dataclass(frozen=True)
class Scorer:
    """The default unknown score, and the name nearest to each image.

    The score is `unknown.from_means` in the SSL space, of the means of the pseudo-labelled images (chosen in
    benchmarks/results/unknown.md). The nearest name is that of the largest mean probability by the final method, the text
    classifier and the probe; `unknown.averaged` is 1 less it.
    """

    text: Fitted
    probe: unknown.Probe | None
    means: torch.Tensor
    classes: int

    @classmethod
    def fit(cls, stores: Mapping[str, FeatureStore], pseudo_labels: pd.DataFrame, *, text: Fitted, classes: int) -> Scorer:
        """From the pseudo-labelled train images.

        Args:
            stores: of the split train.
            pseudo_labels: `image_id, class_id`.
        """
        ids, class_ids = pseudo_labels["image_id"], torch.from_numpy(pseudo_labels["class_id"].to_numpy(dtype="int64", copy=True))
        some = unknown.drawn(len(ids), unknown.PROBE_IMAGES)
        probe = unknown.Probe.fit(stores["clip"].rows(ids.iloc[some]), class_ids[some].numpy(), classes=classes)
        means = unknown.Means(classes, stores["ssl"].features.shape[1])
        for start, stop in chunks(len(ids), stores["ssl"].features.shape[1]):
            rows = torch.from_numpy(stores["ssl"].rows(ids.iloc[start:stop]))
            means.add(rows, class_ids[start:stop, None], torch.ones(len(rows), 1))
        return cls(text, probe, means.result(), classes)

    def score(self, given: Answers, spaces: Mapping[str, Space]) -> dict[str, np.ndarray]:
        """`score`, `class_id` (the nearest name) and its mean `probability` of every image, in chunks."""
        count = len(given.image_ids)
        asked = answers(self.text, spaces)
        found = {"probability": np.zeros(count, np.float32), "class_id": np.zeros(count, np.int32)}
        found["score"] = np.zeros(count, np.float32)
        for start, stop in chunks(count, self.classes):
            rows = slice(start, stop)
            columns, values = (torch.from_numpy(part[rows].copy()) for part in (given.top_classes, given.top_probabilities))
            posteriors = [unknown.spread(columns.long(), values, self.classes), asked(start, stop)]
            if self.probe is not None:
                posteriors.append(self.probe.predict(spaces["clip"].block(start, stop)))
            best = unknown.mean(*posteriors).max(dim=1)
            found["probability"][rows], found["class_id"][rows] = best.values.numpy(), best.indices.numpy()
            found["score"][rows] = unknown.from_means(spaces["ssl"].block(start, stop), self.means).numpy()
        return found


def _ssl(both: Mapping[str, FeatureStore]) -> list[np.ndarray]:
    """The SSL features of a split in the order of its CLIP store."""
    space = spaces(both)["ssl"]
    return [space.features if space.places is None else space.features[space.places]]
