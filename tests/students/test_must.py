import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nola_core.students.images import Loader
from nola_core.students.must import Must, aligned
from nola_core.students.objective import Batch
from nola_core.students.options import Options
from nola_core.students.student import TunedStudent
from tests.students.lessons import lesson, new_clip

SETTING: dict[str, Any] = {"classes": 3, "alignment": 1.0, "threshold": 0.65, "fairness": 0.7, "decay": 0.5}


def softmax(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("weighting", ["threshold", "confidence"])
def test_the_loss_is_the_papers_written_out(weighting: Literal["threshold", "confidence"], tmp_path: Path) -> None:
    """Two batches, so that the running mean and the average that teaches are not where they began."""
    clip = new_clip(tmp_path)
    taught = lesson(clip)
    student = TunedStudent.make(clip, taught.classifier, options=Options(tune=["classifier"]), seed=0, scale=9.0)
    objective = Must(weighting=weighting, **SETTING)
    objective.begin(student, Loader(taught.images), epoch=1)
    generator = torch.Generator().manual_seed(2)
    running, teacher = np.full(3, 1 / 3), student.classes().detach().clone()
    for number in (1, 2):
        strong, weak = torch.randn(2, 7, 3, 16, 16, generator=generator)
        own = student.classes().detach().clone()
        loss, logits = objective.loss(student, Batch(torch.arange(7), strong, weak))
        loss.backward()  # the teacher has changed nothing that the gradient needs
        assert torch.equal(student.classes(), own), "the teacher's parameters are gone again"

        with torch.no_grad():
            p = softmax(student.head(student.features(weak), teacher).double().numpy())
        running = 0.9 * running + 0.1 * p.mean(axis=0)
        q = p / (3 * running)
        q /= q.sum(axis=1, keepdims=True)
        mine = softmax(logits.detach().double().numpy())
        entropies = [-math.log(mine[row, q[row].argmax()]) for row in range(7)]
        sure = [row for row in range(7) if q[row].max() >= 0.65]
        assert 0 < len(sure) < 7
        if weighting == "threshold":
            expected = sum(entropies[row] for row in sure) / len(sure)
        else:
            expected = sum(q[row].max() * entropies[row] for row in range(7)) / 7
        expected -= 0.7 * np.log(mine.mean(axis=0)).mean()
        assert loss.item() == pytest.approx(7 * expected, rel=1e-4)

        student.put({"classifier": own + 0.3 * torch.randn(own.shape, generator=generator)})
        objective.stepped(student)
        decay = min(0.5, (1 + number) / (10 + number))
        teacher = decay * teacher + (1 - decay) * student.classes().detach()
    objective.finish(student)
    torch.testing.assert_close(student.classes(), teacher)


def test_a_batch_without_a_sure_image_learns_fairness_alone(tmp_path: Path) -> None:
    clip = new_clip(tmp_path)
    taught = lesson(clip)
    student = TunedStudent.make(clip, taught.classifier, options=Options(tune=["classifier"]), seed=0, scale=1.0)
    objective = Must(weighting="threshold", **SETTING | {"threshold": 0.99})
    objective.begin(student, Loader(taught.images), epoch=1)
    views = torch.randn(7, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    loss, logits = objective.loss(student, Batch(torch.arange(7), views, views))
    mean = logits.softmax(dim=1).mean(dim=0)
    assert loss.item() == pytest.approx(-7 * 0.7 * mean.log().mean().item(), rel=1e-4)


def test_small_batches_are_averaged_with_those_before_and_the_gradient_keeps_its_size() -> None:
    objective = Must(weighting="threshold", **SETTING)
    p = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]])  # fewer than two images a class
    first = objective.unfairness(p)
    assert first.item() == pytest.approx(-np.log([0.4, 0.4, 0.2]).mean(), abs=1e-4)
    later = torch.tensor([[0.2, 0.2, 0.6]], requires_grad=True)
    second = objective.unfairness(later)
    assert second.item() == pytest.approx(-np.log([0.3, 0.3, 0.4]).mean() / 0.5, abs=1e-4)
    (gradient,) = torch.autograd.grad(second, later)
    torch.testing.assert_close(gradient, -1 / (3 * torch.tensor([[0.3, 0.3, 0.4]])), atol=1e-3, rtol=0)


@given(st.integers(0, 1000))
def test_alignment_of_full_strength_evens_out_what_the_running_mean_says(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    p = torch.randn(5, 4, generator=generator).softmax(dim=1)
    assert torch.allclose(aligned(p, p[0], strength=1.0)[0], torch.full((4,), 0.25), atol=1e-3)
    torch.testing.assert_close(aligned(p, p[0], strength=0.0), p)
    torch.testing.assert_close(aligned(p, p[0], strength=0.5).sum(dim=1), torch.ones(5))
