"""Self-supervised image encoders: DINO, DINOv2, DINOv3 and any other timm model, with their own transforms."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data.config import resolve_model_data_config
from timm.data.transforms_factory import create_transform
from torch import nn

from nola_core.backbones import conse, hub
from nola_core.backbones.encoder import ImageEncoder
from nola_core.backbones.hub import Weights
from nola_core.backbones.pairs import SslSpec, model_folder
from nola_core.backbones.source import Source, build, check_size, find, folder_weights, local_file, record
from nola_core.errors import NolaError

WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # in timm's order of preference


def load_encoder(spec: SslSpec, *, root: Path = Path(), device: torch.device | str = "cpu") -> ImageEncoder:
    """Build an image encoder without a classification head, with its weights, frozen.

    The feature is the model's own pooled feature: for DINO's ViTs the class token after the last LayerNorm.

    Raises:
        NolaError: unknown model or tag, an image size that does not fit, weights that are not available or do not fit, or weights
            with another hash than in the pair.
    """
    what = f"SSL model {spec.model}"
    module = build(spec, SOURCES, what=what, root=root)
    size = {"img_size": spec.image_size} if spec.image_size else {}
    data = resolve_model_data_config(module, args=size)
    meta = record(module, spec, {"library": f"timm {timm.__version__}", **data}, what=what, device=device)
    with torch.inference_mode():  # num_features is not the output width in every family
        dim = int(module(torch.zeros(1, *data["input_size"], device=device)).shape[-1])
    return ImageEncoder(module, create_transform(**data, is_training=False), dim, meta)


load_ssl = load_encoder


def check_ssl(spec: SslSpec, *, root: Path = Path()) -> list[Weights]:
    """The files an image encoder needs and where they are, without building or downloading anything.

    Raises:
        NolaError: anything that would make `load_ssl` fail, if it can be known in advance.
    """
    return find(spec, SOURCES, root)[1]


def _create(name: str, options: dict[str, Any]) -> nn.Module:
    module: Any = timm.create_model(name, pretrained=True, **options)  # with the head: without it timm ignores missing weights
    module.reset_classifier(0)
    return module


def _size(spec: SslSpec) -> dict[str, Any]:
    """Size options for timm.create_model: models with a position grid are built for one size, others accept any."""
    fixed = timm.get_pretrained_cfg(spec.model, allow_unregistered=True)
    return {"img_size": spec.image_size} if spec.image_size and fixed is not None and fixed.fixed_input_size else {}


def _check_plain(spec: SslSpec, root: Path) -> list[Weights]:
    what = f"SSL model {spec.model}"
    bare, _, tag = spec.model.partition(".")
    if not timm.is_model(bare):
        near = ", ".join(difflib.get_close_matches(bare, timm.list_models(), n=3)) or "see timm.list_models()"
        raise NolaError(f"timm has no model '{bare}'; similar names: {near}.")
    tags = [name.partition(".")[2] for name in timm.list_pretrained(f"{bare}*") if name.partition(".")[0] == bare]
    if tag and tag not in tags:
        raise NolaError(f"timm model {bare} has no weights tagged '{tag}'; available tags: {', '.join(tags) or 'none'}.")
    patch = re.search(r"patch(\d+)", bare)
    check_size(spec.image_size, int(patch[1]) if patch else 1, what=what)
    if spec.checkpoint is not None:
        return [local_file(spec.checkpoint, root, what=what)]
    config = timm.get_pretrained_cfg(spec.model)
    if config is None or not tags:
        raise NolaError(f"timm has no weights for {bare}; set `checkpoint` to your own file.")
    if not config.hf_hub_id:
        return []
    names = (config.hf_hub_filename,) if config.hf_hub_filename else WEIGHTS
    return [hub.locate(config.hf_hub_id, names, what=what)]


def _build_plain(spec: SslSpec, root: Path) -> nn.Module:
    if spec.checkpoint is None:
        return _create(spec.model, _size(spec))
    module: nn.Module = timm.create_model(spec.model, pretrained=False, num_classes=0, **_size(spec))
    timm.models.load_checkpoint(module, str(root / spec.checkpoint), strict=True, weights_only=True)
    return module


def _no_file(spec: SslSpec) -> None:
    if spec.checkpoint is not None:
        raise NolaError(f"SSL model {spec.model} has its own weights; set `checkpoint` to null.")


def _own_size(spec: SslSpec) -> None:
    _no_file(spec)
    if spec.image_size is not None:
        raise NolaError(f"SSL model {spec.model}: its config defines the image size; remove image_size, or change it there.")


def _check_folder(spec: SslSpec, root: Path) -> list[Weights]:
    _own_size(spec)
    return folder_weights(spec.model, root)


def _build_folder(spec: SslSpec, root: Path) -> nn.Module:
    return _create(f"local-dir:{model_folder(spec.model, root)}", {})


def _check_hub(spec: SslSpec, root: Path) -> list[Weights]:
    _own_size(spec)
    repo = spec.model.removeprefix("hf-hub:")
    return [hub.locate(repo, names, what=f"SSL model {spec.model}") for names in (("config.json",), WEIGHTS)]


def _check_wheel(spec: SslSpec, root: Path) -> list[Weights]:
    _no_file(spec)
    return conse.check(spec.model)[:1]


SOURCES = {
    "": Source[SslSpec, nn.Module](_check_plain, _build_plain),
    "local-dir": Source[SslSpec, nn.Module](_check_folder, _build_folder),
    "package": Source[SslSpec, nn.Module](_check_folder, _build_folder),
    "hf-hub": Source[SslSpec, nn.Module](_check_hub, lambda spec, root: _create(spec.model, {})),
    "wheel": Source[SslSpec, nn.Module](_check_wheel, lambda spec, root: conse.load_trunk()),
}
