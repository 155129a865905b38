"""Graphs of nearest neighbours: which images are alike, sums over neighbours, and propagation along the edges."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from nola_core import neighbors as index
from nola_core.algebra.blocks import ROWS, Blocks
from nola_core.algebra.rowwise import dots
from nola_core.methods.collection import Space

EXACT_IMAGES = 20_000
"""Up to so many images all are compared with all; beyond, an inverted file is searched and its recall measured."""
PROBES = 32
"""Lists of the inverted file that are searched for each image."""
CANDIDATES = 5
"""So many times the neighbours asked for are taken from it, and ranked by their exact cosines."""
SHARED = 10
"""Neighbours that are searched and remembered at least."""
SAMPLE = 250
"""Images whose neighbours are searched exactly for the recall."""


@dataclass(frozen=True)
class Neighbors:
    """The nearest other images of every image.

    Attributes:
        rows: int64 [N, k]; k is 0 for a single image.
        cosines: float32 [N, k], falling.
        recall: the share of them that exact search finds too, on a sample; 1 where search was exact.
    """

    rows: Tensor
    cosines: Tensor
    recall: float = 1.0

    def __str__(self) -> str:
        return f"approximate search finds {self.recall:.1%} of the nearest neighbours"


_searched: dict[tuple[int, int, int], tuple[weakref.ref[Space], Neighbors]] = {}
"""What was searched in spaces that are still there, by their `id`, k and `exact_images`."""


def nearest(features: Blocks, k: int, *, exact_images: int = EXACT_IMAGES) -> Neighbors:
    """The k other images with the largest cosine, of every image of a space.

    Search is most of what a graph costs, and several methods ask for the neighbours in one space. So `SHARED` are always
    searched, and remembered as long as the space lives; the result is the same whichever method asks first.

    Args:
        k: at most N - 1 are returned.
        exact_images: up to so many images search is exact; where it is not, a line says how much it finds.
    """
    key = (id(features.space), max(k, SHARED), exact_images)
    space, found = _searched.get(key, (None, None))
    if found is None or space is None or space() is not features.space:
        found = _search(features, key[1], exact_images)
        if found.recall < 1:
            print(f"{features.name}: {found}")
        _searched[key] = (weakref.ref(features.space, lambda _: _searched.pop(key, None)), found)
    return Neighbors(found.rows[:, :k].contiguous(), found.cosines[:, :k].contiguous(), found.recall)


def _search(features: Blocks, k: int, exact_images: int) -> Neighbors:
    count = len(features)
    k = min(k, count - 1)
    if count <= exact_images or k < 1:
        return Neighbors(*_exact(features, np.arange(count), k))
    rows = torch.empty(count, k, dtype=torch.int64)
    cosines = torch.empty(count, k)
    table = features.array()
    components, lists = index.inverted_file(index.Gallery([table]), compressed=True)
    lists.nprobe = PROBES
    lengths = _lengths(table) if features.large else torch.ones(count)
    for place, block in features:
        _, found = lists.search(components.apply(block.numpy()), CANDIDATES * k)
        others = torch.from_numpy(found)
        asked = torch.arange(place.start, place.stop)[:, None]
        similar = dots(block, others.clamp_min(0), table) / lengths[others.clamp_min(0)]
        similar[(others == asked) | (others < 0)] = -2
        cosines[place], best = similar.topk(k, dim=1)
        rows[place] = others.gather(1, best)
    missing = cosines < -1.5  # too few candidates: an edge to itself, without weight
    rows = torch.where(missing, torch.arange(count)[:, None], rows)
    sample = np.sort(np.random.default_rng(0).choice(count, min(SAMPLE, count), replace=False))
    exact, _ = _exact(features, sample, k)
    hits = (rows[torch.from_numpy(sample)][:, :, None] == exact[:, None, :]).any(dim=2)
    return Neighbors(rows, cosines.masked_fill_(missing, -1), float(hits.float().mean()))


def _lengths(table: np.ndarray) -> Tensor:
    """The L2 norms of rows that are not of unit length, float32 [N], at least 1e-30."""
    norms = np.empty(len(table), dtype=np.float32)
    for start in range(0, len(table), ROWS):
        norms[start : start + ROWS] = np.linalg.norm(table[start : start + ROWS].astype(np.float32), axis=1)
    return torch.from_numpy(norms).clamp_min_(1e-30)


def _exact(features: Blocks, asked: np.ndarray, k: int) -> tuple[Tensor, Tensor]:
    if k < 1:
        return torch.empty(len(asked), 0, dtype=torch.int64), torch.empty(len(asked), 0)
    gallery = index.Gallery([features.array()]) if features.large else features.array()
    rows, cosines = [], []
    for start in range(0, len(asked), 8192):
        some = asked[start : start + 8192]
        similar, found = index.search(gallery, features.rows(some).numpy(), k + 1)
        itself = found == some[:, None]
        itself[~itself.any(axis=1), -1] = True  # among many copies it may not be in the list: drop the last
        rows.append(found[~itself].reshape(len(some), k))
        cosines.append(similar[~itself].reshape(len(some), k))
    return torch.from_numpy(np.concatenate(rows)), torch.from_numpy(np.concatenate(cosines))


@dataclass(frozen=True)
class Graph:
    """A sparse matrix [N, M] in compressed rows.

    Attributes:
        starts: int64 [N + 1], where each row begins.
        columns: int64 [edges].
        weights: float32 [edges].
        width: M.
    """

    starts: Tensor
    columns: Tensor
    weights: Tensor
    width: int

    @classmethod
    def of(cls, columns: Tensor, weights: Tensor, *, width: int) -> Graph:
        """From the neighbours of every row, int64 [N, k], and the weights of the edges to them, float32 [N, k]."""
        count, k = columns.shape
        return cls(torch.arange(count + 1) * k, columns.reshape(-1).contiguous(), weights.reshape(-1).contiguous(), width)

    @classmethod
    def of_pairs(
        cls, rows: Tensor, columns: Tensor, weights: Tensor, *, shape: tuple[int, int], repeated: Literal["sum", "amax"] = "sum"
    ) -> Graph:
        """From a list of edges in any order; the weights of an edge named several times add up, or the largest counts."""
        keys, places = torch.unique(rows * shape[1] + columns, return_inverse=True)
        joined = torch.zeros(len(keys)).scatter_reduce_(0, places, weights, reduce=repeated, include_self=False)
        counts = torch.bincount(keys // shape[1], minlength=shape[0])
        return cls(torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)]), keys % shape[1], joined, shape[1])

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __matmul__(self, dense: Tensor) -> Tensor:
        """Float32 [N, C] of float32 [M, C]."""
        if not len(self.columns):
            return torch.zeros(len(self), dense.shape[1])
        return embedding_bag(
            self.columns, dense, self.starts, mode="sum", per_sample_weights=self.weights, include_last_offset=True
        )

    def sources(self) -> Tensor:
        """The row of every edge, int64 [edges]."""
        return torch.repeat_interleave(torch.arange(len(self)), self.starts.diff())

    def degrees(self) -> Tensor:
        """The sum of every row, float32 [N]."""
        return torch.zeros(len(self)).index_add_(0, self.sources(), self.weights)

    def dense(self) -> Tensor:
        """Float32 [N, M], for small graphs."""
        out = torch.zeros(len(self), self.width)
        return out.index_put_((self.sources(), self.columns), self.weights, accumulate=True)

    def symmetric(self, repeated: Literal["sum", "amax"]) -> Graph:
        """W + W^T, or max(W, W^T)."""
        rows = self.sources()
        pairs = torch.cat([rows, self.columns]), torch.cat([self.columns, rows])
        return Graph.of_pairs(*pairs, self.weights.repeat(2), shape=(len(self), self.width), repeated=repeated)

    def normalized(self) -> Graph:
        """D^-1/2 W D^-1/2 of a symmetric graph without negative weights; a node without edges keeps none."""
        root = inverse_root(self.degrees())
        return Graph(self.starts, self.columns, self.weights * root[self.sources()] * root[self.columns], self.width)


def inverse_root(degrees: Tensor) -> Tensor:
    """degrees^-1/2, and 0 where a degree is 0."""
    return torch.where(degrees > 0, degrees.clamp_min(torch.finfo(torch.float32).tiny).rsqrt(), 0)


def propagated(graph: Graph, seeds: Tensor, *, alpha: float, tolerance: float = 1e-4, iterations: int = 200) -> Tensor:
    """(I - alpha W)^-1 seeds by conjugate gradient, a column at a time, all columns at once.

    Args:
        graph: symmetric and normalised, so that its eigenvalues lie in [-1, 1].
        seeds: float32 [N, C].
        alpha: in [0, 1).
        tolerance: stop when every column's residual is this small beside its seeds.
        iterations: at most.

    Returns:
        float32 [N, C].
    """
    found = seeds.clone()
    residual = alpha * (graph @ seeds)
    direction = residual.clone()
    tiny = torch.finfo(torch.float32).tiny
    norms = residual.square().sum(dim=0)
    wanted = tolerance**2 * seeds.square().sum(dim=0)
    for _ in range(iterations):
        if bool((norms <= wanted).all()):
            break
        image = direction - alpha * (graph @ direction)
        curvature = (direction * image).sum(dim=0)
        step = torch.where(curvature > tiny, norms / curvature.clamp_min(tiny), 0)
        found.addcmul_(direction, step[None])
        residual.addcmul_(image, -step[None])
        new = residual.square().sum(dim=0)
        direction.mul_(torch.where(norms > tiny, new / norms.clamp_min(tiny), 0)[None]).add_(residual)
        norms = new
    return found


def mean(graphs: Sequence[Graph]) -> Graph:
    """The mean of graphs over the same images."""
    if len(graphs) == 1:
        return graphs[0]
    parts = [torch.cat([getattr(one, name) for one in graphs]) for name in ("columns", "weights")]
    rows, columns, weights = torch.cat([one.sources() for one in graphs]), parts[0], parts[1] / len(graphs)
    return Graph.of_pairs(rows, columns, weights, shape=(len(graphs[0]), graphs[0].width))
