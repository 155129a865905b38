from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cross_entropy

from nola_core.errors import NolaError
from nola_core.students import loop
from nola_core.students.images import Loader
from nola_core.students.objective import Batch, Epoch
from nola_core.students.options import Options
from nola_core.students.rounds import Rounds, most_confident, predictions
from nola_core.students.student import TunedStudent
from tests.students.lessons import COUNT, CPU, lesson, new_clip

OPTIONS = Options(tune=["classifier"], epochs=5, batch_size=8, optimizer="sgd", learning_rate=0.5, schedule="cosine")


def test_the_most_confident_images_of_every_class_get_a_label() -> None:
    classes = torch.tensor([0, 2, 0, 0, 2, 0])
    confidence = torch.tensor([0.5, 0.9, 0.7, 0.5, 0.3, 0.6])
    assert most_confident(classes, confidence, k=1).tolist() == [-1, 2, 0, -1, -1, -1]
    assert most_confident(classes, confidence, k=3).tolist() == [0, 2, 0, -1, 2, 0], "of two equal ones the first"
    assert most_confident(classes, confidence, k=9).tolist() == classes.tolist()


@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from([0.2, 0.4, 0.5, 0.9])), min_size=1, max_size=30), st.integers(1, 6))
def test_it_is_what_sorting_class_by_class_gives(images: list[tuple[int, float]], k: int) -> None:
    expected = [-1] * len(images)
    for c in range(5):
        mine = sorted((row for row, (own, _) in enumerate(images) if own == c), key=lambda row: (-images[row][1], row))
        for row in mine[:k]:
            expected[row] = c
    classes, confidence = torch.tensor([own for own, _ in images]), torch.tensor([sure for _, sure in images])
    assert most_confident(classes, confidence, k=k).tolist() == expected


class Watched(Rounds):
    """Notes what happens: in every epoch the labels and the student that the first batch meets."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.epochs: list[tuple[Epoch, Tensor, Tensor]] = []
        self.met: list[Tensor] = []

    def begin(self, student: TunedStudent, loader: Loader, *, epoch: int) -> Epoch:
        answers = predictions(student, loader)
        plan = super().begin(student, loader, epoch=epoch)
        self.epochs.append((plan, self.labels.clone(), answers.classes[:, 0]))
        self.new = True
        return plan

    def loss(self, student: TunedStudent, batch: Batch) -> tuple[Tensor, Tensor]:
        if self.new:
            self.met.append(student.classes().detach().clone())
            self.new = False
        return super().loss(student, batch)


def test_every_round_begins_anew_with_the_answers_of_the_round_before(tmp_path: Path) -> None:
    clip = new_clip(tmp_path)
    taught = lesson(clip)
    student = TunedStudent.make(clip, taught.classifier, options=OPTIONS, seed=0, scale=clip.logit_scale)
    objective = Watched(taught.zero_shot, sizes=[2, 1000], epochs=5, section="ifpl")
    first = student.classes().detach().clone()
    curve = loop.tune(
        student,
        taught.images,
        objective,
        targets=taught.targets,
        options=OPTIONS,
        section="ifpl",
        seed=0,
        device=CPU,
    )
    assert [plan.place for plan, *_ in objective.epochs] == [(1, 2), (2, 2), (1, 3), (2, 3), (3, 3)]
    assert curve["learning_rate"].tolist() == pytest.approx([0.5, 0.25, 0.5, 0.375, 0.125])
    assert [plan.restart for plan, *_ in objective.epochs] == [False, False, True, False, False]
    assert torch.equal(objective.met[0], first) and torch.equal(objective.met[2], first)
    assert not torch.equal(objective.met[1], first) and not torch.equal(objective.met[3], first)

    zero_shot = taught.zero_shot
    expected = most_confident(zero_shot.classes[:, 0], zero_shot.probabilities[:, 0], k=2)
    for plan, labels, _ in objective.epochs[:2]:
        assert torch.equal(labels, expected) and plan.rows is not None
        assert torch.equal(plan.rows, (expected >= 0).nonzero()[:, 0])
        assert len(plan.rows) == int((expected >= 0).sum()) < COUNT
    for _, labels, _ in objective.epochs[2:]:
        assert torch.equal(labels, objective.epochs[2][2]), "of all images, as the student of the first round answers them"


def test_the_loss_is_the_cross_entropy_of_the_labels(tmp_path: Path) -> None:
    clip = new_clip(tmp_path)
    taught = lesson(clip)
    student = TunedStudent.make(clip, taught.classifier, options=OPTIONS, seed=0)
    objective = Rounds(taught.zero_shot, sizes=[3], epochs=1, section="upl")
    plan = objective.begin(student, Loader(taught.images), epoch=1)
    assert plan.rows is not None
    rows, views = plan.rows[:2], torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    loss, logits = objective.loss(student, Batch(rows, views))
    wanted = taught.zero_shot.classes[rows, 0]
    assert loss.item() == pytest.approx(2 * cross_entropy(logits, wanted).item())
    state: Mapping[str, Tensor] = objective.state()
    again = Rounds(taught.zero_shot, sizes=[3], epochs=1, section="upl")
    again.load(state)
    assert torch.equal(again.labels, objective.labels)


def test_more_rounds_than_epochs_are_one_sentence(tmp_path: Path) -> None:
    taught = lesson(new_clip(tmp_path))
    with pytest.raises(NolaError, match=r"^ifpl.epochs is 2, but ifpl has 3 rounds; give each at least one epoch.$"):
        Rounds(taught.zero_shot, sizes=[1, 1, 1], epochs=2, section="ifpl")
