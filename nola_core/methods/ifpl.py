"""IFPL: as FPL, in rounds; each begins with new prompts and the pseudo-labels of the student before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nola_core.methods.fpl import PAPER, Prompts
from nola_core.methods.method import StudentMethod
from nola_core.schema import Positive

if TYPE_CHECKING:
    from nola_core.students.lesson import Lesson
    from nola_core.students.objective import Objective
    from nola_core.students.student import TunedStudent


class Options(Prompts):
    """Section `ifpl` of params.yaml."""

    epochs: Positive = 1500
    """Of all rounds together: 150 each."""
    rounds: Positive = 10
    per_class: Positive = 16
    """Pseudo-labels a class at most, in every round."""


class Ifpl(StudentMethod):
    """As `fpl`, in `rounds`: the student of a round labels all images, and the next round begins with new prompts.

    The first round's labels are the text classifier's. `epochs` counts all rounds together, and the learning rate has its
    warm-up and cosine in every round. An error of one round is taught in the next.
    """

    name = "ifpl"
    title = "IFPL"
    summary = "FPL in rounds: the student of each labels the images of the next, which begins with new prompts"
    paper = PAPER
    section = Options

    def objective(self, student: TunedStudent, lesson: Lesson, *, options: Options, seed: int) -> Objective:
        from nola_core.students.rounds import Rounds

        sizes = [options.per_class] * options.rounds
        return Rounds(lesson.zero_shot, sizes=sizes, epochs=options.epochs, section=self.name)


METHOD = Ifpl()
