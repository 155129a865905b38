"""Class texts and a text tower made by hand, and the classifier of some texts computed slowly."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from nola_core.methods.collection import Texts
from nola_core.methods.method import TextMethod
from nola_core.schema import Section

NAMES = ["cat", "dog", "bird"]
TEMPLATES = ["a photo of a {}.", "a {}.", "art of a {}."]


def encode(texts: Sequence[str]) -> Tensor:
    """A fixed random unit vector a text."""
    rows = [torch.randn(8, generator=torch.Generator().manual_seed(sum(map(ord, text)))) for text in texts]
    return normalize(torch.stack(rows), dim=-1)


def texts(descriptions: list[list[str]] | None = None) -> Texts:
    filled = [[template.replace("{}", name) for template in TEMPLATES] for name in NAMES]
    written = [["It purrs.", "It has whiskers."], ["It barks."], ["It flies.", "It sings.", "It lays eggs."]]
    return Texts(NAMES, filled, written if descriptions is None else descriptions, encode, 20.0, TEMPLATES)


def check(method: TextMethod, known: Texts, options: Section, groups: list[list[str]]) -> None:
    """A fitted method answers as the slow way does with these texts a class, and gives the same bits when it is restored."""
    fitted = method.fit(known, options=options)
    x = normalize(torch.randn(5, 8, generator=torch.Generator().manual_seed(3)), dim=-1)
    p = fitted.predict({"clip": x})
    for image, answer in zip(x.double(), p.double(), strict=True):
        scores = []
        for group in groups:
            mean = torch.stack([encode([text])[0].double() for text in group]).mean(dim=0)
            scores.append(torch.exp(20.0 * (image @ mean) / mean.norm()))
        torch.testing.assert_close(answer, torch.stack(scores) / sum(scores), atol=1e-5, rtol=1e-4)
    assert torch.equal(method.restore(fitted.tensors()).predict({"clip": x}), p)
    assert fitted.spaces == ("clip",)
