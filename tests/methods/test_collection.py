"""Features of images in several spaces, whose stores may hold them in different orders."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from nola_core.algebra import posterior
from nola_core.errors import NolaError
from nola_core.features import FeatureStore, normalized
from nola_core.methods.collection import Collection, Space, answers, pinned, probabilities, spaces
from nola_core.text_classifier import TextClassifier
from tests.methods.made import blobs

IDS = ["a", "b", "c", "d", "e"]


def store(ids: list[str], features: np.ndarray) -> FeatureStore:
    return FeatureStore(path=Path("x"), index=pd.DataFrame({"image_id": ids}), features=features, meta={})


def made() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(5, 4)).astype(np.float16), rng.normal(size=(5, 3)).astype(np.float16)


def normal(rows: np.ndarray) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.from_numpy(rows.astype(np.float32)), dim=-1)


def test_image_i_is_row_i_of_every_space() -> None:
    clip, ssl = made()
    found = spaces({"clip": store(IDS, clip), "ssl": store(["c", "a", "e", "b", "d"], ssl)})
    assert [len(space) for space in found.values()] == [5, 5] and [space.dim for space in found.values()] == [4, 3]
    torch.testing.assert_close(found["clip"].block(1, 4), normal(clip[1:4]))
    torch.testing.assert_close(found["ssl"].block(1, 4), normal(ssl[[3, 0, 4]]))
    torch.testing.assert_close(found["ssl"].rows(np.array([4, 0])), normal(ssl[[2, 1]]))
    torch.testing.assert_close(found["clip"].rows(np.array([4, 0])), normal(clip[[4, 0]]))
    with pytest.raises(NolaError, match="'b'"):
        spaces({"clip": store(IDS, clip), "ssl": store(["c", "a", "e", "x", "d"], ssl)})


def test_positions_are_those_of_the_image_ids() -> None:
    text = TextClassifier(torch.eye(4), 1.0)
    collection = Collection(["x"] * 4, pd.Series(IDS), {}, text, pd.DataFrame())
    assert collection.positions(pd.Series(["e", "b"])).tolist() == [4, 1]


def test_answers_of_a_range_are_the_probabilities_of_its_images() -> None:
    clip, _ = made()
    text = TextClassifier(normal(np.eye(3, 4)), 7.0)
    asked = answers(text, {"clip": Space(clip)})
    everything = probabilities(text, {"clip": normal(clip)})
    torch.testing.assert_close(everything, (7.0 * normal(clip) @ text.weights.T).softmax(dim=-1))
    assert torch.equal(torch.cat([asked(0, 2), asked(2, 5)]), asked(0, 5))
    torch.testing.assert_close(asked(0, 5), everything)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_rows_have_the_bits_of_the_slow_normalisation_and_the_store_is_not_changed(dtype: type) -> None:
    stored = np.random.default_rng(0).normal(size=(70, 33)).astype(dtype)
    stored[3] = 0
    before, space = stored.copy(), Space(stored)
    assert np.array_equal(space.block(0, 70).numpy(), normalized(stored)) and np.array_equal(stored, before)
    assert np.array_equal(space.rows(np.array([9, 3])).numpy(), normalized(stored[[9, 3]]))


def test_what_a_person_gave_is_sure_for_the_text_and_for_a_teacher() -> None:
    some = blobs(30)
    given = {3: 2, 4: 2, 29: 0}
    plain, (_, found) = posterior.of_all(some.collection)[1], posterior.of_all(replace(some.collection, given=given))
    others = [row for row in range(30) if row not in given]
    assert torch.equal(found[others], plain[others])
    sure = torch.eye(4)[list(given.values())]
    torch.testing.assert_close(found.softmax(dim=1)[list(given)], sure)
    asked = answers(some.collection.text, some.collection.spaces)
    for start, stop in ((0, 4), (4, 30)):
        expected = asked(start, stop)
        for row, class_id in given.items():
            if start <= row < stop:
                expected[row - start] = torch.eye(4)[class_id]
        assert torch.equal(pinned(asked, given)(start, stop), expected)


def test_some_images_of_a_space_are_a_space_of_their_own() -> None:
    clip, ssl = made()
    found = spaces({"clip": store(IDS, clip), "ssl": store(["c", "a", "e", "b", "d"], ssl)})
    some = np.array([4, 1, 2])
    for space in found.values():
        assert torch.equal(space.only(some).block(1, 3), space.rows(some[1:]))
