"""The fingerprint of weights: equal for equal weights, different for different ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from nola_core.backbones.encoder import check_sha256, describe, weights_sha256
from nola_core.errors import NolaError


def module_of(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def test_the_hash_is_of_the_weights_not_of_the_file_they_came_in(tmp_path: Path) -> None:
    module = module_of()
    save_file(module.state_dict(), tmp_path / "a.safetensors")
    torch.save(module.state_dict(), tmp_path / "b.pt")
    hashes = set()
    for state in (load_file(tmp_path / "a.safetensors"), torch.load(tmp_path / "b.pt", weights_only=True)):
        other = module_of(1)
        assert weights_sha256(other) != weights_sha256(module)
        other.load_state_dict(state)
        hashes.add(weights_sha256(other))
    assert hashes == {weights_sha256(module)}


def test_any_change_changes_the_hash() -> None:
    seen = {weights_sha256(module_of())}

    def note(module: nn.Module) -> None:
        digest = weights_sha256(module)
        assert digest not in seen
        seen.add(digest)

    for name in module_of().state_dict():
        module = module_of()
        tensor = module.state_dict()[name].view(-1)
        tensor[-1] = torch.nextafter(tensor[-1], torch.tensor(9.0)) if tensor.is_floating_point() else tensor[-1] + 1
        note(module)
    note(module_of().half())
    note(nn.Sequential(module_of()))  # other names
    reshaped = module_of()
    reshaped[3].weight = nn.Parameter(reshaped.state_dict()["3.weight"].reshape(4, 2))
    note(reshaped)


def test_memory_layout_and_training_state_do_not_matter() -> None:
    module = module_of()
    before = weights_sha256(module)
    module[0].weight.data = module[0].weight.data.to(memory_format=torch.channels_last)
    assert weights_sha256(module.eval().requires_grad_(False)) == before


def test_pins() -> None:
    check_sha256("a" * 64, None, what="model m")
    check_sha256("a" * 64, "a" * 64, what="model m")
    with pytest.raises(
        NolaError, match=r"model m: the loaded weights have SHA-256 a{16}\.\.\., but the pair specifies b{16}\.\.\.; rest"
    ):
        check_sha256("a" * 64, "b" * 64, what="model m")


def test_a_transform_is_one_line_in_key_order() -> None:
    assert describe({"b": (1, 2), "a": "x"}) == "a=x, b=(1, 2)"
