"""UPL, FPL, IFPL and GRIP: pseudo-labels of the text classifier, then those of the student itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nola_core.methods import find
from nola_core.methods.grip import growing
from nola_core.methods.method import StudentMethod
from nola_core.students.lesson import Lesson
from nola_core.students.options import Options, PartName
from tests.students import lessons
from tests.students.learning import answers, interrupted

ROUNDS = ("ifpl", "grip")
NAMES = ("upl", "fpl", *ROUNDS)


def method(name: str) -> StudentMethod:
    found = find(name)
    assert isinstance(found, StudentMethod)
    return found


def options(name: str, *, tune: PartName = "norms", epochs: int) -> Options:
    rounds = {"rounds": 2} if name in ROUNDS else {}
    small = {
        "tune": [tune] if tune == "context" else [tune, "classifier"],
        "context_tokens": 4,
        "epochs": epochs,
        "batch_size": 8,
        "learning_rate": 0.03,
    }
    chosen = method(name).section(**small, **rounds, optimizer="adamw", weight_decay=0.01, warmup_epochs=0)
    assert isinstance(chosen, Options)
    return chosen


def hinted(taught: Lesson) -> Lesson:
    """The text classifier is sure and right about three images a class, and says night to all others without being sure."""
    sure = torch.arange(lessons.COUNT) % 9 < 3
    told = torch.where(sure, lessons.labels(), 0)
    confidence = torch.where(sure, 0.9, 0.4)[:, None]
    p = ((1 - confidence) / 2).expand(-1, 3).clone().scatter_(1, told[:, None], confidence)
    return replace(taught, zero_shot=lessons.ordered(p))


@pytest.mark.parametrize("name", NAMES)
def test_the_confident_images_teach_the_others(name: str, tmp_path: Path) -> None:
    clip = lessons.new_clip(tmp_path)
    taught = hinted(lessons.lesson(clip, right=0.0))  # a teacher that is wrong plays no part
    few = options(name, epochs=40 if name in ROUNDS else 20).model_copy(update={"per_class": 3} if name != "grip" else {})
    student, _ = method(name).tune(clip, taught, options=few, seed=1, device=lessons.CPU)
    p = answers(student, taught)
    right = (p.argmax(dim=1) == lessons.labels()).float().mean().item()
    told = (taught.zero_shot.classes[:, 0] == lessons.labels()).float().mean().item()
    assert told < 0.6 and right > 0.9
    restored = method(name).restore(student.tensors(), lessons.new_clip(tmp_path), options=few)
    assert torch.equal(answers(restored, taught), p)


@pytest.mark.parametrize("name", NAMES)
def test_the_words_before_the_class_names_learn(name: str, tmp_path: Path) -> None:
    clip = lessons.new_clip(tmp_path)
    taught = hinted(lessons.lesson(clip))
    student, curve = method(name).tune(clip, taught, options=options(name, tune="context", epochs=8), seed=1, device=lessons.CPU)
    assert curve["loss"].iloc[-1] < curve["loss"].iloc[-4], "in the last round"
    assert not torch.allclose(student.tensors()["classifier"], taught.classifier, atol=1e-3)


def test_an_interrupted_tuning_ends_where_an_undisturbed_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is killed in the middle of the second round, whose labels are those of a student that is gone."""
    interrupted(method("ifpl"), options("ifpl", epochs=4), tmp_path, monkeypatch)


def test_grip_labels_more_in_every_round_until_all_have_a_label() -> None:
    assert growing(1000, 10, rounds=10) == [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]
    assert growing(1009, 7, rounds=3) == [336 // 7, 672 // 7, 1008 // 7]
    assert growing(12, 100, rounds=2) == [1, 1], "with fewer images than names"


@pytest.mark.parametrize("name", NAMES)
def test_by_default_words_before_the_class_name_learn(name: str) -> None:
    defaults = method(name).section()
    assert isinstance(defaults, Options) and defaults.tune == ["context"] and defaults.context_tokens == 16
