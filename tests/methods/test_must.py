"""The student that teaches itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nola_core.methods.must import METHOD, Options
from nola_core.students.lesson import Lesson
from tests.students import lessons
from tests.students.learning import answers, interrupted

OPTIONS = Options(epochs=12, batch_size=12, learning_rate=0.02, ema=0.8, threshold=0.35)


def noisy(taught: Lesson) -> Lesson:
    """It begins with a classifier that is right about two classes of three: the mean images, and noise."""
    images = taught.features.block(0, lessons.COUNT)
    means = torch.stack([images[lessons.labels() == c].mean(dim=0) for c in range(3)])
    noise = 0.35 * torch.randn(means.shape, generator=torch.Generator().manual_seed(0))
    start = torch.nn.functional.normalize(means - means.mean(dim=0), dim=1) + noise
    return replace(taught, classifier=torch.nn.functional.normalize(start, dim=1))


def test_it_corrects_its_first_answers_and_a_restored_student_gives_the_same_bits(tmp_path: Path) -> None:
    clip = lessons.new_clip(tmp_path)
    taught = noisy(lessons.lesson(clip, right=0.0))  # a teacher that is wrong plays no part
    first = (taught.features.block(0, lessons.COUNT) @ taught.classifier.T).argmax(dim=1)
    student, _ = METHOD.tune(clip, taught, options=OPTIONS, seed=1, device=lessons.CPU)
    p = answers(student, taught)
    before, after = ((found == lessons.labels()).float().mean().item() for found in (first, p.argmax(dim=1)))
    assert before < 0.7 and after > 0.9, (before, after)
    restored = METHOD.restore(student.tensors(), lessons.new_clip(tmp_path), options=OPTIONS)
    assert torch.equal(answers(restored, taught), p)


def test_an_interrupted_tuning_ends_where_an_undisturbed_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(METHOD, OPTIONS.model_copy(update={"epochs": 3}), tmp_path, monkeypatch)
