"""What the explorer says about one image: answers, similar images, near duplicates, and descriptions for and against."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from safetensors import SafetensorError
from safetensors.numpy import load_file

from nola_core import files
from nola_core.errors import NolaError
from nola_core.explore.collection import Collection
from nola_core.features import FeatureStore, normalized
from nola_core.neighbors import search

SIMILAR = 12
"""Images most similar to one."""
FOR, AGAINST = 3, 2
"""Descriptions quoted, at most."""
AVERAGED = 2_000
"""Images whose mean is the average image, at most."""
LISTED = 20
"""Near duplicates of one image, at most."""


class Details:
    """Looks up one image after the other."""

    def __init__(self, collection: Collection) -> None:
        self.collection = collection

    def of(self, row: int) -> dict[str, Any]:
        """All about the image in a row: `id, split, score, group, answers, similar, duplicates, for, against, rival`.

        `answers` has method -> the most probable classes with their probabilities. A description's value is the image's cosine to
        it minus that of the average image of the collection, in CLIP's space before tuning: positive values speak for its class.
        `for` and `against` are descriptions of the class that the final method predicts, `rival` of its second class.

        Raises:
            NolaError: a file of the data set is damaged.
        """
        shown = self.collection
        first = next(iter(shown.methods.values()))
        score = float(shown.score[row])
        return {
            "row": row,
            "id": str(shown.ids[row]),
            "split": shown.splits[shown.split[row]],
            "score": None if np.isnan(score) else score,
            "group": int(shown.group[row]),
            "answers": {
                name: [[int(c), float(p)] for c, p in zip(one.classes[row], one.probabilities[row], strict=True)]
                for name, one in shown.methods.items()
            },
            "similar": self._similar(row),
            "duplicates": self._duplicates(row),
            **self._descriptions(row, first.classes[row]),
        }

    def _similar(self, row: int) -> list[list[float]]:
        features = self.collection.features
        cosines, rows = search(features, features[row : row + 1], min(SIMILAR + 1, len(features)))
        return [[int(one), float(value)] for one, value in zip(rows[0], cosines[0], strict=True) if one != row][:SIMILAR]

    def _duplicates(self, row: int) -> list[dict[str, Any]]:
        """Near duplicates; `row` is -1 for those that are not shown."""
        shown = self.collection
        table, own = shown.duplicates, str(shown.ids[row])
        table = table[(table["image_id"] == own) | (table["other_id"] == own)].head(LISTED)
        others = table["other_id"].where(table["image_id"] == own, table["image_id"])
        return [
            {"row": int(one), "id": str(other), "similarity": float(similarity), "exact": bool(exact)}
            for one, other, similarity, exact in zip(
                shown.row_of(others), others, table["similarity"], table["exact"], strict=True
            )
        ]

    def _descriptions(self, row: int, classes: Sequence[int]) -> dict[str, Any]:
        if not len(self._described):
            return {"for": [], "against": [], "rival": []}
        store = self._clip[self.collection.splits[self.collection.split[row]]]
        feature = store.rows([str(self.collection.ids[row])])[0] - self._average
        own = self._nearest(feature, int(classes[0]))
        speaks_for = [one for one in own if one[1] > 0][:FOR]
        against = [one for one in reversed(own) if one[1] <= 0][:AGAINST]
        rival = self._nearest(feature, int(classes[1]))[:AGAINST] if len(classes) > 1 else []
        return {"for": speaks_for, "against": against, "rival": rival}

    def _nearest(self, feature: np.ndarray, class_id: int) -> list[list[Any]]:
        """The descriptions of a class with their values, highest first."""
        mine = np.flatnonzero(self._described["class_id"] == class_id)
        values = self._texts[mine] @ feature
        order = np.argsort(-values, kind="stable")
        return [[str(self._described["text"].iloc[mine[one]]), float(values[one])] for one in order]

    @cached_property
    def _described(self) -> pd.DataFrame:
        """`class_id, text`; empty without descriptions or CLIP features."""
        folder = self.collection.folder
        needed = [folder / "description_features.safetensors", *(self._store(split) for split in self.collection.splits)]
        path = folder / "description_quality.parquet"
        if not path.is_file() or not all(one.exists() for one in needed):
            return pd.DataFrame({"class_id": [], "text": []})
        return files.read_table(path, ["class_id", "text"])

    @cached_property
    def _texts(self) -> np.ndarray:
        """Unit rows, float32 [T, d], one a description."""
        path = self.collection.folder / "description_features.safetensors"
        try:
            found = normalized(load_file(path)["features"])
        except (SafetensorError, KeyError, OSError) as error:
            raise NolaError(f"{path} cannot be read ({error}); delete it and run the stage classify again.") from None
        if len(found) != len(self._described):
            raise NolaError(f"{path} does not belong to description_quality.parquet; run the stage classify again.")
        return found

    @cached_property
    def _clip(self) -> dict[str, FeatureStore]:
        return {split: FeatureStore.open(self._store(split)) for split in self.collection.splits}

    @cached_property
    def _average(self) -> np.ndarray:
        """The mean CLIP feature of some images, float32 [d]."""
        ids, split = self.collection.ids, self.collection.split
        some = np.random.default_rng(0).permutation(len(ids))[:AVERAGED]
        rows = [store.rows(list(ids[some[split[some] == place]])) for place, store in enumerate(self._clip.values())]
        return np.asarray(np.concatenate(rows).mean(axis=0))

    def _store(self, split: str) -> Any:
        return self.collection.folder / "features" / "clip" / split
