"""FPL: prompts learnt from a few pseudo-labels a class that never change."""

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

PAPER = "Menghini et al., Enhancing CLIP with CLIP: Exploring Pseudolabeling for Limited-Label Prompt Tuning, 2023, section 3"


class Prompts(Shared):
    """What FPL, IFPL and GRIP share."""

    tune: list[PartName] = Field(default=["context"], min_length=1)
    """The paper's prompts: `context` for textual ones, `tokens` for visual ones, `coupled` for both."""
    context_tokens: Positive = 16
    epochs: Positive = 150
    batch_size: Positive = 16
    optimizer: Literal["adamw", "sgd"] = "sgd"
    learning_rate: Rate = 0.1
    weight_decay: Annotated[float, Field(ge=0, lt=1)] = 0.1
    schedule: Literal["constant", "cosine"] = "cosine"
    warmup_epochs: Annotated[int, Field(ge=0)] = 5


class Options(Prompts):
    """Section `fpl` of params.yaml."""

    per_class: Positive = 16
    """Pseudo-labels a class at most."""


class Fpl(StudentMethod):
    """Prompts learn from the `per_class` images of every class that the text classifier is most confident about.

    `tune: [context]` are the paper's textual prompts, `[tokens]` its visual ones, `[coupled]` those of both towers. The
    project's teacher plays no part. Differences from the paper: a class that is predicted for fewer images keeps these,
    where the published code fills it with images predicted as others; and all pseudo-labels are learnt from, where the code
    holds a fifth of them back.
    """

    name = "fpl"
    title = "FPL"
    summary = "CLIP with learnt prompts, taught by a few pseudo-labels a class that the text classifier gives once"
    paper = PAPER
    section = Options

    def objective(self, student: TunedStudent, lesson: Lesson, *, options: Options, seed: int) -> Objective:
        from nola_core.students.rounds import Rounds

        return Rounds(lesson.zero_shot, sizes=[options.per_class], epochs=options.epochs, section=self.name)


METHOD = Fpl()
