"""FuDD: descriptions that tell two confusable classes apart decide between these two."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from nola_core.methods.method import FeatureMethod, Fitted
from nola_core.schema import Fraction, Positive, Section

if TYPE_CHECKING:
    from torch import Tensor

    from nola_core.methods.collection import Collection
    from nola_core.text_classifier import TextClassifier


class Options(Section):
    """Section `fudd` of params.yaml."""

    gap: Fraction = 0.1
    """An image is ambiguous if its two largest probabilities differ by less."""
    pairs: Positive = 1000
    """Pairs of classes that are told apart: those with the most ambiguous images."""
    descriptions: Positive = 5
    """Of each class against the other, at most: those that separate the two best."""


class Fudd(FeatureMethod):
    """The text classifier, except that for an ambiguous image its two best classes are compared again.

    The pairs are the two best classes of the ambiguous unlabeled images. In a pair (a, b), a is described by its descriptions
    d with the largest `d . phi_a - d . phi_b` above 0; their mean is added to phi_a, and b likewise. The two share the
    probability that the text classifier gives both, by the softmax of their new scores. It needs descriptions: the paper asks
    a language model about each pair; answers of `nola describe refine` are among the descriptions, and where there are none
    the existing ones do. It can gain only in such pairs.
    """

    name = "fudd"
    title = "FuDD"
    summary = "text classifier; the two classes of an ambiguous image are compared by the descriptions that separate them"
    paper = (
        "Esfandiarpoor and Bach, Follow-Up Differential Descriptions: Language Models Resolve Ambiguities for Image "
        "Classification, ICLR 2024, section 3, with the two best classes"
    )
    section = Options

    def fit(self, collection: Collection, *, options: Options, seed: int) -> Fitted:
        import torch

        from nola_core.algebra import posterior

        text, logits = posterior.of_all(collection)
        classes = len(text.weights)
        found = _Pairs.none(classes, text)
        if classes > 1:
            best = logits.softmax(dim=1).topk(2, dim=1)
            ambiguous = best.values[:, 0] - best.values[:, 1] < options.gap
            asked = best.indices[ambiguous].sort(dim=1).values
            keys, counts = torch.unique(asked[:, 0] * classes + asked[:, 1], return_counts=True)
            keys = keys[counts.argsort(descending=True, stable=True)[: options.pairs]].sort().values
            found = _Pairs.of(keys, collection, text, options.descriptions)
        return Differential(
            {
                **posterior.tensors(text),
                "lower": found.lower.float(),  # class ids are exact in float32 up to 16 million
                "upper": found.upper.float(),
                "of_lower": found.of_lower,
                "of_upper": found.of_upper,
                "gap": torch.tensor(options.gap, dtype=torch.float64),
            }
        )

    def restore(self, tensors: Mapping[str, Tensor]) -> Fitted:
        return Differential(tensors)


class _Pairs:
    """P pairs of classes, int64 [P] each, and their embeddings against each other, float32 [P, d]."""

    def __init__(self, lower: Tensor, upper: Tensor, of_lower: Tensor, of_upper: Tensor) -> None:
        self.lower, self.upper, self.of_lower, self.of_upper = lower, upper, of_lower, of_upper

    @classmethod
    def none(cls, classes: int, text: TextClassifier) -> _Pairs:
        """No pair."""
        import torch

        ids, rows = torch.empty(0, dtype=torch.int64), torch.empty(0, text.weights.shape[1])
        return cls(ids, ids, rows, rows)

    @classmethod
    def of(cls, keys: Tensor, collection: Collection, text: TextClassifier, most: int) -> _Pairs:
        """The pairs lower * C + upper that some description separates, in order."""
        import torch
        from torch.nn.functional import normalize

        phi, described = normalize(text.weights, dim=1), collection.descriptions
        mine = [described.features[described.class_ids == class_id] for class_id in range(len(phi))]

        def against(one: int, other: int) -> Tensor | None:
            margins = mine[one] @ (phi[one] - phi[other]) if len(mine[one]) else torch.empty(0)
            rows = margins.argsort(descending=True, stable=True)[:most]
            rows = rows[margins[rows] > 0]
            if not len(rows):
                return None
            return normalize(phi[one] + normalize(mine[one][rows].mean(dim=0), dim=0), dim=0)

        kept = []
        for key in keys.tolist():
            lower, upper = divmod(key, len(phi))
            one, two = against(lower, upper), against(upper, lower)
            if one is not None or two is not None:
                kept.append((lower, upper, phi[lower] if one is None else one, phi[upper] if two is None else two))
        if not kept:
            return cls.none(len(phi), text)
        lowers, uppers, ones, twos = zip(*kept, strict=True)
        return cls(torch.tensor(lowers), torch.tensor(uppers), torch.stack(ones), torch.stack(twos))


class Differential(Fitted):
    """The text classifier, and embeddings of pairs of classes against each other, float32 [P, d]."""

    spaces = ("clip",)

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        from nola_core.algebra import posterior
        from nola_core.algebra.rowwise import packed

        self._tensors = tensors = packed(tensors)
        self._text = posterior.restore(tensors)
        self._keys = tensors["lower"].long() * len(self._text.weights) + tensors["upper"].long()
        self._gap = float(tensors["gap"])

    def predict(self, features: Mapping[str, Tensor]) -> Tensor:
        import torch

        from nola_core.algebra import posterior

        x = features[posterior.SPACE]
        p = posterior.logits(self._text, x).softmax(dim=1)
        if not len(self._keys):
            return p
        best = p.topk(2, dim=1)
        two = best.indices.sort(dim=1).values
        keys = two[:, 0] * p.shape[1] + two[:, 1]
        place = torch.searchsorted(self._keys, keys).clamp_max(len(self._keys) - 1)
        known = (self._keys[place] == keys) & (best.values[:, 0] - best.values[:, 1] < self._gap)
        scores = torch.stack([(x * self._tensors[name][place]).sum(dim=1) for name in ("of_lower", "of_upper")], dim=1)
        shared = best.values.sum(dim=1, keepdim=True) * (self._text.logit_scale * scores).softmax(dim=1)
        return torch.where(known[:, None], p.scatter(1, two, shared), p)

    def tensors(self) -> dict[str, Tensor]:
        return dict(self._tensors)


METHOD = Fudd()
