import math
from pathlib import Path

import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch.nn.functional import normalize

from nola_core.methods.tac import METHOD, Options, beside, counterpart, near_texts
from nola_core.text_classifier import TextClassifier
from tests.methods.checks import is_restored, survives
from tests.methods.made import features, made, permuted


def test_the_counterpart_is_the_weighted_mean_of_the_texts_written_out() -> None:
    generator = torch.Generator().manual_seed(0)
    x, texts = (normalize(torch.randn(count, 6, generator=generator), dim=1) for count in (5, 9))
    for row in x:
        weights = [math.exp(float(row @ text) / 0.2) for text in texts]
        mean = sum(weight * text for weight, text in zip(weights, texts, strict=True))
        assert isinstance(mean, torch.Tensor)
        torch.testing.assert_close(counterpart(row[None], texts, 0.2)[0], mean / mean.norm(), atol=1e-5, rtol=0)
    torch.testing.assert_close(counterpart(x, texts, 1e-4), texts[(x @ texts.T).argmax(dim=1)])
    assert torch.allclose(beside(x, x).norm(dim=1), torch.ones(5))


def test_the_texts_are_the_descriptions_nearest_to_the_images_of_their_class() -> None:
    collection, _ = made([5, 5, 5], descriptions=6)
    text, given = collection.text, collection.descriptions
    assert isinstance(text, TextClassifier)
    sums = torch.randn(3, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = near_texts(collection, text, sums, 2)
    assert found.shape == (9, 16) and torch.equal(found[:3], normalize(text.weights, dim=1))
    for class_id in range(3):
        mine = given.features[given.class_ids == class_id]
        best = sorted(range(6), key=lambda row: -float(mine[row] @ sums[class_id].float()))[:2]
        assert torch.equal(found[3 + 2 * class_id : 5 + 2 * class_id], mine[best])


def test_with_certain_texts_the_discriminant_is_scikit_learns() -> None:
    """The text decides every image, so EM has one E-step, and the M-step is plain LDA of [x; t]."""
    collection, _ = made([50, 30, 20], scale=1e6, descriptions=3)
    asked = features(collection)["clip"]
    options = Options(iterations=1, shrinkage=0.0, components=8, pull=1e-6)
    found = METHOD.fit(collection, options=options, seed=0).tensors()
    y = beside(asked, counterpart(asked, found["texts"], 0.005))
    y = normalize((y - found["mean"]) @ found["basis"].T, dim=1)
    answers = collection.text.predict({"clip": asked}).argmax(dim=1)
    oracle = LinearDiscriminantAnalysis(solver="lsqr").fit(y.double().numpy(), answers.numpy())
    ours = (y @ found["weights"].T + found["bias"]).softmax(dim=1)
    theirs = torch.from_numpy(oracle.predict_proba(y.double().numpy())).float()
    assert (ours - theirs).abs().mean() < 0.02, "but for the pseudo-count"


def test_it_corrects_the_text() -> None:
    collection, truth = made([60] * 5, confusion=1.0, spread=0.08, descriptions=3, seed=4)
    asked = features(collection)
    ours = METHOD.fit(collection, options=Options(components=4), seed=0).predict(asked)
    before = (collection.text.predict(asked).argmax(dim=1) == truth).float().mean()
    assert (ours.argmax(dim=1) == truth).float().mean() > before + 0.05


def test_permuted_classes_permute_the_answers() -> None:
    collection, _ = made([14, 0, 17, 13], descriptions=3)
    asked, order = features(collection), torch.tensor([2, 0, 3, 1])
    p = METHOD.fit(collection, options=Options(), seed=0).predict(asked)
    other = METHOD.fit(permuted(collection, order), options=Options(), seed=0).predict(asked)
    torch.testing.assert_close(other, p[:, order], atol=1e-3, rtol=0)


def test_any_number_of_names_and_images() -> None:
    survives(METHOD, Options())


def test_it_is_restored(tmp_path: Path) -> None:
    collection, _ = made([6, 5, 4], descriptions=2)
    is_restored(METHOD, METHOD.fit(collection, options=Options(), seed=0), features(collection), tmp_path)
