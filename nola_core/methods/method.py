"""What a method is: the three kinds, and what each is given.

This module and those of the methods import torch inside their functions alone: settings and help are read without it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from nola_core.schema import Section

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from torch import Tensor

    from nola_core.backbones.clip import Clip
    from nola_core.methods.collection import Collection, Texts
    from nola_core.students.lesson import Lesson
    from nola_core.students.objective import Objective
    from nola_core.students.student import TunedStudent

Kind = Literal["text", "features", "student"]


class Fitted(ABC):
    """A text or feature method fitted on one collection.

    Attributes:
        spaces: the feature spaces `predict` reads: `clip`, `ssl`.
        transduced: float32 [N, C], the answers of a transductive method for the very images it was fitted on, in their order;
            None of other methods, and of a restored one. `predict` would answer them as if they were new.
    """

    spaces: tuple[str, ...]
    transduced: Tensor | None = None

    @abstractmethod
    def predict(self, features: Mapping[str, Tensor]) -> Tensor:
        """Class probabilities, float32 [B, C], rows sum to 1.

        Every row is computed from its own features alone.

        Args:
            features: space -> float32 [B, d], L2-normalised rows.
        """

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """Everything `predict` needs; `Method.restore` makes the same from it."""


class Student(ABC):
    """CLIP's vision tower as a student method tuned it."""

    temperature: float
    """What the logits are divided by, above 0; the stage `tune` fits it after the tuning."""

    @abstractmethod
    def logits(self, images: Tensor) -> Tensor:
        """Logits before the temperature, float32 [B, C], of preprocessed images [B, 3, H, W] on the student's device."""

    def predict(self, images: Tensor) -> Tensor:
        """Class probabilities softmax(logits / temperature), float32 [B, C]."""
        return (self.logits(images) / self.temperature).softmax(dim=-1)

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """What was tuned, and what the tower needs to take it up again."""


class Method(ABC):
    """Base of all methods. A module of this package, or of a project's folder `methods`, holds one as `METHOD`.

    Attributes:
        name: of the module, used in params.yaml and every table: a-z, 0-9 and _.
        title: in the report.
        summary: what it does, in a few words. The docstring of the class says more, for docs/methods.md: what it computes and
            needs, when it gains and when it loses.
        paper: where it comes from, with section or equation.
        section: its options, a section of params.yaml with defaults; no keys unless it says so.
        transductive: whether it also answers the images it was fitted on together; see `Fitted.transduced`.
    """

    kind: ClassVar[Kind]
    name: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]
    paper: ClassVar[str] = ""
    section: ClassVar[type[Section]] = Section
    transductive: ClassVar[bool] = False

    def uses(self, options: Any) -> list[str]:
        """Names of other methods that it fits itself; their code counts as its own. `options` is a `section`."""
        return []


class FittedMethod(Method):
    """A method whose answers come from features."""

    @abstractmethod
    def restore(self, tensors: Mapping[str, Tensor]) -> Fitted:
        """A fitted method from its `tensors`."""


class TextMethod(FittedMethod):
    """A method that reads the class texts and no image.

    Its classifier is the mean embedding of each class's texts, unless `fit` and `restore` say otherwise.
    """

    kind = "text"
    embeds: ClassVar[bool] = True
    """Whether its classifier is one embedding a class, a `TextClassifier`, which students start from."""

    @abstractmethod
    def texts(self, texts: Texts, options: Any) -> list[list[str]]:
        """The texts each class is recognised by, at least one a class."""

    def fit(self, texts: Texts, *, options: Any) -> Fitted:
        """The classifier of these texts.

        Raises:
            NolaError: a class without a text, or features that are not finite.
        """
        from nola_core import text_classifier

        weights = text_classifier.build(texts.encode, self.texts(texts, options), names=texts.names)
        return text_classifier.TextClassifier(weights, texts.logit_scale)

    def restore(self, tensors: Mapping[str, Tensor]) -> Fitted:
        from nola_core import text_classifier

        return text_classifier.TextClassifier.restore(tensors)


