"""A made collection in which some classes have no name, as the stages leave it for `predict`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn.functional import normalize

from nola_core.features import INDEX_SCHEMA, FeatureStore
from nola_core.files import write_json, write_table
from nola_core.prediction import Predictions, prediction_table
from nola_core.text_classifier import TextClassifier

SCALE, DIM = 10.0, 16


@dataclass(frozen=True)
class Made:
    """`folder` holds what `findings.write` wrote, `labels` are the true classes by image id."""

    folder: Path
    names: list[str]
    labels: pd.Series[int]

    def table(self, name: str) -> pd.DataFrame:
        return pd.read_parquet(self.folder / f"{name}.parquet")


def make(folder: Path, *, classes: int, named: Sequence[int], images: int = 120, occurring: Sequence[int] | None = None) -> Made:
    """Blobs around directions at right angles in both spaces; the text classifier knows those of `named`, and predicts.

    Args:
        occurring: the classes that have images; all if None.
    """
    from nola_core.trust import findings

    rng = np.random.default_rng(0)
    present = np.array(range(classes) if occurring is None else occurring)
    labels = present[np.arange(images) % len(present)]
    centres = np.linalg.qr(rng.standard_normal((DIM, DIM)))[0]
    ids = np.array([f"{number:03d}.png" for number in range(images)])
    parts = {"test": np.arange(images) % 4 == 3, "train": np.arange(images) % 4 != 3}
    stores: dict[str, dict[str, FeatureStore]] = {split: {} for split in parts}
    for role in ("clip", "ssl"):
        features = centres[labels] + 0.05 * rng.standard_normal((images, DIM))
        for split, mine in parts.items():
            stores[split][role] = _store(folder / "features" / role / split, ids[mine], features[mine])
    names = [f"class {number}" for number in named]
    text = TextClassifier(normalize(torch.from_numpy(centres[list(named)]).float(), dim=1), SCALE)
    answers = {split: text.predict({"clip": torch.from_numpy(both["clip"].normalized())}) for split, both in stores.items()}
    tables = [
        prediction_table(ids[parts[split]].tolist(), p, split=split, method="zero_shot").to_pandas()
        for split, p in answers.items()
    ]
    train = answers["train"].max(dim=1)
    sure = train.values.numpy() > 0.5
    pseudo = pd.DataFrame({"image_id": ids[parts["train"]][sure], "class_id": train.indices.numpy()[sure]})
    findings.write(
        folder, Predictions.of(pd.concat(tables)), stores, final="zero_shot", text=text, pseudo_labels=pseudo, names=names
    )
    return Made(folder, names, pd.Series(labels, index=ids))


def _store(folder: Path, ids: np.ndarray, features: np.ndarray) -> FeatureStore:
    folder.mkdir(parents=True)
    np.save(folder / "features.npy", features.astype(np.float16))
    index = pd.DataFrame({"row": range(len(ids)), "image_id": ids, "sha256": "0"})
    write_table(folder / "index.parquet", index, INDEX_SCHEMA)
    write_json(folder / "meta.json", {"count": len(ids), "dim": features.shape[1]})
    return FeatureStore.open(folder)
