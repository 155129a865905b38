"""microCLIP: labels from crops and a frozen head, and from the student and its learnt one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from nola_core.methods.method import StudentMethod
from nola_core.schema import Positive, Rate
from nola_core.students.options import Options as Shared
from nola_core.students.options import PartName

if TYPE_CHECKING:
    from nola_core.students.lesson import Lesson
    from nola_core.students.objective import Objective
    from nola_core.students.student import TunedStudent


class Options(Shared):
    """Section `microclip` of params.yaml."""

    tune: Annotated[list[PartName], Field(min_length=1)] = Field(default_factory=lambda: list[PartName](["norms", "classifier"]))
    crops: Positive = 8
    """Of an image."""
    gamma: Annotated[float, Field(ge=0, le=1)] = 0.5
    """The share of the crops and the frozen head in the label; the rest is the student's."""
    epochs: Positive = 15
    batch_size: Positive = 64
    learning_rate: Rate = 1e-4
    weight_decay: Annotated[float, Field(ge=0, lt=1)] = 0.1
    schedule: Literal["constant", "cosine"] = "cosine"


class Microclip(StudentMethod):
    """A label is the class with the largest gamma c . phi + (1 - gamma) f . W, of crops c and the student's feature f.

    phi is the frozen text classifier, W the learnt one; c is the mean of eight crops, weighted by how similar each is to the
    whole image. The loss is cross-entropy on strongly augmented views, and a term against classes that nobody predicts. It is
    meant for classes that differ in details; the term assumes that all classes occur. Differences from the paper: no token of
    the salient patches (TokenFusion), so f is the tower's own feature; and the crops are drawn once and seen by the frozen
    tower, in one pass before the tuning, where the published code draws new ones at every step and sees them through the
    tuned tower. A resumed tuning makes that pass again.
    """

    name = "microclip"
    title = "microCLIP"
    summary = "CLIP taught by crops under a frozen head and by itself under a learnt one"
    paper = "Silva et al., microCLIP: Unsupervised CLIP Adaptation via Coarse-Fine Token Fusion, WACV 2026, the two heads"
    section = Options

    def objective(self, student: TunedStudent, lesson: Lesson, *, options: Options, seed: int) -> Objective:
        from nola_core.students.crop_labels import CropLabels, crop_features

        crops = crop_features(student, lesson, count=options.crops, seed=seed)
        return CropLabels(frozen=lesson.classifier, crops=crops, gamma=options.gamma)


METHOD = Microclip()
