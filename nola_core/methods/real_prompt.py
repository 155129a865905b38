"""REAL-prompt: the name of a class that is most frequent in CLIP's pre-training texts."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from nola_core.methods.method import TextMethod
from nola_core.schema import Section
from nola_core.text import printable

if TYPE_CHECKING:
    from nola_core.methods.collection import Texts


class Options(Section):
    """Section `real_prompt` of params.yaml."""

    frequencies: dict[str, dict[str, Annotated[float, Field(ge=0)]]] = Field(default={})
    """Class name -> its synonyms and how often each occurs in the pre-training texts, such as
    `cash machine: {cash machine: 300, ATM: 12000}`. The class name itself counts 0 where it is not among them."""


class RealPrompt(TextMethod):
    """Templates with each class called by its most frequent synonym.

    It needs a table of how often each synonym occurs in CLIP's pre-training texts. It helps classes with rare names (`cash
    machine`: `ATM`). Without a table it equals `templates`.
    """

    name = "real_prompt"
    title = "REAL-prompt"
    summary = "templates with the synonym of each class name that is most frequent in pre-training; needs a frequency table"
    paper = "Parashar et al., The Neglected Tails in Vision-Language Models, CVPR 2024, section 4.1"
    section = Options

    def texts(self, texts: Texts, options: Options) -> list[list[str]]:
        from nola_core.text_classifier import fill

        known = [name for name in texts.names if name in options.frequencies]
        if not known:
            print("real_prompt: no class has synonyms in real_prompt.frequencies, so it equals templates.", file=sys.stderr)
            return texts.templates
        foreign = [name for name in options.frequencies if name not in texts.names]
        if foreign:
            some = ", ".join(f"'{printable(name)}'" for name in foreign[:5])
            print(f"real_prompt: {len(foreign)} names of real_prompt.frequencies are no classes here: {some}.", file=sys.stderr)
        return fill(texts.patterns, [most_frequent(name, options.frequencies.get(name, {})) for name in texts.names])


def most_frequent(name: str, frequencies: dict[str, float]) -> str:
    """The most frequent of a class name and its synonyms; among equal ones the name, then the first."""
    candidates = {name: frequencies.get(name, 0.0), **frequencies}
    return max(candidates, key=lambda candidate: candidates[candidate])


METHOD = RealPrompt()
