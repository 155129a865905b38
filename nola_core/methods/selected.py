"""Description selection: of each class the descriptions that separate it from the classes next to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nola_core.methods.method import TextMethod
from nola_core.schema import Positive, Section

if TYPE_CHECKING:
    from nola_core.methods.collection import Texts


class Options(Section):
    """Section `selected` of params.yaml."""

    neighbors: Positive = 5
    """Nearest classes in text space that a description must tell its class from."""
    descriptions: Positive = 10
    """At most so many a class, those that separate it best."""
    templates: bool = True
    """Whether the templates are averaged in; a class without a separating description has them alone."""


class Selected(TextMethod):
    """The class-description embedding of the descriptions that separate a class from its neighbours in text space.

    A description separates its class if it is nearer to the mean of the class's other texts than to the mean of any
    neighbouring class; those with the largest margin over the neighbours, on average, come first. It needs descriptions, and
    no image. It helps where many sentences are vague. What separates two classes as texts need not separate their images, and
    then it loses.
    """

    name = "selected"
    title = "Selected descriptions"
    summary = "CLIP with the descriptions that separate each class from similar ones"
    paper = "Ali et al., Does VLM Classification Benefit from LLM Description Semantics?, AAAI 2025, section 3; in text space"
    section = Options

    def texts(self, texts: Texts, options: Options) -> list[list[str]]:
        import torch

        from nola_core.description_quality import separation

        described = [(class_id, text) for class_id, group in enumerate(texts.descriptions) for text in dict.fromkeys(group)]
        if not described or len(texts.names) < 2:
            return texts.templates
        class_ids = torch.tensor([class_id for class_id, _ in described])
        features = texts.encode([text for _, text in described])
        templates = torch.stack([texts.encode(filled).sum(dim=0) for filled in texts.templates])
        own, _, rival, margin = separation(features, class_ids, templates, neighbors=options.neighbors)
        chosen: list[list[str]] = [[] for _ in texts.names]
        for row in margin.argsort(descending=True, stable=True).tolist():
            class_id, text = described[row]
            if own[row] > rival[row] and len(chosen[class_id]) < options.descriptions:
                chosen[class_id].append(text)
        if options.templates:
            return [mine + filled for mine, filled in zip(chosen, texts.templates, strict=True)]
        return [mine or filled for mine, filled in zip(chosen, texts.templates, strict=True)]


METHOD = Selected()
