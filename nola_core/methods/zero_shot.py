"""Zero-shot CLIP with one template."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nola_core.methods.method import TextMethod

if TYPE_CHECKING:
    from nola_core.methods.collection import Texts


class ZeroShot(TextMethod):
    """The class name in the first template of the collection.

    An image gets the class whose sentence is nearest in CLIP's space. It needs nothing but the names. Reports measure gains
    from it. It fails where a name is ambiguous, or says little about how the class looks.
    """

    name = "zero_shot"
    title = "Zero-shot"
    summary = "CLIP with each class name in one sentence"
    paper = "Radford et al., Learning Transferable Visual Models From Natural Language Supervision, ICML 2021, section 3.1"

    def texts(self, texts: Texts, options: Any) -> list[list[str]]:
        return [filled[:1] for filled in texts.templates]


METHOD = ZeroShot()
