"""timm self-supervised image encoders: DINO, DINOv2, DINOv3 and any other timm model, each with its own transform."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, cast

import timm
import torch
from timm.data.config import resolve_model_data_config
from timm.data.transforms_factory import create_transform

from nola_core.backbones.encoder import (
    ImageEncoder,
    check_sha256,
    describe,
    freeze,
    no_weights,
    resolve,
    weights_sha256,
)
from nola_core.backbones.pairs import SslSpec
from nola_core.errors import NolaError


def load_ssl(spec: SslSpec, *, root: Path = Path(), device: torch.device | str = "cpu") -> ImageEncoder:
    """Build a timm model without its classification head, with its weights, frozen.

    The feature is the model's own pooled one: for DINO's ViTs the class token after the last LayerNorm.

    Raises:
        NolaError: unknown model or tag, weights that cannot be had or do not fit, or weights whose hash is not the pair's.
    """
    what = f"SSL model {spec.model}"
    name = resolve(spec.model, root)
    _check_name(spec.model)
    checkpoint = None
    if spec.checkpoint is not None:
        checkpoint = root / spec.checkpoint
        if not checkpoint.is_file():
            raise NolaError(f"{what}: the checkpoint {checkpoint} does not exist.")
    try:
        if checkpoint is None:
            module = timm.create_model(name, pretrained=True)  # head included: without it timm lets missing weights pass
            cast(Any, module).reset_classifier(0)
        else:
            module = timm.create_model(name, pretrained=False, num_classes=0)
            timm.models.load_checkpoint(module, str(checkpoint), strict=True, weights_only=True)
    except Exception as error:  # timm and its hub client raise many kinds
        raise no_weights(what, error) from error
    freeze(module).to(device)
    digest = weights_sha256(module)
    check_sha256(digest, spec.sha256, what=what)
    data = resolve_model_data_config(module)
    with torch.inference_mode():  # num_features is not what every family returns
        dim = int(module(torch.zeros(1, *data["input_size"], device=device)).shape[-1])
    meta = {
        "model": spec.model,
        "weights": spec.checkpoint or spec.model,
        "weights_sha256": digest,
        "transform": describe({"library": f"timm {timm.__version__}", **data}),
    }
    return ImageEncoder(module, create_transform(**data, is_training=False), dim, meta)


def _check_name(model: str) -> None:
    if model.startswith(("local-dir:", "hf-hub:")):
        return
    bare, _, tag = model.partition(".")
    if not timm.is_model(bare):
        near = ", ".join(difflib.get_close_matches(bare, timm.list_models(), n=3)) or "see timm.list_models()"
        raise NolaError(f"timm has no model '{bare}'; near: {near}.")
    tags = [name.partition(".")[2] for name in timm.list_pretrained(f"{bare}*") if name.partition(".")[0] == bare]
    if tag and tag not in tags:
        raise NolaError(f"timm model {bare} has no weights tagged '{tag}'; tags: {', '.join(tags) or 'none'}.")
