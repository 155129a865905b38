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
    """See `nola_core.students.crop_labels.CropLabels`.

    The paper also fuses a token of the salient patches (TokenFusion) with the image's feature; that part is left out, and the
    student's feature is the tower's own. The published code draws new crops at every step and sees them through the tuned
    tower; here they are drawn once and seen through the frozen one, which costs one pass instead of one an epoch. An
    interrupted tuning makes that pass again.
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
