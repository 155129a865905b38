"""Gaussians against loops, against torch's own densities, and against scikit-learn's linear discriminant analysis."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal
from torch.nn.functional import normalize, one_hot

from nola_core.algebra import blocks, gaussian
from nola_core.algebra.components import Components


def sample(count: int = 90, dim: int = 6, classes: int = 3) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    x = normalize(torch.randn(count, dim, generator=draw) + 2 * torch.eye(classes, dim)[torch.arange(count) % classes], dim=1)
    return x, torch.randn(count, classes, generator=draw).softmax(dim=1)


@pytest.mark.parametrize("kept", [0, 1 << 20])
def test_sums_within_classes_are_those_of_the_loop(monkeypatch: pytest.MonkeyPatch, kept: int) -> None:
    """In several blocks, read anew or kept."""
    monkeypatch.setattr(blocks, "ROWS", 40)
    x, z = sample()
    space = blocks.Blocks(blocks.Space(x.numpy()), kept=kept)
    assert space.large == (kept == 0)
    counts, sums = z.sum(dim=0).double(), space.weighted_sum(z)
    means = gaussian.means(sums, counts, prior=x.mean(dim=0).double(), pseudo_count=2)
    slow_means, covariance = np.zeros((3, 6)), np.zeros((6, 6))
    for c in range(3):
        slow_means[c] = (sum(z[i, c].item() * x[i].numpy() for i in range(90)) + 2 * x.numpy().mean(0)) / (z[:, c].sum() + 2)
        for i in range(90):
            away = x[i].numpy() - slow_means[c]
            covariance += z[i, c].item() * np.outer(away, away) / 90
    assert np.allclose(means, slow_means, atol=1e-6)
    assert np.allclose(gaussian.Moments.of(space).within(sums, counts, means), covariance, atol=1e-6)
    assert np.allclose(gaussian.Moments.of(space, diagonal=True).within(sums, counts, means), np.diag(covariance), atol=1e-6)


def test_a_class_without_images_has_the_priors_mean() -> None:
    prior = torch.tensor([3.0, 4.0]).double()
    means = gaussian.means(torch.zeros(2, 2).double(), torch.zeros(2).double(), prior=prior, pseudo_count=1e-3)
    assert torch.allclose(means, prior.expand(2, 2))


def test_with_labels_the_discriminant_is_scikit_learns() -> None:
    x, _ = sample()
    labels = torch.arange(90) % 3
    z, space = one_hot(labels).float(), blocks.of(x)
    counts, sums = z.sum(dim=0).double(), space.weighted_sum(z)
    means = sums / counts[:, None]
    covariance = gaussian.shrunk(gaussian.Moments.of(space).within(sums, counts, means), 0.1)
    mine = gaussian.discriminant(covariance, means)(x).softmax(dim=1)
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1).fit(x.double().numpy(), labels.numpy())
    assert np.allclose(theirs.covariance_, covariance, atol=1e-6)
    assert np.allclose(mine, theirs.predict_proba(x.double().numpy()), atol=1e-4)  # its log-priors are all equal


def test_discriminants_are_log_densities_up_to_what_classes_share() -> None:
    x, _ = sample()
    draw = torch.Generator().manual_seed(3)
    means = torch.randn(4, 6, generator=draw).double()
    root = torch.randn(6, 6, generator=draw).double()
    covariance = root @ root.T + torch.eye(6).double()
    densities = torch.stack([MultivariateNormal(mean, covariance).log_prob(x.double()) for mean in means], dim=1)
    assert torch.allclose(
        gaussian.discriminant(covariance, means)(x).softmax(dim=1).double(), densities.softmax(dim=1), atol=1e-5
    )
    for variances in (torch.rand(6, generator=draw) + 0.1, torch.rand(4, 6, generator=draw) + 0.1):
        wide = variances.expand(4, 6)
        slow = torch.stack([Normal(m, v.sqrt()).log_prob(x).sum(dim=1) for m, v in zip(means.float(), wide, strict=True)], dim=1)
        mine = gaussian.Diagonal(means.float(), variances).log_density(x)
        assert torch.allclose(mine.softmax(dim=1), slow.softmax(dim=1), atol=1e-4)


def test_a_covariance_of_nothing_can_be_inverted() -> None:
    assert torch.isfinite(torch.linalg.inv(gaussian.shrunk(torch.zeros(4, 4).double(), 0.1))).all()


def test_first_means_are_those_of_the_most_confident_images() -> None:
    x, z = sample()
    slow = [x[sorted(range(90), key=lambda i: -z[i, c])[:5]].mean(dim=0) for c in range(3)]
    assert torch.allclose(gaussian.confident(blocks.of(x), z, 5).float(), normalize(torch.stack(slow), dim=1), atol=1e-6)
    assert gaussian.confident(blocks.of(x[:2]), z[:2], 5).shape == (3, 6)


def test_components_are_those_of_the_singular_values() -> None:
    x, _ = sample()
    components = Components.of(blocks.of(x), 4)
    centred = x - x.mean(dim=0)
    basis = torch.linalg.svd(centred.double(), full_matrices=False).Vh[:4].float()
    assert torch.allclose((components.basis @ basis.T).abs(), torch.eye(4), atol=1e-3), "up to a sign"
    expected = normalize(centred @ basis.T, dim=1)
    assert torch.allclose(components(x) @ components(x).T, expected @ expected.T, atol=1e-3)


@pytest.mark.parametrize(("count", "kept"), [(1, 1), (2, 1), (4, 3), (90, 6)])
def test_components_are_no_more_than_images_span(count: int, kept: int) -> None:
    x, _ = sample()
    components = Components.of(blocks.of(x[:count]), 128)
    assert components.basis.shape == (kept, 6) and torch.isfinite(components(x)).all()
    assert (Components.of(blocks.of(x[:1].repeat(9, 1)), 4)(x) == 0).all(), "equal images span nothing"
