"""Code shared by all loaders: find a model's source by its name prefix, check it, load its weights and record them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from nola_core.backbones.encoder import check_sha256, describe, freeze, weights_sha256
from nola_core.backbones.hub import BRING, Weights, without_network
from nola_core.backbones.pairs import Spec, model_folder
from nola_core.errors import NolaError

S = TypeVar("S", bound=Spec)
Built = TypeVar("Built")


@dataclass(frozen=True)
class Source(Generic[S, Built]):
    """The source of the models with one prefix.

    Attributes:
        check: raises an error for what cannot work, and finds the files; builds and downloads nothing.
        build: builds the model with its weights.
    """

    check: Callable[[S, Path], list[Weights]]
    build: Callable[[S, Path], Built]


Sources = Mapping[str, Source[S, Built]]
"""Prefix (the part of a model's name before the colon, empty if there is none) -> source."""


def find(spec: S, sources: Sources[S, Built], root: Path) -> tuple[Source[S, Built], list[Weights]]:
    """The source of a model and the files it needs, checked.

    Raises:
        NolaError: the prefix is unknown, or the check of the source fails.
    """
    prefix = spec.model.partition(":")[0] if ":" in spec.model else ""
    if prefix not in sources:
        known = ", ".join(f"{name}:" for name in sources if name)
        raise NolaError(f"model '{spec.model}': unknown prefix '{prefix}:'; use {known} or a name without prefix.")
    return sources[prefix], sources[prefix].check(spec, root)


def build(spec: S, sources: Sources[S, Built], *, what: str, root: Path) -> Built:
    """Check a model and build it; files on this machine are used without network access.

    Raises:
        NolaError: see `find`; or the weights are not available or do not fit.
    """
    source, files = find(spec, sources, root)
    try:
        with without_network(all(file.here for file in files)):
            return source.build(spec, root)
    except NolaError:
        raise
    except Exception as error:  # open_clip, timm and their hub client raise many kinds of errors
        short = " ".join(str(error).split())[:300]
        raise NolaError(f"{what}: its weights could not be loaded ({short}). {BRING}") from error


def record(
    module: nn.Module, spec: Spec, transform: Mapping[str, Any], *, what: str, device: torch.device | str
) -> dict[str, str]:
    """Freeze a module, move it to its device, check the hash of its weights and return its record.

    Raises:
        NolaError: the weights are not those that the pair specifies.
    """
    freeze(module).to(device)
    digest = weights_sha256(module)
    check_sha256(digest, spec.sha256, what=what)
    return {"model": spec.model, "weights": spec.weights, "weights_sha256": digest, "transform": describe(dict(transform))}


def local_file(path: str, root: Path, *, what: str) -> Weights:
    """A checkpoint file of the project.

    Raises:
        NolaError: it does not exist.
    """
    file = root / path
    if not file.is_file():
        raise NolaError(f"{what}: the checkpoint {file} does not exist; check the path.")
    return Weights(str(file), file.stat().st_size, here=True)


def folder_weights(model: str, root: Path) -> list[Weights]:
    """What lies in the folder of a `local-dir:` or `package:` model."""
    folder = model_folder(model, root)
    assert folder is not None
    return [Weights(str(folder), sum(file.stat().st_size for file in folder.iterdir() if file.is_file()), here=True)]


def check_size(size: int | None, patch: int, *, what: str) -> None:
    """Raise NolaError if `size` is not a multiple of the patch size."""
    if size is not None and size % patch:
        below = size - size % patch
        near = " or ".join(str(near) for near in (below, below + patch) if near)
        raise NolaError(f"{what}: image_size {size} is not a multiple of the patch size {patch}; use {near}.")
