"""Rows whose bits do not depend on where in a batch they stand."""

from __future__ import annotations

import pytest
import torch

from nola_core.algebra.rowwise import packed, product


@pytest.mark.parametrize("dim", [3, 10, 37, 127, 512])
@pytest.mark.parametrize("classes", [2, 7, 100])
def test_a_row_has_the_same_bits_in_every_place(dim: int, classes: int) -> None:
    draw = torch.Generator().manual_seed(0)
    x, w, order = torch.randn(256, dim, generator=draw), torch.randn(classes, dim, generator=draw), torch.randperm(256)
    assert torch.equal(product(x, w)[order], product(x[order], w))
    assert torch.allclose(product(x, w), x @ w.T, atol=1e-4)
    turned = packed({"w": w.T.contiguous().T})["w"]
    assert turned.is_contiguous() and torch.equal(product(x, turned), product(x, w))
