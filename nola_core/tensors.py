"""Tensor files in safetensors format: atomic writes, and a clear message if a file is missing or damaged."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from nola_core.errors import NolaError
from nola_core.files import replacing


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, by name, on the CPU.

    Raises:
        NolaError: the file is missing or damaged.
    """
    return read_with_metadata(path)[0]


def read_with_metadata(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a file and the metadata written with them; see `read_tensors`."""
    if not path.is_file():
        raise NolaError(f"{path} does not exist: run the stage that writes it (docs/formats.md says which).")
    try:
        with safe_open(path, framework="pt") as stored:
            return {name: stored.get_tensor(name) for name in stored.keys()}, dict(stored.metadata() or {})  # noqa: SIM118
    except SafetensorError as error:
        raise NolaError(f"{path} is not a valid safetensors file ({error}); delete it and run its stage again.") from error


def write_tensors(path: Path, tensors: dict[str, Tensor], *, metadata: dict[str, str] | None = None) -> None:
    """Write tensors, copied to contiguous CPU memory. `metadata` may have one key: safetensors writes several in random order."""
    with replacing(path) as scratch:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, scratch, metadata=metadata)
