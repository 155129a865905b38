"""The temperature of a CLIP model changes what text methods show, and nothing that anything is computed from."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd

import nola_core
from nola_core.features import FeatureStore
from nola_core.files import read_json, read_table
from nola_core.tensors import read_tensors
from tests.project import change
from tests.stages.children import Stages
from tests.stages.test_methods import entries, folder, run, touched

TEXT = ["zero_shot", "templates", "cde"]


def test_text_methods_show_cooler_probabilities_and_nothing_else_changes(complete: Path, stages: Stages, tmp_path: Path) -> None:
    root = shutil.copytree(complete, tmp_path / "p")
    before = entries(root)
    change(root / "data" / "blobs.yaml", "backbones", "clip", "temperature", value=2.0)
    assert touched(before, entries(root)) == {"predict", "report"}, "no selection, no training; the report shows the backbones"
    change(root / "params.yaml", "final", value="cde")
    run(stages, root, "predict")

    theirs, mine = (read_table(folder(place) / "predictions.parquet") for place in (complete, root))
    text = mine["method"].isin(TEXT)
    pd.testing.assert_frame_equal(mine[~text], theirs[~text])
    assert mine["class_id"].tolist() == theirs["class_id"].tolist()
    assert (mine.loc[text, "probability"] < theirs.loc[text, "probability"]).all()

    cde = mine[(mine["method"] == "cde") & (mine["split"] == "test")]
    tensors = read_tensors(folder(root) / "fitted" / "text" / "cde.safetensors")
    x = FeatureStore.open(folder(root) / "features" / "clip" / "test").rows(cde["image_id"].tolist()).astype(np.float64)
    logits = float(tensors["logit_scale"]) / 2.0 * x @ tensors["weights"].double().numpy().T
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.allclose(cde["probability"], p.max(axis=1), atol=1e-5)

    model = nola_core.load(folder(root) / "model")
    assert read_json(folder(root) / "model" / "model.json")["temperature"] == 2.0
    again = model.predict([root / "photos" / image for image in cde["image_id"]], quiet=True)
    assert np.array_equal(again["probability"], cde["probability"]), "bit for bit"
