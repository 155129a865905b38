"""The map: the same places in both pictures, one colour a class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from nola_core.features import FeatureStore
from nola_core.report.feature_map import COLOURS, draw, most_frequent
from nola_core.report.tables import load
from tests.report.example import write_example


def test_two_pictures_with_the_same_places_and_other_colours(tmp_path: Path) -> None:
    write_example(tmp_path / "pets")
    tables = load(tmp_path / "pets")
    found = draw(tables, FeatureStore.open(tmp_path / "pets/features/ssl/test"), tmp_path)
    assert found is not None and found.before is not None
    assert (found.points, found.changed) == (30, 12)
    assert [(one.colour, one.name) for one in found.legend] == list(zip(COLOURS, ["cat", "dog & <wolf>", "owl"], strict=False))
    before, after = (np.asarray(Image.open(file).convert("RGBA")) for file in (found.before, found.after))
    assert (before[..., 3] > 0).mean() > 0.001
    assert ((before[..., 3] > 128) == (after[..., 3] > 128)).all() and (before != after).any()
    assert found.before.stat().st_size < 100_000


def test_the_classes_predicted_most_often_have_a_colour() -> None:
    assert most_frequent(np.array([5, 5, 1, 1, 1, 3]), 2) == [1, 5]
    assert most_frequent(np.array([5]), 2) == [5]
