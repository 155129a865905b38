import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch.nn.functional import normalize

from nola_core.algebra import reduction
from nola_core.algebra.blocks import Blocks
from nola_core.algebra.reduction import Reduced
from nola_core.methods.collection import Space


def space(count: int) -> Space:
    spread = torch.tensor([5.0, 4.0, 3.0, 0.1, 0.1])
    return Space((spread * torch.randn(count, 5, generator=torch.Generator().manual_seed(0))).half().numpy())


def test_it_is_normalised_pca() -> None:
    found = Reduced.of(Blocks(space(200)), 3, seed=0)
    rows = space(200).block(0, 200)
    oracle = normalize(torch.from_numpy(PCA(3).fit_transform(rows.numpy())), dim=1)
    torch.testing.assert_close(found.features.abs(), oracle.abs(), atol=1e-4, rtol=0)
    assert torch.equal(found.components(rows), found.features)


def test_a_large_space_is_sampled_and_all_of_it_is_mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reduction, "SAMPLE", 150)
    backwards = Space(space(200).features[::-1].copy(), np.arange(200)[::-1].copy())
    found, again = (Reduced.of(Blocks(one), 3, seed=1) for one in (space(200), backwards))
    assert found.features.shape == (200, 3)
    assert torch.equal(found.features, again.features)
    whole = Reduced.of(Blocks(space(1000)), 3, seed=1)
    assert (found.components.basis * whole.components.basis).sum(dim=1).abs().min() > 0.9
