import math
from pathlib import Path

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nola_core.methods.caps_adapter import METHOD, Options
from tests.methods.checks import is_restored, survives
from tests.methods.made import features, made, permuted


def test_it_adds_the_mean_affinity_to_the_supports_written_out() -> None:
    collection, _ = made([6, 5, 4], per_class=3)
    p = METHOD.fit(collection, options=Options(supports=2, beta=3.0, weight=4.0), seed=0).predict(features(collection))
    x = features(collection)["clip"].double()
    labels = collection.pseudo_labels
    logits = 10 * x @ collection.text.tensors()["weights"].double().T
    for row in range(len(x)):
        for class_id in range(3):
            mine = labels[labels["class_id"] == class_id].nlargest(2, "confidence")["image_id"]
            affinities = [math.exp(-3.0 * (1 - float(x[row] @ x[int(image_id)]))) for image_id in mine]
            logits[row, class_id] += 4.0 * sum(affinities) / max(len(affinities), 1)
    torch.testing.assert_close(p, logits.softmax(dim=1).float(), atol=1e-5, rtol=0)


def test_without_weight_it_is_zero_shot() -> None:
    collection, _ = made([6, 5, 4])
    asked = features(collection)
    ours = METHOD.fit(collection, options=Options(weight=0.0), seed=0).predict(asked)
    torch.testing.assert_close(ours, collection.text.predict(asked), atol=1e-5, rtol=0)


@settings(max_examples=10, deadline=None)
@given(st.permutations(range(4)), st.integers(0, 99))
def test_permuted_classes_permute_the_answers(order: list[int], seed: int) -> None:
    collection, _ = made([4, 0, 7, 3], seed=seed)
    asked = features(collection)
    p = METHOD.fit(collection, options=Options(), seed=0).predict(asked)
    other = METHOD.fit(permuted(collection, torch.tensor(order)), options=Options(), seed=0).predict(asked)
    torch.testing.assert_close(other, p[:, order], atol=1e-5, rtol=0)


def test_any_number_of_names_and_images() -> None:
    survives(METHOD, Options())


def test_it_is_restored(tmp_path: Path) -> None:
    collection, _ = made([6, 5, 4])
    is_restored(METHOD, METHOD.fit(collection, options=Options(), seed=0), features(collection), tmp_path)


def test_without_pseudo_labels_it_is_zero_shot() -> None:
    collection, _ = made([6, 5, 4], per_class=0)
    asked = features(collection)
    ours = METHOD.fit(collection, options=Options(), seed=0).predict(asked)
    torch.testing.assert_close(ours, collection.text.predict(asked), atol=1e-5, rtol=0)
