"""Class proportions from the largest probabilities alone, and which names seem absent."""

from __future__ import annotations

import numpy as np
import torch

from nola_core.algebra import proportions as whole
from nola_core.trust import proportions


def test_with_all_probabilities_it_is_the_em_on_posteriors() -> None:
    p = (3 * torch.randn(200, 5, generator=torch.Generator().manual_seed(0))).softmax(dim=1)
    best, columns = p.topk(5, dim=1)
    found = proportions.estimated(columns.numpy(), best.double().numpy(), 5)
    assert np.allclose(found, whole.estimated(p, pull=0, iterations=100, tolerance=0), atol=1e-4)
    assert np.isclose(found.sum(), 1)


def test_uniform_probabilities_are_no_evidence_of_absence() -> None:
    """The EM alone would call all but one absent: the tiniest difference decides."""
    best, columns = torch.full((3, 7), 1 / 7).add(0.01 * torch.rand(3, 7)).topk(5, dim=1)
    assert not proportions.table(columns.numpy(), best.numpy(), list("abcdefg"))["absent"].any()


def test_no_image_and_sentences() -> None:
    table = proportions.table(np.zeros((0, 5), int), np.zeros((0, 5)), ["a", "b"])
    assert table["proportion"].tolist() == [0.5, 0.5]
    one = table.assign(absent=[False, True])
    assert proportions.sentence(one) == "1 of 2 names seems not to occur in the images: b."
    assert proportions.sentence(table.assign(absent=False)) == ""
    many = table.loc[[0] * 1000].assign(absent=True, **{"class": [str(number) for number in range(1000)]})
    assert proportions.sentence(many).endswith("5, 6, 7 and 992 more.")
