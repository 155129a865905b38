"""Rows whose bits do not depend on where in a batch they stand; the largest of many columns; products with some rows."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nola_core.algebra.rowwise import column_sums, dots, gram, largest, packed, product


@pytest.mark.parametrize("dim", [3, 10, 37, 127, 512])
@pytest.mark.parametrize("classes", [2, 7, 100])
def test_a_row_has_the_same_bits_in_every_place(dim: int, classes: int) -> None:
    draw = torch.Generator().manual_seed(0)
    x, w, order = torch.randn(256, dim, generator=draw), torch.randn(classes, dim, generator=draw), torch.randperm(256)
    assert torch.equal(product(x, w)[order], product(x[order], w))
    assert torch.allclose(product(x, w), x @ w.T, atol=1e-4)
    turned = packed({"w": w.T.contiguous().T})["w"]
    assert turned.is_contiguous() and torch.equal(product(x, turned), product(x, w))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 400), st.integers(1, 9), st.integers(0, 99), st.booleans())
def test_the_largest_are_those_of_topk(columns: int, k: int, seed: int, ties: bool) -> None:
    scores = torch.randn(7, columns, generator=torch.Generator().manual_seed(seed))
    scores = scores.round() if ties else scores
    k = min(k, columns)
    values, places = largest(scores, k)
    assert torch.equal(values, scores.topk(k, dim=1).values) and torch.equal(scores.gather(1, places), values)
    assert all(len(set(row)) == k for row in places.tolist())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_products_with_some_rows_of_a_table(dtype: torch.dtype) -> None:
    draw = torch.Generator().manual_seed(0)
    table = torch.randn(300, 48, generator=draw).to(dtype)
    x, others, order = torch.randn(130, 48), torch.randint(300, (130, 9), generator=draw), torch.randperm(130)
    found = dots(x, others, table.numpy())
    assert torch.allclose(found, (x[:, None] * table.float()[others]).sum(dim=2), atol=1e-4)
    assert torch.equal(dots(x[order], others[order], table.numpy()), found[order])
    assert torch.allclose(gram(x), x.T @ x, atol=1e-4)


@pytest.mark.parametrize("count", [0, 1, 8192, 8193, 1 << 20])
def test_sums_over_many_rows_keep_their_digits(count: int) -> None:
    """Added up in float32 alone, a million rows are 1 % off, and no iteration that compares such sums with others ends."""
    rows = torch.full((count, 3), 0.1)
    assert torch.allclose(column_sums(torch.ones(count), rows), torch.full((3,), 0.1 * count), rtol=1e-4)
