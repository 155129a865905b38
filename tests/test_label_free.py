"""The accumulator compared with the plain formulas on the whole matrix, and the meaning of its scores."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nola_core.errors import NolaError
from nola_core.label_free import LabelFreeScores, guard


def scores(probabilities: torch.Tensor, batch: int = 7) -> dict[str, float | int]:
    accumulator = LabelFreeScores()
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
    nuclear = torch.linalg.matrix_norm(p, ord="nuc").item() / math.sqrt(images * min(images, classes))
    # The Gram matrix squares the singular values, so the error of a zero is the square root of the rounding error.
    assert result["nuclear_norm"] == pytest.approx(nuclear, abs=1e-6)
    if classes > 1:
        mean = p.mean(dim=0).tolist()
        entropy = -sum(value * math.log(value) for value in mean if value > 0) / math.log(classes)
        assert result["mean_prediction_entropy"] == pytest.approx(entropy, abs=1e-9)
    assert result["mean_confidence"] == pytest.approx(p.max(dim=1).values.mean().item())
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
    images, classes = p.shape
    result = scores(p)
    lowest = 1 / math.sqrt(classes * min(images, classes))  # reached by the uniform matrix
    assert lowest - 1e-6 <= result["nuclear_norm"] <= 1
    assert 0 <= result["mean_prediction_entropy"] <= 1
    assert 1 / classes - 1e-9 <= result["mean_confidence"] <= 1


@pytest.mark.parametrize("classes", [2, 5, 10])
def test_certain_and_balanced_is_best_and_collapse_is_worst_among_certain(classes: int) -> None:
    balanced = torch.eye(classes).repeat(3, 1)
    assert scores(balanced)["nuclear_norm"] == pytest.approx(1)
    assert scores(balanced)["mean_prediction_entropy"] == pytest.approx(1)

    collapsed = torch.eye(classes)[:1].repeat(3 * classes, 1)
    assert scores(collapsed)["nuclear_norm"] == pytest.approx(1 / math.sqrt(classes))
    assert scores(collapsed)["mean_prediction_entropy"] == 0

    skewed = torch.cat([torch.eye(classes)[:1].repeat(2 * classes, 1), torch.eye(classes)])
    between = scores(skewed)
    assert scores(collapsed)["nuclear_norm"] < between["nuclear_norm"] < 1
    assert 0 < between["mean_prediction_entropy"] < 1

    undecided = torch.full((3 * classes, classes), 1 / classes)
    assert scores(undecided)["nuclear_norm"] == pytest.approx(1 / classes, abs=1e-6)
    assert scores(undecided)["mean_prediction_entropy"] == pytest.approx(1)


def test_float32_batches_are_summed_in_float64() -> None:
    p = random_probabilities(3, 5000, 4, 2.0)
    exact = torch.linalg.matrix_norm(p, ord="nuc").item() / math.sqrt(5000 * 4)
    assert scores(p.float(), batch=100)["nuclear_norm"] == pytest.approx(exact, abs=1e-7)


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
        LabelFreeScores().add(batch)


def test_nothing_to_score_and_mixed_class_counts_are_refused() -> None:
    with pytest.raises(NolaError, match="no image was added"):
        LabelFreeScores().result()
    accumulator = LabelFreeScores()
    accumulator.add(torch.eye(3))
    with pytest.raises(NolaError, match="2 classes, but earlier batches have 3"):
        accumulator.add(torch.eye(2))


def test_a_refused_batch_leaves_the_scores_as_they_were() -> None:
    accumulator = LabelFreeScores()
    accumulator.add(torch.eye(3))
    before = accumulator.result()
    with pytest.raises(NolaError):
        accumulator.add(torch.full((4, 3), float("nan")))
    assert accumulator.result() == before


def test_guard_warns_of_the_score_that_fell_and_only_beyond_the_tolerance() -> None:
    teacher = {"answer_nuclear_norm": 0.8, "mean_prediction_entropy": 0.95}
    assert guard(teacher, teacher, title="NoLA") is None
    assert guard({"answer_nuclear_norm": 0.9, "mean_prediction_entropy": 0.99}, teacher, title="NoLA") is None
    assert guard({"answer_nuclear_norm": 0.795, "mean_prediction_entropy": 0.945}, teacher, title="NoLA") is None
    collapsed = guard({"answer_nuclear_norm": 0.85, "mean_prediction_entropy": 0.5}, teacher, title="NoLA")
    assert collapsed is not None and "NoLA is worse" in collapsed and "entropy" in collapsed and "0.950 to 0.500" in collapsed
    assert "nuclear" not in collapsed
    narrower = guard({"answer_nuclear_norm": 0.7, "mean_prediction_entropy": 0.95}, teacher, title="Other")
    assert narrower is not None and "Other is worse" in narrower and "nuclear norm" in narrower and "entropy" not in narrower


def test_a_student_that_is_only_less_sure_is_not_rejected() -> None:
    sure, unsure = LabelFreeScores(), LabelFreeScores()
    sure.add(torch.eye(4).repeat(3, 1))
    unsure.add(0.6 * torch.eye(4).repeat(3, 1) + 0.1)
    assert unsure.result()["nuclear_norm"] < sure.result()["nuclear_norm"] - 0.2
    assert guard(unsure.result(), sure.result(), title="NoLA") is None


def test_the_answers_nuclear_norm_is_that_of_the_one_hot_matrix() -> None:
    probabilities = torch.rand(50, 7, generator=torch.Generator().manual_seed(0)).softmax(dim=1)
    scores = LabelFreeScores()
    for batch in probabilities.split(16):
        scores.add(batch)
    hard = torch.nn.functional.one_hot(probabilities.argmax(dim=1), 7).double()
    assert scores.result()["answer_nuclear_norm"] == pytest.approx(float(torch.linalg.matrix_norm(hard, "nuc")) / (50 * 7) ** 0.5)
