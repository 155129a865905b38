"""Spaces that cannot be fitted on are refused in one sentence; a text classifier whose weights cannot be read likewise."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nola_core.algebra import blocks, posterior
from nola_core.algebra.blocks import Blocks, Space
from nola_core.errors import NolaError
from tests.methods.made import blobs


def test_bad_input_is_one_sentence() -> None:
    with pytest.raises(NolaError, match="no image to fit"):
        Blocks(Space(np.empty((0, 4), dtype=np.float16)))
    bad = np.ones((5, 4), dtype=np.float16)
    bad[3, 1] = np.nan
    with pytest.raises(NolaError, match="the ssl features of image 3 are not finite; run embed again"):
        Blocks(Space(bad), name="ssl")
    with pytest.raises(NolaError, match="no features of the space 'dino'; choose from clip, ssl"):
        blocks.chosen(blobs().collection, ["clip", "dino"])


def test_rows_are_read_where_they_are() -> None:
    features = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float16)
    places = np.array([4, 0, 8])
    for kept in (0, 1 << 20):
        space = Blocks(Space(features, places), kept=kept)
        expected = Space(features, places).block(0, 3)
        assert torch.equal(torch.cat([block for _, block in space]), expected)
        assert torch.equal(space.rows(np.array([2, 0])), expected[[2, 0]])
        assert np.allclose(space.array() / np.linalg.norm(space.array(), axis=1, keepdims=True), expected, atol=1e-3)


def test_scores_without_any_mass_take_the_text() -> None:
    text = torch.tensor([[0.2, 0.8], [0.6, 0.4]])
    assert torch.equal(
        posterior.normalized(torch.tensor([[1.0, 3.0], [0.0, 0.0]]), text), torch.tensor([[0.25, 0.75], [0.6, 0.4]])
    )
    with pytest.raises(NolaError, match="needs a text classifier with one embedding a class"):
        posterior.classifier(object())  # type: ignore[arg-type]
