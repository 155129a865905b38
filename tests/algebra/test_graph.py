"""Neighbours against all pairs, graphs against dense matrices, propagation against the dense solution."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from nola_core.algebra import blocks, graph
from nola_core.algebra.anchors import Anchors, drawn
from nola_core.algebra.graph import Graph
from nola_core.methods.collection import Space


def rows(count: int, dim: int = 8, seed: int = 0) -> Tensor:
    return normalize(torch.randn(count, dim, generator=torch.Generator().manual_seed(seed)), dim=1)


@pytest.mark.parametrize(("count", "k"), [(60, 5), (4, 9), (2, 1)])
def test_the_nearest_others_by_all_pairs(count: int, k: int) -> None:
    x = rows(count)
    near = graph.nearest(blocks.of(x), k)
    cosines = (x @ x.T).fill_diagonal_(-2)
    best, expected = cosines.topk(min(k, count - 1), dim=1)
    assert torch.equal(near.rows, expected) and torch.allclose(near.cosines, best, atol=1e-5) and near.recall == 1


def test_one_image_has_no_neighbour_and_a_copy_is_one() -> None:
    assert graph.nearest(blocks.of(rows(1)), 3).rows.shape == (1, 0)
    near = graph.nearest(blocks.of(rows(1).repeat(9, 1)), 3)
    assert (near.rows != torch.arange(9)[:, None]).all() and torch.allclose(near.cosines, torch.ones(9, 3))


def test_approximate_search_measures_what_it_finds() -> None:
    draw = torch.Generator().manual_seed(0)
    x = normalize(rows(40, 96)[torch.randint(0, 40, (3000,), generator=draw)] + 0.1 * rows(3000, 96, seed=1), dim=1)
    exact, near = graph.nearest(blocks.of(x), 5), graph.nearest(blocks.of(x), 5, exact_images=1000)
    found = (near.rows[:, :, None] == exact.rows[:, None, :]).any(dim=2).float().mean()
    assert (
        found > 0.8 and near.recall == pytest.approx(float(found), abs=0.05) and str(near).startswith("approximate search finds")
    )
    assert (near.cosines.diff(dim=1) <= 0).all()
    stored = blocks.Blocks(Space((3 * x).half().numpy()), kept=0)  # float16 of any length, as a large collection is read
    large = graph.nearest(stored, 5, exact_images=1000)
    assert torch.allclose(large.cosines[:, 0], near.cosines[:, 0], atol=2e-3) and large.recall == pytest.approx(
        near.recall, abs=0.05
    )
    pairs = (x[:, None] * x[near.rows]).sum(dim=2)
    assert torch.allclose(near.cosines, pairs, atol=1e-5) and (near.rows != torch.arange(3000)[:, None]).all()


def test_a_space_is_searched_once_as_long_as_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[int] = []
    search = graph.index.search
    monkeypatch.setattr(graph.index, "search", lambda gallery, rows, k: searched.append(k) or search(gallery, rows, k))
    x = blocks.of(rows(40))
    few = graph.nearest(x, 3)
    again = graph.nearest(blocks.Blocks(x.space), 5)
    assert searched == [11] and torch.equal(few.rows, again.rows[:, :3]) and again.rows.shape == (40, 5)
    assert graph.nearest(x, 20).rows.shape == (40, 20) and searched == [11, 21]
    other = blocks.of(rows(40, seed=1))
    assert not torch.equal(graph.nearest(other, 3).rows, few.rows) and searched == [11, 21, 11]
    before = len(graph._searched)
    del x, again
    assert len(graph._searched) == before - 2


def random_graph(nodes: int = 12, k: int = 3) -> Graph:
    draw = torch.Generator().manual_seed(1)
    columns = torch.stack([torch.randperm(nodes, generator=draw)[:k] for _ in range(nodes)])
    return Graph.of(columns, torch.rand(nodes, k, generator=draw), width=nodes)


def test_a_graph_is_the_sparse_matrix() -> None:
    directed = random_graph()
    w = torch.zeros(12, 12)
    for row, (columns, weights) in enumerate(zip(directed.columns.view(12, 3), directed.weights.view(12, 3), strict=True)):
        w[row, columns] = weights
    z = torch.rand(12, 5)
    assert torch.equal(directed.dense(), w)
    assert torch.allclose(directed @ z, w @ z, atol=1e-6)
    assert torch.allclose(directed.symmetric("sum").dense(), w + w.T)
    most = directed.symmetric("amax")
    assert torch.allclose(most.dense(), torch.maximum(w, w.T)) and torch.allclose(most @ z, most.dense() @ z, atol=1e-6)
    assert torch.allclose(most.degrees(), most.dense().sum(dim=1))
    root = most.dense().sum(dim=1).rsqrt()
    assert torch.allclose(most.normalized().dense(), root[:, None] * most.dense() * root, atol=1e-6)
    both = graph.mean([most, directed.symmetric("sum")])
    assert torch.allclose(both.dense(), (most.dense() + w + w.T) / 2)


def test_a_node_without_edges_stays_alone() -> None:
    lonely = Graph.of_pairs(torch.tensor([0, 1]), torch.tensor([1, 0]), torch.tensor([2.0, 2.0]), shape=(3, 3))
    assert torch.allclose(lonely.normalized().dense(), torch.tensor([[0.0, 1, 0], [1, 0, 0], [0, 0, 0]]))
    assert torch.equal(graph.propagated(lonely.normalized(), torch.eye(3), alpha=0.5)[2], torch.tensor([0.0, 0, 1]))
    empty = Graph.of(torch.empty(2, 0, dtype=torch.int64), torch.empty(2, 0), width=2)
    assert torch.equal(empty.symmetric("sum").normalized() @ torch.ones(2, 3), torch.zeros(2, 3))


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.9, 0.99])
def test_propagation_is_the_dense_solution(alpha: float) -> None:
    edges = random_graph(60, 4).symmetric("sum").normalized()
    seeds = torch.rand(60, 7, generator=torch.Generator().manual_seed(2))
    seeds[:, 3] = 0
    found = graph.propagated(edges, seeds, alpha=alpha, tolerance=1e-6)
    solved = torch.linalg.solve(torch.eye(60).double() - alpha * edges.dense().double(), seeds.double())
    assert torch.allclose(found.double(), solved, atol=1e-4 * float(solved.abs().max()))
    assert (found[:, 3] == 0).all()


def test_anchors_are_the_nearest_fitted_images() -> None:
    x, z = rows(50), torch.rand(50, 3)
    kept = Anchors.of(blocks.of(x), z, images=drawn(50, 20, seed=0))
    images = drawn(50, 20, seed=0)
    assert len(images.unique()) == 20 and torch.equal(drawn(50, 50, seed=0), torch.arange(50))
    new = rows(6, seed=3)
    cosines, places = kept.nearest(new, 4)
    slow = np.argsort(-(new @ x[images].half().float().T).numpy(), axis=1, kind="stable")[:, :4]
    assert np.array_equal(places.numpy(), slow) and kept.nearest(new, 99)[0].shape == (6, 20)
    expected = sum(cosines[:, j, None] * z[images][places[:, j]] for j in range(4))
    assert torch.allclose(kept.mean(places, cosines), expected, atol=1e-6)
    again = Anchors.restore(kept.tensors("a"), "a")
    assert torch.equal(again.nearest(new, 4)[1], places)


def test_many_anchors_of_a_larger_collection_are_searched_in_fewer_directions() -> None:
    draw = torch.Generator().manual_seed(0)
    falling = torch.arange(1, 161).float().rsqrt()
    x = normalize(falling * (rows(30, 160)[torch.arange(5200) % 30] * 12 + torch.randn(5200, 160, generator=draw)), dim=1)
    images = drawn(5000, 4500, seed=0)
    kept = Anchors.of(blocks.of(x[:5000]), torch.rand(5000, 3, generator=draw), images=images)
    assert kept.directions is not None and kept.directions.shape == (64, 160)
    all_of_them = Anchors.of(blocks.of(x[:5000]), torch.rand(5000, 3), images=torch.arange(5000))
    few = Anchors.of(blocks.of(x[:5000]), torch.rand(5000, 3), images=images[:400])
    assert all_of_them.directions is None and few.directions is None
    new = x[5000:]
    cosines, places = kept.nearest(new, 5)
    exact, expected = Anchors(kept.features, kept.answers).nearest(new, 5)
    found = (places[:, :, None] == expected[:, None]).any(dim=2).float().mean()
    assert found > 0.95 and (cosines.diff(dim=1) <= 0).all() and (cosines <= exact + 1e-5).all()
    again = Anchors.restore(kept.tensors("a"), "a")
    turned = torch.arange(199, -1, -1)
    assert torch.equal(again.nearest(new, 5)[1], places) and torch.equal(again.nearest(new[turned], 5)[0], cosines[turned])
