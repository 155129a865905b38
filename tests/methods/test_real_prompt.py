import pytest
import torch

from nola_core.errors import NolaError
from nola_core.methods import templates
from nola_core.methods.real_prompt import METHOD, Options
from nola_core.schema import validate
from tests.methods.made import made_texts


def test_each_class_is_called_by_its_most_frequent_name(capsys: pytest.CaptureFixture[str]) -> None:
    options = Options(
        frequencies={
            "photo booth": {"photo booth": 5.0, "fotomat": 9.0},
            "dog": {"hound": 1.0, "dog": 1.0},
            "emu": {"Dromaius": 0.0},
            "tram": {},
        }
    )
    texts = METHOD.texts(made_texts(["photo booth", "dog", "emu", "cat"]), options)
    assert texts == [
        ["a photo of a fotomat.", "art of fotomat"],
        ["a photo of a dog.", "art of dog"],
        ["a photo of a emu.", "art of emu"],
        ["a photo of a cat.", "art of cat"],
    ]
    assert "'tram'" in capsys.readouterr().err


def test_without_frequencies_it_equals_templates_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    texts = made_texts(["cat", "dog"])
    ours, theirs = METHOD.fit(texts, options=Options()), templates.METHOD.fit(texts, options=None)
    assert torch.equal(ours.tensors()["weights"], theirs.tensors()["weights"])
    assert "equals templates" in capsys.readouterr().err


def test_a_count_below_zero_is_refused() -> None:
    with pytest.raises(NolaError, match="real_prompt"):
        validate(Options, {"frequencies": {"cat": {"moggy": -1.0}}}, source="real_prompt")
