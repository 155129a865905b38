import math
from pathlib import Path

import pytest
import torch
from torch.nn.functional import normalize

from nola_core.errors import NolaError
from nola_core.methods import zero_shot
from nola_core.methods.perception import METHOD, Options, contexts, in_context
from nola_core.schema import validate
from tests.methods.checks import is_restored
from tests.methods.made import encode, made_texts

TEXTS = made_texts(["cat", "dog", "emu"])
OPTIONS = Options(attributes={"place": ["", "indoors"], "light": ["at night", "by day"]}, temperature=2.0)
X = normalize(torch.randn(20, 16, generator=torch.Generator().manual_seed(0)), dim=1)


def test_it_is_the_sum_over_contexts_written_out() -> None:
    expected = torch.zeros(len(X), 3)
    for row, x in enumerate(X.double()):
        scores = [
            [20 * float(x @ encode([f"a photo of a {name}{z}."])[0].double()) for name in TEXTS.names]
            for z in (", at night", ", by day", ", indoors, at night", ", indoors, by day")
        ]
        weights = [math.fsum(map(math.exp, one)) ** (1 / 2.0) for one in scores]
        for weight, one in zip(weights, scores, strict=True):
            for class_id, score in enumerate(one):
                share = math.exp(score) / math.fsum(map(math.exp, one))
                expected[row, class_id] += weight / sum(weights) * share
    torch.testing.assert_close(METHOD.fit(TEXTS, options=OPTIONS).predict({"clip": X}), expected, atol=1e-5, rtol=0)


def test_with_nothing_said_it_equals_zero_shot() -> None:
    ours = METHOD.fit(TEXTS, options=Options(attributes={"light": [""]})).predict({"clip": X})
    torch.testing.assert_close(ours, zero_shot.METHOD.fit(TEXTS, options=None).predict({"clip": X}))


def test_contexts_follow_the_sentence() -> None:
    assert in_context("a photo of a cat.", ", upside down") == "a photo of a cat, upside down."
    assert in_context("cat", "") == "cat"
    assert len(contexts(Options())) == 27 and contexts(Options())[0] == "" and contexts(Options(attributes={})) == [""]


@pytest.mark.parametrize("attributes", [{"a": []}, {"a": ["x", "x"]}, {str(key): ["", "x"] for key in range(9)}])
def test_wrong_attributes_are_refused_in_one_sentence(attributes: dict[str, list[str]]) -> None:
    with pytest.raises(NolaError, match=r"perception\.attributes"):
        validate(Options, {"attributes": attributes}, source="params.yaml")


def test_it_is_restored(tmp_path: Path) -> None:
    is_restored(METHOD, METHOD.fit(TEXTS, options=OPTIONS), {"clip": X}, tmp_path)
