import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from nola_core.students.lesson import TopClasses
from nola_core.students.objective import Batch
from nola_core.students.options import Options
from nola_core.students.soft import SoftTargets, weights
from nola_core.students.student import TunedStudent
from tests.students.lessons import lesson, new_clip

TEACHER = TopClasses(torch.tensor([[2, 0], [1, 3]]), torch.tensor([[0.6, 0.3], [0.9, 0.1]]))
TEXT = TopClasses(torch.tensor([[2, 1], [0, 1]]), torch.tensor([[0.5, 0.5], [1.0, 0.0]]))
DENSE = [[0.3, 0.05, 0.6, 0.05], [0.0, 0.9, 0.0, 0.1]]
DENSE_TEXT = [[0.0, 0.5, 0.5, 0.0], [1.0, 0.0, 0.0, 0.0]]


def test_the_loss_is_the_weighted_cross_entropy_written_out(tmp_path: Path) -> None:
    clip = new_clip(tmp_path)
    phi = torch.randn(4, 16, generator=torch.Generator().manual_seed(1))
    student = TunedStudent.make(clip, phi, options=Options(tune=["classifier"]), seed=0, scale=5.0)
    objective = SoftTargets(TEACHER, TEXT, classes=4, text=0.25, smoothing=0.2, weighting="confidence")
    views = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    rows = [1, 0, 1]
    loss, logits = objective.loss(student, Batch(torch.tensor(rows), views))

    expected = 0.0
    for row, answer in zip(rows, logits.tolist(), strict=True):
        log_sum = math.log(sum(math.exp(value) for value in answer))
        weight = (0.6, 0.9)[row] / 0.75
        for c in range(4):
            target = 0.8 * (0.75 * DENSE[row][c] + 0.25 * DENSE_TEXT[row][c]) + 0.2 / 4
            expected -= weight * target * (answer[c] - log_sum)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert torch.equal(logits, student(views))


@pytest.mark.parametrize(
    ("weighting", "expected"),
    [("none", [1.0, 1.0]), ("confidence", [0.8, 1.2]), ("agreement", [2.0, 0.0])],
)
def test_weights_are_one_on_the_mean(weighting: str, expected: list[float]) -> None:
    """By `agreement`: 0.5 * 0.05 + 0.5 * 0.6 = 0.325 for the first image, and nothing for the second."""
    made: Tensor = weights(TEACHER, TEXT, classes=4, weighting=weighting)  # type: ignore[arg-type]
    torch.testing.assert_close(made, torch.tensor(expected))


def test_without_any_agreement_nothing_is_learnt_and_nothing_is_nan() -> None:
    never = TopClasses(torch.tensor([[0, 1]]), torch.tensor([[1.0, 0.0]]))
    other = TopClasses(torch.tensor([[1, 0]]), torch.tensor([[1.0, 0.0]]))
    assert weights(never, other, classes=2, weighting="agreement").tolist() == [0.0]


def test_the_result_is_the_average_of_the_steps(tmp_path: Path) -> None:
    clip = new_clip(tmp_path)
    taught = lesson(clip)
    student = TunedStudent.make(clip, taught.classifier, options=Options(tune=["classifier"]), seed=0)
    objective = SoftTargets(taught.teacher, taught.zero_shot, classes=3, decay=0.9)
    objective.average.start(student)
    before = student.classes().clone()
    student.put({"classifier": before + 1})
    objective.stepped(student)
    objective.finish(student)
    torch.testing.assert_close(student.classes(), before + 1 - 2 / 11)
