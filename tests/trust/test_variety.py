"""The accumulator beside the plain formulas on the whole matrix, and the meaning of its scores."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nola_core.errors import NolaError
from nola_core.trust.variety import Variety


def scores(probabilities: torch.Tensor, batch: int = 7) -> dict[str, float | int]:
    accumulator = Variety()
    for start in range(0, len(probabilities), batch):
        accumulator.add(probabilities[start : start + batch])
    return accumulator.result()


def random_probabilities(seed: int, images: int, classes: int, sharpness: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (sharpness * torch.randn(images, classes, generator=generator, dtype=torch.float64)).softmax(dim=1)


matrices = st.builds(
    random_probabilities,
    seed=st.integers(0, 10_000),
    images=st.integers(1, 40),
    classes=st.integers(1, 12),
    sharpness=st.floats(0, 20),
)


@given(matrices)
@settings(max_examples=60, deadline=None)
def test_scores_equal_the_slow_formulas(p: torch.Tensor) -> None:
    images, classes = p.shape
    result = scores(p)
    hard = torch.nn.functional.one_hot(p.argmax(dim=1), classes).double()
    nuclear = torch.linalg.matrix_norm(hard, ord="nuc").item() / math.sqrt(images * min(images, classes))
    assert result["answer_nuclear_norm"] == pytest.approx(nuclear, abs=1e-9)
    if classes > 1:
        mean = p.mean(dim=0).tolist()
        entropy = -sum(value * math.log(value) for value in mean if value > 0) / math.log(classes)
        assert result["mean_prediction_entropy"] == pytest.approx(entropy, abs=1e-9)
    assert result["images"] == images


@given(matrices, st.integers(0, 10_000), st.integers(1, 50))
@settings(max_examples=40, deadline=None)
def test_scores_ignore_order_batches_and_the_naming_of_classes(p: torch.Tensor, seed: int, batch: int) -> None:
    best = p.topk(min(2, p.shape[1])).values
    assume(((best[:, 0] - best[:, -1]) > 1e-9).all() or p.shape[1] == 1)  # which of two equal classes is predicted, order decides
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(p.shape[0], generator=generator)
    columns = torch.randperm(p.shape[1], generator=generator)
    assert scores(p[rows][:, columns], batch) == pytest.approx(scores(p), abs=1e-6)


@given(matrices)
@settings(max_examples=60, deadline=None)
def test_scores_stay_in_their_ranges(p: torch.Tensor) -> None:
    result = scores(p)
    assert 1 / math.sqrt(min(p.shape)) - 1e-9 <= result["answer_nuclear_norm"] <= 1
    assert 0 <= result["mean_prediction_entropy"] <= 1


@pytest.mark.parametrize("classes", [2, 5, 10])
def test_balanced_is_most_varied_and_a_single_class_least(classes: int) -> None:
    balanced = torch.eye(classes).repeat(3, 1)
    assert scores(balanced)["answer_nuclear_norm"] == pytest.approx(1)
    assert scores(balanced)["mean_prediction_entropy"] == pytest.approx(1)

    collapsed = torch.eye(classes)[:1].repeat(3 * classes, 1)
    assert scores(collapsed)["answer_nuclear_norm"] == pytest.approx(1 / math.sqrt(classes))
    assert scores(collapsed)["mean_prediction_entropy"] == 0

    skewed = torch.cat([torch.eye(classes)[:1].repeat(2 * classes, 1), torch.eye(classes)])
    for name in ("answer_nuclear_norm", "mean_prediction_entropy"):
        assert scores(collapsed)[name] < scores(skewed)[name] < 1


def test_confidence_alone_changes_nothing() -> None:
    sure = torch.eye(4).repeat(3, 1)
    assert scores(0.6 * sure + 0.1) == pytest.approx(scores(sure))


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (torch.full((2, 3), float("nan")), "sum to 1"),
        (torch.tensor([[1.5, -0.5]]), "between 0 and 1"),
        (torch.tensor([[2.0, 1.0]]), "sum to 1"),
        (torch.zeros(3), "images, classes"),
    ],
)
def test_values_that_are_no_probabilities_are_refused(batch: torch.Tensor, message: str) -> None:
    with pytest.raises(NolaError, match=message):
        Variety().add(batch)


def test_nothing_to_score_and_mixed_class_counts_are_refused() -> None:
    with pytest.raises(NolaError, match="no image was added"):
        Variety().result()
    accumulator = Variety()
    accumulator.add(torch.eye(3))
    with pytest.raises(NolaError, match="2 classes, but earlier batches have 3"):
        accumulator.add(torch.eye(2))


def test_a_refused_batch_leaves_the_scores_as_they_were() -> None:
    accumulator = Variety()
    accumulator.add(torch.eye(3))
    before = accumulator.result()
    with pytest.raises(NolaError):
        accumulator.add(torch.full((4, 3), float("nan")))
    assert accumulator.result() == before
