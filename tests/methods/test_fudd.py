import math
from dataclasses import replace
from pathlib import Path

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from nola_core.methods.collection import Descriptions
from nola_core.methods.fudd import METHOD, Options
from nola_core.text_classifier import TextClassifier
from tests.methods.checks import is_restored, survives
from tests.methods.made import features, made, permuted

WIDE = Options(gap=0.5, descriptions=2)


def test_ambiguous_images_are_compared_by_separating_descriptions_written_out() -> None:
    collection, _ = made([8, 8, 8, 8], scale=5.0, descriptions=4)
    asked = features(collection)
    p = collection.text.predict(asked)
    phi, given_ = collection.text.tensors()["weights"], collection.descriptions
    changed = 0

    def against(one: int, other: int) -> torch.Tensor:
        rows = [row for row, owner in zip(given_.features, given_.class_ids.tolist(), strict=True) if owner == one]
        margin = {float(row @ phi[one] - row @ phi[other]): row for row in rows}
        best = [margin[value] for value in sorted(margin, reverse=True)[:2] if value > 0]
        mean = torch.stack(best).mean(dim=0)
        return normalize(phi[one] + mean / mean.norm(), dim=0)

    expected = p.clone()
    for row, values in enumerate(p.tolist()):
        a, b = sorted(range(4), key=lambda class_id: -values[class_id])[:2]
        if values[a] - values[b] < 0.5:
            scores = [math.exp(5 * float(asked["clip"][row] @ against(*pair))) for pair in ((a, b), (b, a))]
            expected[row, a] = (values[a] + values[b]) * scores[0] / sum(scores)
            expected[row, b] = (values[a] + values[b]) * scores[1] / sum(scores)
            changed += 1
    assert 0 < changed < len(p)
    torch.testing.assert_close(METHOD.fit(collection, options=WIDE, seed=0).predict(asked), expected, atol=1e-5, rtol=0)


def test_a_description_of_what_differs_decides() -> None:
    """Both names lie between the two kinds of images; the descriptions name the axis in which the kinds differ."""
    collection, truth = made([20, 20], confusion=0.0, spread=0.0)
    between = normalize(features(collection)["clip"].unique(dim=0).sum(dim=0), dim=0)
    axes = torch.stack([features(collection)["clip"][truth == kind][0] for kind in (0, 1)])
    phi = normalize(between + 0.001 * axes.flip(0), dim=1)  # the names are slightly wrong
    blind = replace(collection, text=TextClassifier(phi, 10.0))
    assert (blind.text.predict(features(blind)).argmax(dim=1) == truth).float().mean() == 0
    helped = replace(blind, descriptions=Descriptions(torch.tensor([0, 1]), axes))
    told = METHOD.fit(helped, options=Options(), seed=0).predict(features(helped))
    torch.testing.assert_close(told, helped.text.predict(features(helped)), msg="they contradict the names")
    phi = normalize(between + 0.001 * axes + 0.002 * torch.randn(16, generator=torch.Generator().manual_seed(0)), dim=1)
    helped = replace(helped, text=TextClassifier(phi, 10.0))
    told = METHOD.fit(helped, options=Options(), seed=0).predict(features(helped))
    assert (told.argmax(dim=1) == truth).all() and told.max(dim=1).values.min() > 0.7


def test_without_descriptions_or_ambiguity_it_is_the_text_classifier() -> None:
    for collection in (made([8, 8, 8])[0], made([8, 8, 8], scale=1000.0, descriptions=3)[0]):
        asked = features(collection)
        ours = METHOD.fit(collection, options=Options(gap=1e-6), seed=0).predict(asked)
        torch.testing.assert_close(ours, collection.text.predict(asked))


def test_pairs_are_the_most_frequent_ones() -> None:
    collection, _ = made([9] * 6, scale=3.0, descriptions=3)
    best = collection.text.predict(features(collection)).topk(2, dim=1)
    near = best.values[:, 0] - best.values[:, 1] < 0.5
    pairs = [tuple(sorted(row)) for row in best.indices[near].tolist()]
    most = sorted(set(pairs), key=lambda pair: (-pairs.count(pair), pair))[:3]
    found = METHOD.fit(collection, options=WIDE.model_copy(update={"pairs": 3}), seed=0).tensors()
    assert list(zip(found["lower"].tolist(), found["upper"].tolist(), strict=True)) == sorted(most)


@settings(max_examples=10, deadline=None)
@given(st.permutations(range(4)), st.integers(0, 99))
def test_permuted_classes_permute_the_answers(order: list[int], seed: int) -> None:
    collection, _ = made([4, 0, 7, 3], scale=5.0, descriptions=3, seed=seed)
    asked = features(collection)
    p = METHOD.fit(collection, options=WIDE, seed=0).predict(asked)
    other = METHOD.fit(permuted(collection, torch.tensor(order)), options=WIDE, seed=0).predict(asked)
    torch.testing.assert_close(other, p[:, order], atol=1e-5, rtol=0)


def test_any_number_of_names_and_images() -> None:
    survives(METHOD, WIDE)


def test_it_is_restored(tmp_path: Path) -> None:
    collection, _ = made([8, 8, 8, 8], scale=5.0, descriptions=4)
    is_restored(METHOD, METHOD.fit(collection, options=WIDE, seed=0), features(collection), tmp_path)
