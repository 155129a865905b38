"""Where a student's parameters sit: one module a part; `params.yaml` names the parts of a student method in its option `tune`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from nola_core.backbones.clip import Clip
from nola_core.errors import NolaError
from nola_core.students.parts.all_weights import AllWeights
from nola_core.students.parts.classifier import ClassEmbeddings
from nola_core.students.parts.context import Context
from nola_core.students.parts.coupled import Coupled
from nola_core.students.parts.deep_tokens import DeepTokens
from nola_core.students.parts.frame import Frame
from nola_core.students.parts.lora import Lora
from nola_core.students.parts.norms import Norms
from nola_core.students.parts.part import Part, Setting
from nola_core.students.parts.singular_values import SingularValues
from nola_core.students.parts.tokens import Tokens
from nola_core.students.prompting import takes_tokens

PARTS: dict[str, type[Part]] = {
    part.name: part
    for part in (Tokens, DeepTokens, Frame, Norms, Context, Coupled, SingularValues, Lora, AllWeights, ClassEmbeddings)
}
"""By the names that the option `tune` uses."""


def make(names: Sequence[str], setting: Setting) -> list[Part]:
    """The parts of a new student.

    `tokens` in a tower that takes none becomes a `frame`.

    Raises:
        NolaError: two of them change the same thing, or the towers cannot take one.
    """
    if not takes_tokens(setting.clip.image.module):
        names = ["frame" if name == "tokens" else name for name in names]
    chosen = [PARTS[name] for name in dict.fromkeys(names)]
    for what in dict.fromkeys(what for part in chosen for what in part.changes):
        some = [part.name for part in chosen if what in part.changes]
        if len(some) > 1:
            raise NolaError(f"tune names {' and '.join(some)}, which both change {what}; keep one of them.")
    return [part.make(setting) for part in chosen]


def restore(tensors: Mapping[str, Tensor], clip: Clip) -> list[Part]:
    """The parts of a stored student; see `Part.restore`."""
    restored = [part.restore(tensors, clip) for part in PARTS.values()]
    return [part for part in restored if part is not None]
