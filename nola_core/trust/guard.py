"""The guard: compares a student with its teacher by what can be told without labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TOLERANCE = 0.01
"""How far a score may fall below the teacher's before `guard` warns; all scores lie in [0, 1]."""
VARIETY = {
    "answer_nuclear_norm": "nuclear norm of the predicted classes",
    "mean_prediction_entropy": "entropy of the mean prediction",
}
CONSISTENCY = {
    "neighbors_clip": "agreement with neighbours in CLIP's features",
    "neighbors_ssl": "agreement with neighbours in self-supervised features",
}


def guard(student: Mapping[str, Any], teacher: Mapping[str, Any], *, title: str) -> str | None:
    """The warning about a student that seems worse than its teacher, or None.

    It warns of a fall by more than `TOLERANCE` in either score of variety: such a student collapses into few classes, and its
    predictions then agree with the neighbours' the more. And it warns where the agreement with the neighbours, the signal that
    ranks methods (`trust.signals`), falls in every space. A fall in one space is no sign: a teacher agrees better with the
    neighbours in the features that it reads itself.

    Args:
        student: its entry of label_free.json.
        teacher: that of its teacher over the same images.
        title: of the student, for the sentence.
    """

    def fallen(names: Mapping[str, str]) -> list[str]:
        return [
            f"the {name} fell from {float(teacher[key]):.3f} to {float(student[key]):.3f}"
            for key, name in names.items()
            if key in student and key in teacher and float(student[key]) < float(teacher[key]) - TOLERANCE
        ]

    found, inconsistent = fallen(VARIETY), fallen(CONSISTENCY)
    if len(inconsistent) == len(CONSISTENCY):
        found += inconsistent
    if not found:
        return None
    return f"By the scores that need no labels, {title} is worse than its teacher: {' and '.join(found)}."
