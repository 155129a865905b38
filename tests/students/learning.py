"""What the tests of all student methods ask: the answers of a student, and a tuning that is interrupted."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from nola_core.methods.method import Student, StudentMethod
from nola_core.students import loop
from nola_core.students.lesson import Lesson
from nola_core.students.options import Options
from tests.students import lessons


def answers(student: Student, lesson: Lesson) -> Tensor:
    """The student's probabilities for the train images, float32 [N, C]."""
    assert lesson.images.weak is not None
    return student.predict(torch.stack([lesson.images.weak(lesson.images.open(name)) for name in lesson.images.ids]))


def interrupted(method: StudentMethod, options: Options, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Assert that a tuning killed in its last epoch and started again ends in the bits of an undisturbed one."""

    def tune(checkpoint: Path | None) -> Student:
        clip = lessons.new_clip(folder)
        return method.tune(clip, lessons.lesson(clip), options=options, seed=1, device=lessons.CPU, checkpoint=checkpoint)[0]

    whole = tune(None).tensors()
    real = loop._epoch

    def dies(*args: object, **kwargs: object) -> tuple[float, float]:
        if kwargs["epoch"] == options.epochs:
            raise KeyboardInterrupt
        return real(*args, **kwargs)  # type: ignore[arg-type]

    checkpoint = folder / "checkpoint.pt"
    with monkeypatch.context() as patch:
        patch.setattr(loop, "_epoch", dies)
        with pytest.raises(KeyboardInterrupt):
            tune(checkpoint)
    assert checkpoint.is_file()
    again = tune(checkpoint).tensors()
    assert whole.keys() == again.keys() and all(torch.equal(value, again[name]) for name, value in whole.items())
