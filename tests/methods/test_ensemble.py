from pathlib import Path

import pytest
import torch

from nola_core.entries import code_of
from nola_core.errors import NolaError
from nola_core.fingerprint import Package
from nola_core.methods import caps_adapter
from nola_core.methods.collection import probabilities
from nola_core.methods.ensemble import METHOD, Options, agreement
from nola_core.schema import validate
from tests.methods.checks import is_restored, survives
from tests.methods.made import features, made

QUICK = Options(options={"alignment": {"epochs": 2, "hidden": 8}})


def test_the_weights_are_the_agreement_with_the_average_written_out() -> None:
    answers = torch.randn(3, 40, 4, generator=torch.Generator().manual_seed(0)).softmax(dim=2)
    weights = [1 / 3] * 3
    for _ in range(2):
        agreed = [0, 0, 0]
        for row in range(40):
            average = [sum(weights[m] * float(answers[m, row, c]) for m in range(3)) for c in range(4)]
            for m in range(3):
                agreed[m] += int(answers[m, row].argmax()) == average.index(max(average))
        weights = [count / sum(agreed) for count in agreed]
    torch.testing.assert_close(agreement(answers, rounds=2), torch.tensor(weights), atol=1e-4, rtol=0)


def test_a_member_that_disagrees_weighs_less() -> None:
    right = torch.eye(4)[torch.arange(40) % 4]
    weights = agreement(torch.stack([0.7 * right + 0.075, 0.8 * right + 0.05, right.roll(1, dims=1)]), rounds=10)
    assert weights[0] == weights[1] and weights[2] < 0.01


@pytest.mark.parametrize("name", ["text", "caps_adapter"])
def test_of_one_member_it_is_this_member(name: str) -> None:
    collection, _ = made([6, 5, 4])
    asked = features(collection)
    alone = collection.text
    if name == "caps_adapter":
        alone = caps_adapter.METHOD.fit(collection, options=caps_adapter.Options(weight=3.0), seed=0)
    options = Options(members=[name], options={"caps_adapter": {"weight": 3.0}} if name == "caps_adapter" else {})
    fitted = METHOD.fit(collection, options=options, seed=0)
    assert torch.equal(probabilities(fitted, asked), probabilities(alone, asked))
    assert fitted.spaces == ("clip",)


def test_any_number_of_names_and_images() -> None:
    survives(METHOD, QUICK)


def test_it_is_restored(tmp_path: Path) -> None:
    collection, _ = made([6, 5, 4])
    is_restored(METHOD, METHOD.fit(collection, options=QUICK, seed=0), features(collection), tmp_path)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"members": ["ensemble"]}, "not ensemble itself"),
        ({"members": ["text", "text"]}, "each method once"),
        ({"options": {"amu": {}}}, r"ensemble\.options\.amu belongs to no member"),
    ],
)
def test_wrong_members_are_refused(values: dict[str, object], why: str) -> None:
    with pytest.raises(NolaError, match=why):
        validate(Options, values, source="params.yaml")


def test_a_member_must_be_a_feature_method_with_options_it_knows() -> None:
    collection, _ = made([6, 5, 4])
    with pytest.raises(NolaError, match="'cde' is a text method"):
        METHOD.fit(collection, options=Options(members=["cde"]), seed=0)
    with pytest.raises(NolaError, match="unknown key 'epoch': did you mean 'epochs'"):
        METHOD.fit(collection, options=Options(options={"alignment": {"epoch": 1}}), seed=0)


def test_the_code_of_its_members_counts_as_its_own(tmp_path: Path) -> None:
    def code(members: list[str]) -> str:
        return code_of(Package(), tmp_path, "fit", {"methods": {"ensemble": {"members": members}}})

    assert len({code(["text"]), code(["text", "amu"]), code(["text", "caps_adapter"])}) == 3
