"""Soft targets: the student of any teacher that knows how sure it is."""

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
    """Section `soft` of params.yaml."""

    tune: list[PartName] = Field(default=["norms", "classifier"], min_length=1)
    """These two begin as CLIP itself, so the student starts from the zero-shot answers."""
    epochs: Positive = 20
    batch_size: Positive = 16
    learning_rate: Rate = 0.003
    weight_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    schedule: Literal["constant", "cosine"] = "cosine"
    warmup_epochs: Annotated[int, Field(ge=0)] = 1
    weighting: Literal["none", "confidence", "agreement"] = "confidence"
    """Of the images: the teacher's confidence, or the probability that the teacher and the text classifier agree."""
    text: Annotated[float, Field(ge=0, le=1)] = 0.0
    """The share of the text classifier's distribution in the target."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    plain: Annotated[float, Field(ge=0, le=1)] = 0.5
    """The share of the loss on the image as it is, without augmentation; at 0 it is not looked at, which halves the time."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """Decay of the average over the steps that is the result; 0: the last step is."""


class Soft(StudentMethod):
    """CLIP learns the teacher's probabilities q by cross-entropy: `sum_i w_i sum_c -q_ic log p_ic`.

    It is for a teacher whose probabilities mean something, such as `evidence`. An image counts by the teacher's `confidence`,
    by the `agreement` of teacher and text classifier, or like any other (`none`). `text` mixes the text classifier's
    probabilities into q, `label_smoothing` the uniform ones. A share `plain` of the loss is on the image as it is, the rest on
    a strong view of it. With the default parts the student begins with the answers of
    the text classifier. The result is the moving average over the steps (`ema`; 0 takes the last step).
    """

    name = "soft"
    title = "Soft targets"
    summary = "CLIP tuned towards the teacher's class probabilities, images weighted by its confidence"
    paper = "Hinton et al., Distilling the Knowledge in a Neural Network, 2015, section 2"
    section = Options

    def objective(self, student: TunedStudent, lesson: Lesson, *, options: Options, seed: int) -> Objective:
        from nola_core.students.soft import SoftTargets

        return SoftTargets(
            lesson.teacher,
            lesson.zero_shot,
            classes=len(lesson.classifier),
            text=options.text,
            smoothing=options.label_smoothing,
            weighting=options.weighting,
            plain=options.plain,
            decay=options.ema,
        )


METHOD = Soft()
