"""Zero-shot CLIP with all templates of the collection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nola_core.methods.method import TextMethod

if TYPE_CHECKING:
    from nola_core.methods.collection import Texts


class Templates(TextMethod):
    """The mean embedding of the class name in every template (prompt ensembling).

    The mean keeps what the sentences have in common. It helps where the templates differ and fit the images; with one
    template it equals `zero_shot`.
    """

    name = "templates"
    title = "Templates"
    summary = "CLIP with all templates of the data set"
    paper = "Radford et al., Learning Transferable Visual Models From Natural Language Supervision, ICML 2021, section 3.1.4"

    def texts(self, texts: Texts, options: Any) -> list[list[str]]:
        return texts.templates


METHOD = Templates()
