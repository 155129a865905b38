from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from nola_core.errors import NolaError
from nola_core.prediction import prediction_table
from nola_core.text_classifier import TextClassifier, build, fill, remembered


class Encoder:
    """A fixed random unit vector a text; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, texts: Sequence[str]) -> Tensor:
        self.asked += texts
        rows = [torch.randn(8, generator=torch.Generator().manual_seed(sum(map(ord, text)))) for text in texts]
        return normalize(torch.stack(rows), dim=-1)


def test_names_go_into_templates_as_they_are() -> None:
    assert fill(["a {}.", "{}"], ["{0.__class__}", "{}", "%s"]) == [
        ["a {0.__class__}.", "{0.__class__}"],
        ["a {}.", "{}"],
        ["a %s.", "%s"],
    ]


def test_it_is_the_normalised_mean_of_normalised_texts() -> None:
    texts = [["a", "b", "c"], ["d"], ["b", "e"]]
    encode = Encoder()
    phi = build(encode, texts, names=["x", "y", "z"])
    for row, group in enumerate(texts):  # the slow oracle: text by text, in float64
        mean = torch.stack([Encoder()([text])[0].double() for text in group]).mean(0)
        torch.testing.assert_close(phi[row].double(), mean / mean.norm(), atol=1e-6, rtol=0)
    assert sorted(encode.asked) == ["a", "b", "c", "d", "e"], "each text is encoded once"


def test_remembered_texts_are_encoded_once_over_all_calls() -> None:
    encode = Encoder()
    recall = remembered(encode)
    assert torch.equal(recall(["a", "b", "a"]), Encoder()(["a", "b", "a"]))
    assert torch.equal(recall(["c", "b"]), Encoder()(["c", "b"]))
    recall(["a"])
    assert encode.asked == ["a", "b", "c"]


def test_templates_are_filled_class_by_class() -> None:
    assert fill(["a {}.", "{}!"], ["cat", "dog"]) == [["a cat.", "cat!"], ["a dog.", "dog!"]]


def test_probabilities_are_a_scaled_softmax_of_cosines() -> None:
    x, phi = normalize(torch.randn(5, 8), dim=-1), normalize(torch.randn(3, 8), dim=-1)
    expected = torch.stack([torch.stack([torch.exp(50 * (a * b).sum()) for b in phi]) for a in x])
    expected = expected / expected.sum(1, keepdim=True)
    p = TextClassifier(phi, 50).predict({"clip": x})
    torch.testing.assert_close(p, expected, atol=1e-5, rtol=1e-4)


def test_bad_input_names_the_class_or_the_text() -> None:
    with pytest.raises(NolaError, match="class 'y' has no text"):
        build(Encoder(), [["a"], []], names=["x", "y"])
    with pytest.raises(NolaError, match="for the text 'b'"):
        build(lambda texts: torch.tensor([[1.0], [torch.nan]]), [["a"], ["b"]], names=["x", "y"])


def test_prediction_tables_hold_the_best_five_best_first() -> None:
    p = torch.tensor([[0.05, 0.3, 0.05, 0.4, 0.1, 0.1], [0.5, 0.5, 0.0, 0.0, 0.0, 0.0]])
    first, second = prediction_table(["u", "v"], p, split="test", method="cde").to_pylist()
    assert (first["class_id"], first["top_classes"]) == (3, [3, 1, 4, 5, 0])
    assert first["margin"] == pytest.approx(0.1)
    assert (second["class_id"], second["margin"]) == (0, 0), "ties go to the lower class"
    two = prediction_table(["u"], torch.tensor([[0.2, 0.8]]), split="test", method="cde").to_pylist()[0]
    assert two["top_classes"] == [1, 0]
    with pytest.raises(NolaError, match="method nola gives NaN for image 'v'"):
        prediction_table(["u", "v"], torch.tensor([[0.5, 0.5], [torch.nan, 0.5]]), split="test", method="nola")
