from pathlib import Path

import torch
from torch.nn.functional import normalize

from nola_core.descriptors import DescriptorClassifier, fired
from nola_core.methods.described import METHOD
from tests.methods.checks import is_restored
from tests.methods.made import encode, made_texts

TEXTS = made_texts(["cat", "dog", "emu"], [["whiskers", "purrs", "claws"], ["barks"], []])
X = normalize(torch.randn(300, 16, generator=torch.Generator().manual_seed(0)), dim=1)


def fitted() -> DescriptorClassifier:
    found = METHOD.fit(TEXTS, options=None)
    assert isinstance(found, DescriptorClassifier)
    return found


def test_a_class_scores_the_mean_cosine_over_its_descriptors() -> None:
    groups = [["whiskers", "purrs", "claws"], ["barks"], ["a photo of a emu.", "art of emu"]]
    scores = torch.zeros(len(X), 3)
    for row, x in enumerate(X):
        for class_id, group in enumerate(groups):
            scores[row, class_id] = sum(float(x @ encode([text])[0]) for text in group) / len(group)
    torch.testing.assert_close(fitted().predict({"clip": X}), (20 * scores).softmax(dim=1), atol=1e-5, rtol=0)


def test_the_descriptors_that_fired_are_the_nearest_of_the_class() -> None:
    places, cosines = fired(fitted(), X, classes=torch.zeros(len(X), dtype=torch.int64), most=2)
    for x, some, similar in zip(X, places.tolist(), cosines, strict=True):
        by_hand = sorted(range(3), key=lambda place: -float(x @ encode([TEXTS.descriptions[0][place]])[0]))
        assert some == by_hand[:2]
        torch.testing.assert_close(similar, encode([TEXTS.descriptions[0][place] for place in some]) @ x)


def test_the_predicted_class_is_explained_and_missing_descriptors_are_marked() -> None:
    described = fitted()
    places, cosines = fired(described, X, most=3)
    predicted = described.predict({"clip": X}).argmax(dim=1)
    assert torch.equal((places >= 0).sum(dim=1), torch.tensor([3, 1, 2])[predicted])
    assert torch.equal(cosines.isnan(), places < 0)


def test_it_is_restored(tmp_path: Path) -> None:
    is_restored(METHOD, fitted(), {"clip": X}, tmp_path)
    restored = DescriptorClassifier.restore(fitted().tensors())
    assert torch.equal(fired(restored, X)[0], fired(fitted(), X)[0])
