"""The student of a teacher's distributions."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from nola_core.methods.method import Student
from nola_core.methods.soft import METHOD, Options
from nola_core.students.lesson import Lesson
from tests.students import lessons
from tests.students.learning import answers, interrupted

OPTIONS = Options(epochs=12, batch_size=8, learning_rate=0.03, ema=0.9)


def tuned(tmp_path: Path, options: Options = OPTIONS, *, right: float = 1.0) -> tuple[Student, Lesson]:
    clip = lessons.new_clip(tmp_path)
    taught = lessons.lesson(clip, right=right)
    return METHOD.tune(clip, taught, options=options, seed=1, device=lessons.CPU)[0], taught


def accuracy(predicted: Tensor) -> float:
    return (predicted == lessons.labels()).float().mean().item()


def test_it_learns_what_its_teacher_knows(tmp_path: Path) -> None:
    student, taught = tuned(tmp_path)
    assert accuracy(taught.zero_shot.classes[:, 0]) < 0.5
    assert accuracy(answers(student, taught).argmax(dim=1)) == 1.0


def test_it_is_more_accurate_than_a_teacher_that_errs_without_pattern(tmp_path: Path) -> None:
    student, taught = tuned(tmp_path, right=0.75)
    assert accuracy(taught.targets) == 0.75
    assert accuracy(answers(student, taught).argmax(dim=1)) > 0.9


def test_it_begins_with_the_zero_shot_answers(tmp_path: Path) -> None:
    """A learning rate near 0 leaves the student where it begins."""
    student, taught = tuned(tmp_path, OPTIONS.model_copy(update={"learning_rate": 1e-9, "epochs": 1}))
    everything = torch.arange(lessons.COUNT)
    torch.testing.assert_close(answers(student, taught), taught.zero_shot.dense(everything, 3), atol=1e-3, rtol=0)


def test_a_restored_student_gives_the_same_bits(tmp_path: Path) -> None:
    student, taught = tuned(tmp_path, OPTIONS.model_copy(update={"epochs": 2}))
    restored = METHOD.restore(student.tensors(), lessons.new_clip(tmp_path), options=OPTIONS)
    assert torch.equal(answers(restored, taught), answers(student, taught))
    assert set(student.tensors()) > {"classifier", "scale"}


def test_an_interrupted_tuning_ends_where_an_undisturbed_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(METHOD, OPTIONS.model_copy(update={"epochs": 3}), tmp_path, monkeypatch)
