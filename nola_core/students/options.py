"""Options that all student methods share: which parts learn, and how they are optimised."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from nola_core.schema import Positive, Precision, Rate, Section

PartName = Literal[
    "tokens", "deep_tokens", "frame", "norms", "context", "coupled", "singular_values", "lora", "all", "classifier"
]
"""As of `nola_core.students.parts`, which needs torch."""

NOLA: list[PartName] = ["tokens", "norms", "classifier"]


class Options(Section):
    """A student method's section derives from this one and sets its own defaults.

    Attributes:
        betas: of AdamW, the method's own.
        epsilon: likewise.
    """

    betas: ClassVar[tuple[float, float]] = (0.9, 0.999)
    epsilon: ClassVar[float] = 1e-8
    tune: Annotated[list[PartName], Field(min_length=1)] = Field(default_factory=lambda: list(NOLA))
    """What learns: tokens (a frame in towers that take none), deep_tokens, frame, norms, context, coupled, singular_values,
    lora, all, classifier; `nola methods --parts` explains."""
    prompt_tokens: Annotated[int, Field(ge=0)] = 16
    """Of a vision transformer, a layer."""
    prompt_frame: Annotated[float, Field(ge=0, lt=0.5)] = 0.13
    """The width of the learnable frame, as a share of the image's side."""
    prompt_depth: Positive = 9
    """Blocks that deep_tokens and coupled prompt, from the first one on; all where there are fewer."""
    context_tokens: Positive = 4
    """Learnable words of context and coupled; they begin as "a photo of a" where there are four."""
    lora_rank: Positive = 4
    epochs: Positive = 50
    batch_size: Positive = 512
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """AdamW with `betas` and `epsilon`, or SGD with a momentum of 0.9."""
    learning_rate: Rate = 0.004
    weight_decay: Annotated[float, Field(ge=0, lt=1)] = 0.01
    """Not of biases."""
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_epochs: Annotated[int, Field(ge=0)] = 0
    """Epochs in which the learning rate rises evenly from a tenth."""
    precision: Precision = "float32"
    """Of the vision tower, in tuning and prediction; what is learnt stays float32."""
