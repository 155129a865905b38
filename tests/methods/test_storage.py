"""Files of fitted methods: what was written is read, and anything else is one sentence."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from nola_core.errors import NolaError
from nola_core.methods import storage
from nola_core.methods.cde import METHOD as CDE
from nola_core.methods.templates import METHOD
from nola_core.text_classifier import TextClassifier


def test_what_was_written_is_read_to_the_bit(tmp_path: Path) -> None:
    fitted = TextClassifier(torch.randn(3, 4), 1 / 3)
    storage.write(tmp_path / "a.safetensors", METHOD, fitted.tensors())
    read = storage.read_fitted(tmp_path / "a.safetensors", METHOD)
    assert isinstance(read, TextClassifier)
    assert torch.equal(read.weights, fitted.weights) and read.logit_scale == fitted.logit_scale


def test_a_file_that_is_absent_of_another_method_or_damaged_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"

    def says(sentence: str) -> None:
        with pytest.raises(NolaError, match=re.escape(f"{path} {sentence}")):
            storage.read_fitted(path, METHOD)

    says("does not exist: run the stage that writes it")
    storage.write(path, CDE, {"weights": torch.ones(2, 2), "logit_scale": torch.tensor(1.0)})
    says("is of the method cde, not of templates; delete it and run its stage again.")
    storage.write(path, METHOD, {"weights": torch.ones(2, 2)})
    says("does not hold what the method templates needs; delete it and run its stage again.")
    save_file({"weights": torch.ones(2, 2)}, path)
    says("is of the method None, not of templates")
    path.write_bytes(path.read_bytes()[:-3])
    says("is not a valid safetensors file")
