"""POUF: prompts learnt by aligning images with class names, without a pseudo-label."""

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
    """Section `pouf` of params.yaml."""

    tune: list[PartName] = Field(default=["context"], min_length=1)
    batch_size: Positive = 96
    optimizer: Literal["adamw", "sgd"] = "sgd"
    learning_rate: Rate = 0.001
    weight_decay: Annotated[float, Field(ge=0, lt=1)] = 0.001
    information: Annotated[float, Field(ge=0)] = 0.3
    """Weight of the mutual information. It wants every class to occur as often in every batch."""


class PoufMethod(StudentMethod):
    """Images and class embeddings move towards each other, without pseudo-labels and without a teacher.

    An image goes to the classes with the probabilities that CLIP gives, and a class to the images of the batch likewise. The
    loss is the mean of `1 - cos` over both ways, less `information` times the mutual information of images and answers: they
    shall be sure, and every class shall occur in every batch. So it loses where names do not occur. Difference from the
    paper: NoLA's strong views, where it crops and flips.
    """

    name = "pouf"
    title = "POUF"
    summary = "CLIP with learnt context words that bring images and class names together, without pseudo-labels"
    paper = "Tanwisuth et al., POUF: Prompt-oriented unsupervised fine-tuning for large pre-trained models, 2023, section 3"
    section = Options

    def objective(self, student: TunedStudent, lesson: Lesson, *, options: Options, seed: int) -> Objective:
        from nola_core.students.pouf import Pouf

        return Pouf(information=options.information)


METHOD = PoufMethod()
