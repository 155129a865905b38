"""GRIP: as IFPL, with more pseudo-labels in every round, until all images have one."""

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
    """Section `grip` of params.yaml."""

    epochs: Positive = 1500
    """Of all rounds together: 150 each."""
    rounds: Positive = 10


class Grip(StudentMethod):
    """As `ifpl`, with `K_i = floor(i floor(N / rounds) / C)` pseudo-labels a class at most in round i.

    In the last round a class has up to N / C images, so that a balanced collection is labelled whole. A class with more
    images than that has the rest left out.
    """

    name = "grip"
    title = "GRIP"
    summary = "IFPL with more pseudo-labels a class in every round, up to the average class size"
    paper = PAPER
    section = Options

    def objective(self, student: TunedStudent, lesson: Lesson, *, options: Options, seed: int) -> Objective:
        from nola_core.students.rounds import Rounds

        sizes = growing(len(lesson.images.ids), len(lesson.classifier), rounds=options.rounds)
        return Rounds(lesson.zero_shot, sizes=sizes, epochs=options.epochs, section=self.name)


def growing(images: int, classes: int, *, rounds: int) -> list[int]:
    """Pseudo-labels a class in every round i from 1: floor(i floor(N / rounds) / C), and at least one."""
    return [max(1, number * (images // rounds) // classes) for number in range(1, rounds + 1)]


METHOD = Grip()
