"""NoLA's third step: the teacher's answers tune prompts, norm layers and classifier of CLIP's vision tower."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from nola_core.methods.method import Lesson, Student, StudentMethod
from nola_core.schema import Positive, Precision, Rate, Section

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from torch import Tensor

    from nola_core.backbones.clip import Clip


class Options(Section):
    """Section `nola` of params.yaml."""

    prompt_tokens: Annotated[int, Field(ge=0)] = 16
    """Of a vision transformer."""
    prompt_frame: Annotated[float, Field(ge=0, lt=0.5)] = 0.13
    """Of any other tower: the width of the learnable frame, as a share of the image's side."""
    epochs: Positive = 50
    batch_size: Positive = 512
    learning_rate: Rate = 0.004
    weight_decay: Annotated[float, Field(ge=0, lt=1)] = 0.01
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    precision: Precision = "float32"
    """Of the vision tower, in tuning and prediction; what is learnt stays float32."""


class Nola(StudentMethod):
    """NoLA's student: prompt tokens, norm layers and classifier of CLIP's vision tower, taught by the teacher's answers.

    It sees strongly augmented views of all train images, and learns the class that the teacher gives each. It needs the
    images and a tower that can be tuned, and is slow without a GPU. It changes the features themselves, so it can become more
    accurate than its teacher; errors that the teacher makes consistently, it learns.
    """

    name = "nola"
    title = "NoLA"
    summary = "CLIP with visual prompts, taught by the teacher's answers"
    paper = "Imam et al., CLIP meets DINO for Tuning Zero-Shot Classifier using Unlabeled Image Collections, 2024, section 3.3"
    section = Options

    def tune(
        self,
        clip: Clip,
        lesson: Lesson,
        *,
        options: Options,
        seed: int,
        device: torch.device,
        checkpoint: Path | None = None,
    ) -> tuple[Student, pd.DataFrame]:
        from nola_core import tuning

        student = tuning.PromptedStudent(
            clip,
            lesson.classifier,
            prompt_tokens=options.prompt_tokens,
            prompt_frame=options.prompt_frame,
            seed=seed,
            precision=options.precision,
        )
        curve = tuning.tune(
            student, lesson.images, lesson.targets, options=options, seed=seed, device=device, checkpoint=checkpoint
        )
        return student, curve

    def restore(self, tensors: Mapping[str, Tensor], clip: Clip, *, options: Options) -> Student:
        from nola_core import tuning

        return tuning.PromptedStudent.restore(tensors, clip, precision=options.precision)


METHOD = Nola()
