"""Tensor files."""

from pathlib import Path

import pytest
import torch

from nola_core.errors import NolaError
from nola_core.tensors import read_tensors, read_with_metadata, write_tensors


def test_what_is_written_is_read(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(6).reshape(2, 3).T, "b": torch.tensor(0.5, requires_grad=True)}
    write_tensors(tmp_path / "x.safetensors", tensors, metadata={"of": "me"})
    found, metadata = read_with_metadata(tmp_path / "x.safetensors")
    assert metadata == {"of": "me"} and set(found) == {"a", "b"}
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)


def test_an_absent_and_a_damaged_file_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(NolaError, match="does not exist: run the stage that writes it"):
        read_tensors(tmp_path / "x.safetensors")
    (tmp_path / "x.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0 not it")
    with pytest.raises(NolaError, match=r"x\.safetensors is not a valid safetensors file"):
        read_tensors(tmp_path / "x.safetensors")
