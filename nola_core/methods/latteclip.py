"""LatteCLIP: class prototypes follow templates and captions, and CLIP is fine-tuned towards them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from nola_core.errors import NolaError
from nola_core.methods.method import StudentMethod
from nola_core.schema import Positive, Rate
from nola_core.students.options import Options as Shared
from nola_core.students.options import PartName

if TYPE_CHECKING:
    from nola_core.students.lesson import Lesson
    from nola_core.students.objective import Objective
    from nola_core.students.student import TunedStudent

KEPT = ("classifier", "context")
"""Parts that would learn nothing here."""


class Options(Shared):
    """Section `latteclip` of params.yaml."""

    betas = (0.9, 0.98)
    epsilon = 1e-6
    tune: Annotated[list[PartName], Field(min_length=1)] = Field(default_factory=lambda: list[PartName](["all"]))
    """The whole CLIP, or parts of it such as lora; the prototypes are kept beside them."""
    step: Annotated[float, Field(gt=0, le=1)] = 0.01
    """How far a prototype moves towards its texts."""
    weighting: Literal["paper", "published"] = "paper"
    """Of the texts: the paper's equation, or what the published code computes."""
    epochs: Positive = 15
    learning_rate: Rate = 1e-7
    weight_decay: Annotated[float, Field(ge=0, lt=1)] = 0.2
    schedule: Literal["constant", "cosine"] = "cosine"


class Latteclip(StudentMethod):
    """Prototypes of the classes follow their templates and the captions of their images; CLIP is fine-tuned towards them.

    An image has two labels, the frozen zero-shot answer and the nearest prototype p. Its texts are averaged, weighted by how
    clearly each is of one class; z = p + step (mean - p). The image is contrasted with the z of both labels, and a prototype
    becomes the mean of its z. Captions come from `nola describe caption`, of images, of groups of four, or both; without
    any, a class has its template alone. `tune: [all]` changes both towers and stores as much as CLIP itself; `[lora]` is small.
    `weighting: published` is the arithmetic of the published code, which lacks an unsqueeze. Differences from the paper: the
    prototypes start from the project's text classifier (`text_classifier: templates` for the paper's), texts are weighted
    against the current prototypes instead of those of the epoch's start, and CLIP's scale is not tuned.
    """

    name = "latteclip"
    title = "LatteCLIP"
    summary = "prototypes that follow templates and captions, and CLIP fine-tuned towards them"
    paper = "Cao et al., LatteCLIP: Unsupervised CLIP Fine-Tuning via LMM-Synthetic Texts, WACV 2025, section 3"
    section = Options

    captions = True

    def objective(self, student: TunedStudent, lesson: Lesson, *, options: Options, seed: int) -> Objective:
        from nola_core.students.prototypes import Prototypes

        wrong = [name for name in options.tune if name in KEPT]
        if wrong:
            raise NolaError(
                f"latteclip keeps the class embeddings itself, so {' and '.join(wrong)} would learn nothing; "
                "take it out of latteclip.tune."
            )
        if lesson.captions:
            count = len({text for texts in lesson.captions.values() for text in texts})
            print(f"latteclip: {count:,} captions of {len(lesson.captions):,} of {len(lesson.targets):,} images")
        else:
            print("latteclip: no captions, so a class has its template alone; nola describe caption asks for some")
        return Prototypes(
            student,
            labels=lesson.zero_shot.classes[:, 0],
            templates=lesson.sentences,
            captions=lesson.captions,
            step=options.step,
            weighting=options.weighting,
        )


METHOD = Latteclip()
