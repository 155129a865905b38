"""The student: a CLIP with the parts that learn, and class embeddings; images in, logits out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.nn.utils import parametrize

from nola_core.backbones.clip import Clip
from nola_core.device import autocast
from nola_core.errors import NolaError
from nola_core.methods.method import Student
from nola_core.schema import Precision
from nola_core.students import parts
from nola_core.students.options import Options
from nola_core.students.parts.part import RECORD, Part, Setting


class TunedStudent(nn.Module, Student):
    """A tuned CLIP: images -> logits [B, C].

    Without a scale the logits are f(x) W^T, no normalisation and no temperature, as NoLA has them. With one they are
    scale * cos(f(x), w_c), as CLIP has them.

    Attributes:
        parts: what learns.
        scale: of the cosines, or None.
        prototypes: whether an objective keeps the class embeddings itself, in `fixed`, whatever the parts make of the texts.
        temperature: what `predict` divides the logits by; 1 until something fits it. The tuning does not see it.
    """

    def __init__(
        self,
        clip: Clip,
        learnt: Sequence[Part],
        classifier: Tensor,
        *,
        scale: float | None = None,
        precision: Precision = "float32",
    ) -> None:
        super().__init__()
        self.clip, self.scale, self.precision = clip, scale, precision
        self.temperature = 1.0
        self.finished = self.prototypes = False
        self._shared: Tensor | None = None
        self.parts = nn.ModuleList(learnt)
        self.tower: nn.Module = next((tower for part in learnt if (tower := part.vision()) is not None), clip.image.module)
        self.fixed: Tensor
        self.register_buffer("fixed", classifier.clone(), persistent=False)

    @classmethod
    def make(
        cls,
        clip: Clip,
        classifier: Tensor,
        *,
        names: Sequence[str] = (),
        texts: Sequence[str] = (),
        options: Options,
        seed: int,
        scale: float | None = None,
    ) -> TunedStudent:
        """A new student of `clip`, whose towers it changes in place, with the parts that `options.tune` names.

        Args:
            classifier: float32 [C, d], the text classifier it starts from.
            names: of the classes, for parts that put learnable words before them.
            texts: a text a class, for parts that change how the text tower encodes it.
            seed: of the prompts.

        Raises:
            NolaError: the parts do not go together, or not with this CLIP.
        """
        generator = torch.Generator().manual_seed(seed)
        learnt = parts.make(options.tune, Setting(clip, classifier, names, texts, options, generator))
        return cls(clip, learnt, classifier, scale=scale, precision=options.precision)

    def features(self, images: Tensor) -> Tensor:
        """float32 [B, d], not normalised, of normalised images [B, 3, H, W]."""
        tracing = torch.jit.is_tracing()  # type: ignore[attr-defined]
        once = nullcontext() if tracing else parametrize.cached()  # torch refuses the cache in a trace
        with autocast(images.device, self.precision), once:
            features: Tensor = self.tower(images)
        return features.float()

    def classes(self) -> Tensor:
        """The class embeddings, float32 [C, d], with their gradient where they learn."""
        if self.finished or self.prototypes:
            return self.fixed
        if self._shared is not None:
            return self._shared
        learnt = [classes for part in self.learnt if (classes := part.classes()) is not None]
        return learnt[0].float() if learnt else self.fixed

    @contextmanager
    def sharing_classes(self) -> Iterator[None]:
        """A context for a batch whose losses are added up in parts: texts are encoded once for all of them.

        The gradients that the parts leave at the class embeddings go on into the text tower together, at the end.
        """
        made = self.classes()
        if made.is_leaf:  # learnt themselves, or fixed
            yield
            return
        self._shared = shared = made.detach().requires_grad_()
        try:
            yield
        finally:
            self._shared = None
        if shared.grad is not None:
            made.backward(shared.grad)

    def head(self, features: Tensor, classes: Tensor) -> Tensor:
        """Logits [B, C] of features [B, d] and class embeddings [C, d]."""
        if self.scale is None:
            return features @ classes.T
        return self.scale * normalize(features, dim=-1) @ normalize(classes, dim=-1).T

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images), self.classes())

    @property
    def learnt(self) -> list[Part]:
        """`parts` as a list."""
        return [part for part in self.parts if isinstance(part, Part)]

    def trained(self) -> dict[str, nn.Parameter]:
        """Everything that learns, by the names that checkpoints use."""
        return {name: parameter for part in self.learnt for name, parameter in part.trained().items()}

    @torch.inference_mode()
    def logits(self, images: Tensor) -> Tensor:
        return self(images)

    @contextmanager
    def using(self, values: Mapping[str, Tensor]) -> Iterator[None]:
        """A context in which the trained parameters have other values, such as their moving averages.

        Afterwards they are the same tensors again, so that gradients of what was computed before can still be taken.
        """
        mine = self.trained()
        kept = {name: mine[name].data for name in values}
        self._shared, shared = None, self._shared
        try:
            for name, value in values.items():
                mine[name].data = value.detach().to(mine[name].device)
            yield
        finally:
            for name, value in kept.items():
                mine[name].data = value
            self._shared = shared

    @torch.no_grad()
    def put(self, values: Mapping[str, Tensor]) -> None:
        """Set trained parameters by name."""
        mine = self.trained()
        for name, value in values.items():
            mine[name].copy_(value)

    def values(self) -> dict[str, Tensor]:
        """A copy of everything that learns."""
        return {name: parameter.detach().clone() for name, parameter in self.trained().items()}

    def finish(self) -> None:
        """Freeze the student: it learns no more, and its class embeddings are no longer computed from texts."""
        with torch.no_grad():
            self.fixed = self.classes().detach().clone()
        self.finished = True
        self.eval().requires_grad_(False)
        for parameter in self.trained().values():  # those of the text tower are no parameters of this module
            parameter.requires_grad_(False)

    def unmerged(self) -> list[str]:
        """The parts that plain CLIP weights cannot take up, by name."""
        return [part.name for part in self.learnt if not part.merges]

    def merge(self) -> None:
        """Write the parts into the weights of `clip`, so that open_clip alone gives the features from `clip.model`.

        The student is finished by this. Its class embeddings go beside those weights.

        Raises:
            NolaError: plain weights cannot take up a part.
        """
        if kept := self.unmerged():
            raise NolaError(f"plain CLIP weights cannot take up {' and '.join(kept)}; choose other parts in tune for open_clip.")
        self.finish()
        for part in self.learnt:
            part.merge()

    def tensors(self) -> dict[str, Tensor]:
        with torch.no_grad():
            stored = {name: value for part in self.learnt for name, value in part.stored().items()} | {
                "classifier": self.classes()
            }
        numbers = {"temperature": self.temperature} | ({} if self.scale is None else {"scale": self.scale})
        return {**stored, **{name: torch.tensor(value, dtype=torch.float64) for name, value in numbers.items()}}

    @classmethod
    def restore(cls, tensors: Mapping[str, Tensor], clip: Clip, *, precision: Precision = "float32") -> TunedStudent:
        """Put `tensors()` into `clip`'s tower (in place) and return the student, frozen, on the tower's device.

        Raises:
            NolaError: the tensors do not fit the tower, or the temperature is not above 0.
        """
        temperature = float(tensors.get("temperature", 1.0))  # earlier versions wrote none
        if not 0 < temperature < math.inf:
            raise NolaError(f"the student has the temperature {temperature}, which must be above 0; run tune again.")
        scale = float(tensors["scale"]) if "scale" in tensors else None
        unfit = NolaError(f"the student does not fit the vision tower of {clip.image.meta['model']}; run tune again.")
        try:
            learnt = parts.restore(tensors, clip)
        except (KeyError, RuntimeError) as error:
            raise unfit from error
        known = {"classifier", "temperature", "scale", *(name for part in learnt for name in part.stored())}
        if any(name not in known and not name.startswith(RECORD) for name in tensors):
            raise unfit
        student = cls(clip, learnt, tensors["classifier"], scale=scale, precision=precision)
        student.temperature, student.finished = temperature, True
        student.eval().requires_grad_(False)
        return student.to(next(clip.model.parameters()).device)
