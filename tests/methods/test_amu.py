from pathlib import Path

import pytest
import scipy.stats
import torch

from nola_core.methods.amu import METHOD, Options, kurtosis
from tests.methods.checks import is_restored, survives
from tests.methods.made import features, made, permuted

FEW = Options(steps=60)


def test_the_bias_is_weighed_by_the_kurtosis_written_out() -> None:
    collection, _ = made([6, 5, 4])
    fitted = METHOD.fit(collection, options=FEW.model_copy(update={"weight": 2.0}), seed=0)
    asked, found = features(collection), fitted.tensors()
    logits = 10 * asked["clip"] @ collection.text.tensors()["weights"].T
    peaked = [float(scipy.stats.kurtosis(row.double(), fisher=False)) for row in logits]
    median = sorted(peaked)[(len(peaked) - 1) // 2]
    for row, value in enumerate(peaked):
        head = found["ssl.weights"] @ asked["ssl"][row] + found["ssl.bias"]
        expected = (logits[row] + 2.0 * (median / value) ** 0.5 * head).softmax(dim=0)
        torch.testing.assert_close(fitted.predict(asked)[row], expected, atol=1e-4, rtol=0)


def test_a_flat_or_lone_row_of_logits_has_kurtosis_1() -> None:
    assert kurtosis(torch.tensor([[3.0, 3.0, 3.0], [1.0, 1.0, 1.0]])).tolist() == [1, 1]
    assert kurtosis(torch.tensor([[5.0]])).tolist() == [1]
    assert kurtosis(torch.tensor([[5.0, 9.0]])).tolist() == [pytest.approx(1)]


def test_without_weight_it_is_zero_shot() -> None:
    collection, _ = made([6, 5, 4])
    asked = features(collection)
    ours = METHOD.fit(collection, options=FEW.model_copy(update={"weight": 0.0}), seed=0).predict(asked)
    torch.testing.assert_close(ours, collection.text.predict(asked), atol=1e-5, rtol=0)


def test_the_head_corrects_the_text() -> None:
    collection, truth = made([40, 40, 40], confusion=1.0, spread=0.2, per_class=15)
    asked = features(collection)
    ours = METHOD.fit(collection, options=Options(weight=4.0), seed=0).predict(asked)
    before = (collection.text.predict(asked).argmax(dim=1) == truth).float().mean()
    assert (ours.argmax(dim=1) == truth).float().mean() > before + 0.05


def test_permuted_classes_permute_the_answers() -> None:
    collection, _ = made([4, 0, 7, 3])
    asked, order = features(collection), torch.tensor([2, 0, 3, 1])
    p = METHOD.fit(collection, options=FEW, seed=0).predict(asked)
    other = METHOD.fit(permuted(collection, order), options=FEW, seed=0).predict(asked)
    torch.testing.assert_close(other, p[:, order], atol=1e-3, rtol=0)


def test_any_number_of_names_and_images() -> None:
    survives(METHOD, Options(steps=5))


def test_it_is_restored(tmp_path: Path) -> None:
    collection, _ = made([6, 5, 4])
    is_restored(METHOD, METHOD.fit(collection, options=FEW, seed=0), features(collection), tmp_path)


def test_without_pseudo_labels_it_is_zero_shot() -> None:
    collection, _ = made([6, 5, 4], per_class=0)
    asked = features(collection)
    ours = METHOD.fit(collection, options=Options(), seed=0).predict(asked)
    torch.testing.assert_close(ours, collection.text.predict(asked), atol=1e-5, rtol=0)
