"""LaFTer on a tiny CLIP whose text tower knows the images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from nola_core.backbones.clip import Clip
from nola_core.methods.lafter import METHOD, Options
from nola_core.students import text_only
from nola_core.students.lesson import Lesson
from nola_core.students.student import TunedStudent
from tests.students import lessons
from tests.students.learning import answers

OPTIONS = Options(prompt_tokens=3, epochs=10, batch_size=8, learning_rate=0.02, text_learning_rate=0.05, text_steps=250)


def knowing(clip: Clip) -> Lesson:
    """A lesson whose texts are encoded near the mean image of their class; the project's teacher is wrong about every image."""
    taught = lessons.lesson(clip, right=0.0)
    images = taught.features.block(0, lessons.COUNT)
    means = torch.stack([images[lessons.labels() == c].mean(dim=0) for c in range(3)])
    means = torch.nn.functional.normalize(means - means.mean(dim=0), dim=1)
    texts = taught.texts
    owner = {text: c for c in range(3) for text in texts.templates[c] + texts.descriptions[c]}
    return replace(taught, texts=replace(texts, encode=lambda some: torch.stack([means[owner[text]] for text in some])))


def test_the_texts_teach_the_images_and_a_restored_student_gives_the_same_bits(tmp_path: Path) -> None:
    clip = lessons.new_clip(tmp_path)
    taught = knowing(clip)
    student, _ = METHOD.tune(clip, taught, options=OPTIONS, seed=1, device=lessons.CPU)
    p = answers(student, taught)
    assert torch.equal(p.argmax(dim=1), lessons.labels())
    restored = METHOD.restore(student.tensors(), lessons.new_clip(tmp_path), options=OPTIONS)
    assert torch.equal(answers(restored, taught), p)


def test_it_begins_as_the_classifier_of_descriptions_and_templates_and_learns_its_answers(tmp_path: Path) -> None:
    clip = lessons.new_clip(tmp_path)
    taught = knowing(clip)
    start = METHOD.start(taught, options=OPTIONS, seed=1)
    groups = [taught.texts.descriptions[c] + taught.texts.templates[c] for c in range(3)]
    expected = text_only.train(
        torch.cat([taught.texts.encode(group) for group in groups]),
        torch.tensor([0] * 4 + [1] * 4 + [2] * 4),
        3,
        noise=0.1,
        smoothing=0.1,
        steps=250,
        learning_rate=0.05,
        seed=1,
    )
    torch.testing.assert_close(start, expected)
    student = TunedStudent.make(clip, start, options=OPTIONS, seed=1)
    objective = METHOD.objective(student, taught, options=OPTIONS, seed=1)
    assert torch.equal(objective.targets, lessons.labels())  # type: ignore[attr-defined]
