"""What is said of each class, and which classes are told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nola_core.features import FeatureStore, normalized
from nola_core.files import read_table
from nola_core.report.class_means import class_means, typical
from nola_core.report.class_story import Row, attention, confusions, measured, rows, stories
from nola_core.report.tables import load
from tests.report.example import write_example


def test_likely_confusions_are_mean_probabilities_over_the_images_predicted() -> None:
    classes = np.array([[0, 1, 2], [0, 2, 1], [2, 0, 1]])
    probabilities = np.array([[0.6, 0.4, 0.0], [0.5, 0.3, 0.2], [0.999, 0.001, 0.0]])
    found = confusions(classes, probabilities, 4)
    assert [[other for other, _ in one] for one in found] == [[1, 2], [], [], []]
    assert [value for _, value in found[0]] == pytest.approx([0.3, 0.15])


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(2, 6), st.integers(0, 2**31))
def test_confusions_are_those_of_a_plain_loop(images: int, count: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    p = draw.dirichlet(np.full(count, 0.5), images)
    classes = np.argsort(-p, axis=1)
    probabilities = np.take_along_axis(p, classes, axis=1)
    found = confusions(classes, probabilities, count, most=count)
    for own in range(count):
        mine = p[classes[:, 0] == own]
        means = mine.mean(axis=0) if len(mine) else np.zeros(count)
        expected = {other: means[other] for other in range(count) if other != own and means[other] >= 0.005}
        assert dict(found[own]) == pytest.approx(expected)


def row(class_id: int, *, predicted: int = 9, accuracy: float | None = None, confidence: float | None = 0.9) -> Row:
    return Row(class_id, str(class_id), predicted, 9, 0.1, 0.1, confidence, [], 5, accuracy, None, 1, None, False)


def test_of_many_classes_those_that_deserve_attention_are_told() -> None:
    plain = [row(class_id) for class_id in range(50)]
    plain[7] = row(7, predicted=0, confidence=None)
    plain[3], plain[4] = row(3, accuracy=0.2), row(4, accuracy=0.1)
    plain[9] = row(9, confidence=0.4)
    told = dict(attention(plain, most=5))
    assert len(told) == 5
    assert told[7] == "no image is predicted to be of it"
    assert told[3] == told[4] == "among the lowest accuracies"
    assert told[9] == "among the least confident on average"
    assert attention(plain[:5], most=5) == [(class_id, "") for class_id in range(5)], "a short list is told as a whole"


def test_labels_tell_both_kinds_of_errors() -> None:
    confusion = pd.DataFrame({"actual": ["a", "a", "a", "b", "c"], "predicted": ["a", "b", "b", "a", "c"]})
    assert measured(confusion, "a") == (
        "Right: 1 of 3 labelled images; the others are predicted as b (2). Predicted as it, but of another class: b (1)."
    )
    assert measured(confusion, "c") == "Right: 1 of 1 labelled images."
    assert measured(confusion.iloc[:0], "a") == ""


def test_a_class_that_nothing_is_predicted_to_be_has_a_row_and_a_story_without_pictures(tmp_path: Path) -> None:
    write_example(tmp_path / "pets")
    tables = load(tmp_path / "pets")
    top = replace(tables.top, classes=np.where(tables.top.classes == 2, 0, tables.top.classes))
    tables = replace(
        tables, answers=tables.answers.replace({"nola": {2: 0}}).astype("int32"), tops={**tables.tops, tables.final: top}
    )
    found = rows(tables, read_table(tmp_path / "pets/class_proportions.parquet"))
    assert (found[2].predicted, found[2].confidence, found[2].likely) == (0, None, [])
    told = stories(tables, tmp_path / "pets", found, images=4)
    assert [len(one.tiles) for one in told] == [4, 4, 0]
    assert told[2].text is None and told[0].text is not None and told[0].text[0] == "It looks like cat."


def test_typical_images_are_the_nearest_to_the_class_mean(tmp_path: Path) -> None:
    write_example(tmp_path / "pets")
    tables = load(tmp_path / "pets")
    store = FeatureStore.open(tmp_path / "pets/features/ssl/test")
    answers = tables.answers["nola"].sample(frac=1, random_state=0)  # in another order than the store
    means = class_means(store, answers, [2, 0])
    found = typical(store, answers, means, 3)
    unit = normalized(store.features).astype(np.float64)
    given_class = answers.reindex(store.index["image_id"]).to_numpy()
    assert means.average == pytest.approx(unit.mean(axis=0), abs=1e-5)
    for slot, class_id in enumerate([2, 0]):
        mine = np.flatnonzero(given_class == class_id)
        mean = unit[mine].mean(axis=0)
        assert means.means[slot] == pytest.approx(mean, abs=1e-5)
        cosines = unit[mine] @ mean / np.linalg.norm(mean)
        assert cosines[[list(store.index["image_id"].iloc[mine]).index(one) for one in found[slot]]] == pytest.approx(
            np.sort(cosines)[::-1][:3], abs=1e-6
        )
