"""UPL: learnt context words, taught by the text classifier's most confident answers."""

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
    """Section `upl` of params.yaml."""

    tune: list[PartName] = Field(default=["context"], min_length=1)
    context_tokens: Positive = 16
    per_class: Positive = 16
    """Pseudo-labels a class at most."""
    batch_size: Positive = 32
    optimizer: Literal["adamw", "sgd"] = "sgd"
    learning_rate: Rate = 0.002
    weight_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0005
    schedule: Literal["constant", "cosine"] = "cosine"
    warmup_epochs: Annotated[int, Field(ge=0)] = 1


class Upl(StudentMethod):
    """The words before the class name learn from the `per_class` images that the text classifier is most confident about.

    Only the images that are predicted as a class count for it, so a name that is predicted for none teaches nothing. The
    project's teacher plays no part. Differences from the paper: one CLIP chooses the images, where the authors average
    several, and one set of words is learnt; the views are NoLA's strong ones, where the paper crops and flips.
    """

    name = "upl"
    title = "UPL"
    summary = "CLIP with learnt context words, taught by the text classifier's most confident images of every class"
    paper = "Huang et al., Unsupervised Prompt Learning for Vision-Language Models, 2022, section 3.2, with one CLIP"
    section = Options

    def objective(self, student: TunedStudent, lesson: Lesson, *, options: Options, seed: int) -> Objective:
        from nola_core.students.rounds import Rounds

        return Rounds(lesson.zero_shot, sizes=[options.per_class], epochs=options.epochs, section=self.name)


METHOD = Upl()