class FeatureMethod(FittedMethod):
    """A method fitted on the cached features of the unlabeled images and on the text classifier."""

    kind = "features"

    @abstractmethod
    def fit(self, collection: Collection, *, options: Any, seed: int) -> Fitted:
        """Fit on the train images.

        Args:
            options: a `section`.
            seed: of everything that is drawn.
        """


class StudentMethod(Method):
    """A method that tunes CLIP on the images: a student with the parts that its options name, and an objective.

    Its `section` derives from `nola_core.students.options.Options`.

    Attributes:
        cosine: whether logits are CLIP's scaled cosines; otherwise products without normalisation, as NoLA's.
        captions: whether it reads `Lesson.captions`; new captions then rerun the stage `tune`.
    """

    kind = "student"
    cosine: ClassVar[bool] = True
    captions: ClassVar[bool] = False

    def start(self, lesson: Lesson, *, options: Any, seed: int) -> Tensor:
        """The class embeddings a student begins with, float32 [C, d]: by default the text classifier. CLIP is still untouched."""
        return lesson.classifier

    @abstractmethod
    def objective(self, student: TunedStudent, lesson: Lesson, *, options: Any, seed: int) -> Objective:
        """What the student learns.

        Args:
            student: new, before its first step; its `fixed` is what `start` gave.
            options: a `section`.
            seed: of everything that is drawn.
        """

    def tune(
        self,
        clip: Clip,
        lesson: Lesson,
        *,
        options: Any,
        seed: int,
        device: torch.device,
        checkpoint: Path | None = None,
    ) -> tuple[Student, pd.DataFrame]:
        """Tune `clip`'s towers in place.

        Args:
            options: a `section`.
            seed: of everything that is drawn.
            checkpoint: a file to write after every epoch and to resume from.

        Returns:
            The student, and its curve; see `nola_core.students.loop.tune`.

        Raises:
            NolaError: the parts do not go together, or the loss is not finite.
        """
        from nola_core.students import loop
        from nola_core.students.student import TunedStudent

        scale = clip.logit_scale if self.cosine else None
        student = TunedStudent.make(
            clip,
            self.start(lesson, options=options, seed=seed),
            names=lesson.texts.names,
            texts=lesson.sentences,
            options=options,
            seed=seed,
            scale=scale,
        ).to(device)
        curve = loop.tune(
            student,
            lesson.images,
            self.objective(student, lesson, options=options, seed=seed),
            targets=lesson.targets,
            options=options,
            section=self.name,
            seed=seed,
            device=device,
            checkpoint=checkpoint,
        )
        return student, curve

    def restore(self, tensors: Mapping[str, Tensor], clip: Clip, *, options: Any) -> Student:
        """Put a student's `tensors` into `clip`'s vision tower, in place.

        Raises:
            NolaError: they do not fit the tower.
        """
        from nola_core.students.student import TunedStudent

        return TunedStudent.restore(tensors, clip, precision=options.precision)


@dataclass(frozen=True)
class Listed:
    """What tables and pages say of a method; made without importing it."""

    name: str
    title: str
    summary: str
    kind: Kind


@dataclass(frozen=True)
class InForce:
    """The methods a project runs, and the parts they play. Entries of `evaluate` and `report` carry it, and metrics.json.

    Attributes:
        methods: in the order of params.yaml, the order of all tables.
        text_classifier: the text method that the others start from.
        teacher: the method that teaches the students.
        final: the method whose predictions are the product.
    """

    methods: tuple[Listed, ...]
    text_classifier: str
    teacher: str
    final: str

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> InForce:
        """From `values()`, as JSON gives it back."""
        return cls(**{**values, "methods": tuple(Listed(**one) for one in values["methods"])})

    def values(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {**vars(self), "methods": [vars(one) for one in self.methods]}

    @property
    def names(self) -> list[str]:
        """Of the methods, in order."""
        return [one.name for one in self.methods]

    @property
    def baseline(self) -> str:
        """The method that gains are measured from: `zero_shot`, or the first in the order where it does not run."""
        return "zero_shot" if "zero_shot" in self.names else self.names[0]

    def __getitem__(self, name: str) -> Listed:
        """A method by its name."""
        return next(one for one in self.methods if one.name == name)


Encode = Callable[[Sequence[str]], "Tensor"]
"""Texts -> L2-normalised float32 [n, d]."""
