"""NoLA's first step: the class-description embedding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from nola_core.methods.method import TextMethod
from nola_core.schema import Section

if TYPE_CHECKING:
    from nola_core.methods.collection import Texts


class Options(Section):
    """Section `cde` of params.yaml."""

    texts: Literal["both", "descriptions", "templates"] = "both"
    """What is averaged. Without any description in the whole collection it is the templates alone."""


class Cde(TextMethod):
    """The mean embedding of a class's descriptions and of its filled-in templates: NoLA's first step.

    It needs descriptions; a collection without any has the templates alone. It helps where the sentences say how a class
    looks and the text tower understands them. Weak towers, and sentences that fit several classes, lose accuracy.
    """

    name = "cde"
    title = "Descriptions (CDE)"
    summary = "CLIP with templates and class descriptions"
    paper = "Imam et al., CLIP meets DINO for Tuning Zero-Shot Classifier using Unlabeled Image Collections, 2024, section 3.1"
    section = Options

    def texts(self, texts: Texts, options: Options) -> list[list[str]]:
        if options.texts == "templates" or not any(texts.descriptions):
            return texts.templates
        if options.texts == "descriptions":
            return texts.descriptions
        return [mine + filled for mine, filled in zip(texts.descriptions, texts.templates, strict=True)]


METHOD = Cde()
