"""LaFTer: a classifier trained on texts alone labels the images, and CLIP is tuned on these labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from nola_core.methods.method import StudentMethod
from nola_core.schema import Positive, Rate
from nola_core.students.options import Options as Shared

if TYPE_CHECKING:
    from torch import Tensor

    from nola_core.students.lesson import Lesson
    from nola_core.students.objective import Objective
    from nola_core.students.student import TunedStudent


class Options(Shared):
    """Section `lafter` of params.yaml."""

    prompt_tokens: Annotated[int, Field(ge=0)] = 50
    batch_size: Positive = 50
    learning_rate: Rate = 0.0005
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """In both trainings."""
    text_steps: Positive = 500
    """Of the text classifier's training. The authors chose 400 to 5500 by data set; here one number serves all."""
    text_noise: Annotated[float, Field(ge=0)] = 0.1
    """Standard deviation of the noise on text features."""
    text_learning_rate: Rate = 0.0005


class Lafter(StudentMethod):
    """A linear classifier, trained on the features of descriptions and templates alone, teaches CLIP with visual prompts.

    The training adds noise to the features in every step. The classifier answers once for every image's cached feature, and
    the student begins with its class embeddings. The project's teacher plays no part. It helps where there are many
    descriptions that fit their classes. Logits are products without a temperature. Differences from the paper: `text_steps`
    is one number, where the authors chose 400 to 5500 by data set; the strong views are NoLA's; and the last epoch is the
    result, not the best one on the test images.
    """

    name = "lafter"
    title = "LaFTer"
    summary = "CLIP with visual prompts, taught by a linear classifier trained on the class texts alone"
    paper = "Mirza et al., LaFTer: Label-Free Tuning of Zero-shot Classifier using Language and Unlabeled Image Collections, 2023"
    section = Options
    cosine = False

    def start(self, lesson: Lesson, *, options: Options, seed: int) -> Tensor:
        import torch

        from nola_core import text_classifier
        from nola_core.students import text_only

        texts = lesson.texts
        groups = [list(some) + list(others) for some, others in zip(texts.descriptions, texts.templates, strict=True)]
        features = text_classifier.encoded(texts.encode, groups, names=texts.names)
        sizes = torch.tensor([len(group) for group in features])
        return text_only.train(
            torch.cat(features),
            torch.repeat_interleave(torch.arange(len(sizes)), sizes),
            len(sizes),
            noise=options.text_noise,
            smoothing=options.label_smoothing,
            steps=options.text_steps,
            learning_rate=options.text_learning_rate,
            seed=seed,
        )

    def objective(self, student: TunedStudent, lesson: Lesson, *, options: Options, seed: int) -> Objective:
        from nola_core.students import text_only
        from nola_core.students.objective import HardTargets

        return HardTargets(text_only.answers(lesson.features, student.fixed.cpu()), smoothing=options.label_smoothing)


METHOD = Lafter()
