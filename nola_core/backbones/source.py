"""What all loaders share: a model's source by the prefix of its name, its checks, its weights and the record of them."""

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
    """Where the models of one prefix come from.

    Attributes:
        check: refuses what cannot work and finds the files; builds and downloads nothing.
        build: makes the model with its weights.
    """

    check: Callable[[S, Path], list[Weights]]
    build: Callable[[S, Path], Built]


Sources = Mapping[str, Source[S, Built]]
"""Prefix (what stands before the colon of a model's name, empty without one) -> source."""


def find(spec: S, sources: Sources[S, Built], root: Path) -> tuple[Source[S, Built], list[Weights]]:
    """The source of a model and the files it needs, checked.

    Raises:
        NolaError: an unknown prefix, and whatever the source refuses.
    """
    prefix = spec.model.partition(":")[0] if ":" in spec.model else ""
    if prefix not in sources:
        known = ", ".join(f"{name}:" for name in sources if name)
        raise NolaError(f"model '{spec.model}': no model begins with '{prefix}:'; known are {known} and plain names.")
    return sources[prefix], sources[prefix].check(spec, root)


def build(spec: S, sources: Sources[S, Built], *, what: str, root: Path) -> Built:
    """Check a model, then make it; files that are here already are used without asking the network.

    Raises:
        NolaError: see `find`; or the weights could not be had or do not fit.
    """
    source, files = find(spec, sources, root)
    try:
        with without_network(all(file.here for file in files)):
            return source.build(spec, root)
    except NolaError:
        raise
    except Exception as error:  # open_clip, timm and their hub client raise many kinds
        short = " ".join(str(error).split())[:300]
        raise NolaError(f"{what}: its weights could not be loaded ({short}). {BRING}") from error


def record(
    module: nn.Module, spec: Spec, transform: Mapping[str, Any], *, what: str, device: torch.device | str
) -> dict[str, str]:
    """Freeze a module, put it on its device, hold its weights against the pin and return what is recorded of it.

    Raises:
        NolaError: the weights are not those the pair names.
    """
    freeze(module).to(device)
    digest = weights_sha256(module)
    check_sha256(digest, spec.sha256, what=what)
    return {"model": spec.model, "weights": spec.weights, "weights_sha256": digest, "transform": describe(dict(transform))}


def local_file(path: str, root: Path, *, what: str) -> Weights:
    """A checkpoint of the project's own.

    Raises:
        NolaError: it does not exist.
    """
    file = root / path
    if not file.is_file():
        raise NolaError(f"{what}: the checkpoint {file} does not exist.")
    return Weights(str(file), file.stat().st_size, here=True)


def folder_weights(model: str, root: Path) -> list[Weights]:
    """What lies in the folder of a `local-dir:` or `package:` model."""
    folder = model_folder(model, root)
    assert folder is not None
    return [Weights(str(folder), sum(file.stat().st_size for file in folder.iterdir() if file.is_file()), here=True)]


def check_size(size: int | None, patch: int, *, what: str) -> None:
    """Raise NolaError where images of `size` do not divide into patches."""
    if size is not None and size % patch:
        below = size - size % patch
        near = " or ".join(str(near) for near in (below, below + patch) if near)
        raise NolaError(f"{what}: image_size {size} is no multiple of its patches of {patch} pixels; take {near}.")
