"""Which images the page shows first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from nola_core.report.gallery import confident, disagreements, doubtful, varied
from nola_core.report.tables import Tables, Top, load
from tests.report.example import write_example


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    """Five images of two cats, an owl, an owl that is called a dog, and a dog without a label."""
    folder = tmp_path_factory.mktemp("gallery") / "pets"
    write_example(folder)
    ids = [f"{letter}.png" for letter in "abcde"]
    nola = Top(
        np.array([[0, 1], [0, 2], [2, 0], [1, 2], [1, 0]]),
        np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4], [0.99, 0.01]]),
    )
    zero_shot = Top(
        np.array([[0, 1], [1, 0], [2, 0], [2, 1], [0, 1]]), np.array([[0.5, 0.3], [0.4, 0.3], [0.6, 0.3], [0.9, 0.1], [0.3, 0.2]])
    )
    answers = pd.DataFrame({"zero_shot": zero_shot.classes[:, 0], "nola": nola.classes[:, 0]}, index=ids)
    truth = pd.Series([0, 0, 2, 2], index=ids[:4])
    return replace(load(folder), answers=answers, tops={"nola": nola, "zero_shot": zero_shot}, truth=truth)


def test_the_most_confident_and_the_most_doubtful_with_what_labels_say(tables: Tables) -> None:
    first = confident(tables, 2)
    assert [(one.image_id, one.title, one.number, one.mark) for one in first] == [
        ("e.png", "dog & <wolf>", "99\u00a0%", ""),
        ("a.png", "cat", "90\u00a0%", "right"),
    ]
    last = doubtful(tables, 2)
    assert [(one.image_id, one.mark) for one in last] == [("d.png", "wrong"), ("c.png", "right")]
    assert last[0].note == "or owl 40\u00a0%; is owl"


def test_among_equally_confident_ones_the_rival_decides(tables: Tables) -> None:
    nola = tables.tops["nola"]
    sure = replace(tables, tops={**tables.tops, "nola": replace(nola, probabilities=np.full_like(nola.probabilities, 0.9999))})
    # Zero-shot's probabilities of what NoLA predicts: a 0.5, b 0.3, c 0.6, d 0.1, e 0.2
    assert [one.image_id[0] for one in doubtful(sure, 5)] == ["d", "e", "b", "a", "c"]
    assert [one.image_id[0] for one in confident(sure, 5)] == ["c", "a", "b", "e", "d"]


def test_disagreements_come_by_how_confident_both_are(tables: Tables) -> None:
    found = disagreements(tables)
    assert found is not None
    assert [one.image_id for one in found.tiles] == ["d.png", "b.png", "e.png"]
    assert found.tiles[1].note == "Zero-shot: dog & <wolf> 40\u00a0%"
    assert found.sentence == (
        "NoLA and Zero-shot predict different classes for 3 of 5 images. "
        "Of the 2 that have a label, NoLA is right about 1 and Zero-shot about 1."
    )


def test_no_class_fills_all_places_while_others_have_images() -> None:
    classes = np.array([0, 0, 0, 0, 1, 0, 1, 2])
    order = np.arange(8)
    assert varied(order, classes, 3) == [0, 4, 7]
    assert varied(order, classes, 6) == [0, 1, 2, 4, 6, 7], "what is left free goes to the first others"
    assert varied(order, classes, 3, least=2) == [0, 1, 4]
    assert varied(order[:2], classes, 5) == [0, 1]
