"""What a student learns from: the images, the teacher's answers, and what is known about the classes."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from nola_core.methods.collection import Space, Texts
from nola_core.students.images import Images


@dataclass(frozen=True)
class TopClasses:
    """The most probable classes of every image, as prediction tables hold them.

    Attributes:
        classes: int64 [N, k], by falling probability.
        probabilities: float32 [N, k].
    """

    classes: Tensor
    probabilities: Tensor

    def __len__(self) -> int:
        return len(self.classes)

    def dense(self, rows: Tensor, count: int) -> Tensor:
        """Distributions over `count` classes, float32 [B, count]: what the table leaves out is spread evenly over the others."""
        classes, listed = self.classes[rows], self.probabilities[rows]
        others = count - classes.shape[1]
        rest = (1 - listed.sum(dim=1, keepdim=True)).clamp_min(0) / max(others, 1)
        spread = rest.expand(len(rows), count) if others else torch.zeros(len(rows), count)
        full = spread.clone().scatter_(1, classes, listed)
        return full / full.sum(dim=1, keepdim=True)


@dataclass(frozen=True)
class Lesson:
    """What a student learns from; image i is row i of everything.

    Attributes:
        images: the train images.
        teacher: the teacher's answers.
        classifier: float32 [C, d], the text classifier it starts from.
        zero_shot: the answers of that text classifier.
        texts: what is known about the classes in words. Its `encode` is the text tower: ask it before a student changes that.
        features: CLIP's features of the images, as the frozen tower gave them.
        captions: sentences about single images and about groups of look-alikes, by image number; empty where there are none.
    """

    images: Images
    teacher: TopClasses
    classifier: Tensor
    zero_shot: TopClasses
    texts: Texts
    features: Space
    captions: dict[int, list[str]] = field(default_factory=dict)

    @property
    def targets(self) -> Tensor:
        """The teacher's class for every image, int64 [N]."""
        return self.teacher.classes[:, 0]

    @property
    def sentences(self) -> list[str]:
        """The first template with each class name: what parts in the text tower begin with."""
        return [filled[0] for filled in self.texts.templates]
