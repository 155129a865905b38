"""MUST: a student whose moving average is its teacher."""

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
    """Section `must` of params.yaml."""

    tune: list[PartName] = Field(default=["norms", "classifier"], min_length=1)
    """The paper tunes the whole vision tower. These two begin as CLIP itself, so the first teacher is the text classifier."""
    epochs: Positive = 30
    batch_size: Positive = 64
    learning_rate: Rate = 0.001
    weight_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    schedule: Literal["constant", "cosine"] = "cosine"
    warmup_epochs: Annotated[int, Field(ge=0)] = 1
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Decay of the average that is teacher and result."""
    alignment: Annotated[float, Field(ge=0, le=1)] = 1.0
    """How far the teacher's use of the classes is evened out; lower it where classes may be missing."""
    weighting: Literal["threshold", "confidence"] = "threshold"
    threshold: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """The authors chose 0.2 to 0.7 by data set; here one number serves all."""
    fairness: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the term that wants every class predicted; lower it where classes may be missing."""


class MustMethod(StudentMethod):
    """CLIP is taught by its own moving average, which sees the deterministic view and is also the result.

    The teacher's probabilities are divided by their running mean (`alignment`). Targets below `threshold` do not count; with
    `weighting: confidence` all count by their confidence. A `fairness` term pulls the mean prediction of a batch to all
    classes. Both assume that classes are about equally frequent: set `alignment` and `fairness` to 0 where names may not
    occur. Differences from the paper: no reconstruction of masked patches, norm layers and class embeddings instead of the
    whole tower, and one threshold, where the authors chose 0.2 to 0.7 by data set.
    """

    name = "must"
    title = "MUST"
    summary = "CLIP taught by its own moving average, with even use of all classes"
    paper = "Li et al., Masked Unsupervised Self-training for Label-free Image Classification, 2023, section 3, without masking"
    section = Options

    def objective(self, student: TunedStudent, lesson: Lesson, *, options: Options, seed: int) -> Objective:
        from nola_core.students.must import Must

        return Must(
            classes=len(lesson.classifier),
            alignment=options.alignment,
            weighting=options.weighting,
            threshold=options.threshold,
            fairness=options.fairness,
            decay=options.ema,
        )


METHOD = MustMethod()
