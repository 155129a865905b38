"""NoLA's third step: the teacher's answers tune prompts, norm layers and classifier of CLIP's vision tower."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from nola_core.methods.method import StudentMethod
from nola_core.students.options import Options as Shared

if TYPE_CHECKING:
    from nola_core.students.lesson import Lesson
    from nola_core.students.objective import Objective
    from nola_core.students.student import TunedStudent


class Options(Shared):
    """Section `nola` of params.yaml."""

    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1


class Nola(StudentMethod):
    """NoLA's student: prompt tokens, norm layers and classifier of CLIP's vision tower are tuned; `tune` names other parts.

    It sees strongly augmented views of all train images, and learns the class that the teacher gives each. It needs the
    images and a tower that can be tuned, and is slow without a GPU. It changes the features themselves, so it can become more
    accurate than its teacher; errors that the teacher makes consistently, it learns.
    """

    name = "nola"
    title = "NoLA"
    summary = "CLIP with visual prompts, taught by the teacher's answers"
    paper = "Imam et al., CLIP meets DINO for Tuning Zero-Shot Classifier using Unlabeled Image Collections, 2024, section 3.3"
    section = Options

    cosine = False

    def objective(self, student: TunedStudent, lesson: Lesson, *, options: Options, seed: int) -> Objective:
        from nola_core.students.objective import HardTargets

        return HardTargets(lesson.targets, smoothing=options.label_smoothing)


METHOD = Nola()
