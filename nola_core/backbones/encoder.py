"""The interface of a backbone for `embed`: a module, its preprocessing, and a fingerprint of both."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from nola_core.errors import NolaError


@dataclass(frozen=True)
class ImageEncoder:
    """A frozen image tower.

    Attributes:
        module: float images [B, 3, H, W] from `preprocess` -> features [B, dim], not normalised.
        preprocess: RGB image -> float32 [3, H, W]; the deterministic evaluation transform of this model.
        dim: feature width d.
        meta: `model`, `weights`, `weights_sha256` and `transform`, all strings, for `meta.json` and cache keys.
    """

    module: nn.Module
    preprocess: Callable[[Image.Image], Tensor]
    dim: int
    meta: dict[str, str]


def weights_sha256(module: nn.Module) -> str:
    """SHA-256 over the names, types, shapes and bytes of a module's state, in name order.

    It identifies the loaded weights, independent of their file format.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        array = tensor.detach().cpu().contiguous()
        digest.update(f"{name}:{array.dtype}:{tuple(array.shape)};".encode())
        digest.update(np.ascontiguousarray(array.reshape(-1).view(torch.uint8).numpy()).data)
    return digest.hexdigest()


def check_sha256(actual: str, expected: str | None, *, what: str) -> None:
    """Raise NolaError if the weights are not those that the pair specifies."""
    if expected is not None and actual != expected:
        raise NolaError(
            f"{what}: the loaded weights have SHA-256 {actual[:16]}..., but the pair specifies {expected[:16]}...; "
            "restore the file, or set `sha256` to the hash of the new weights."
        )


def freeze(module: nn.Module) -> nn.Module:
    """Set evaluation mode and disable gradients."""
    return module.eval().requires_grad_(False)


def describe(values: dict[str, Any]) -> str:
    """A transform as one line of `key=value`, sorted by key."""
    return ", ".join(f"{key}={values[key]}" for key in sorted(values))
