"""open_clip models: both towers, their preprocessing and their tokenizer."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from torch import Tensor
from torch.nn.functional import normalize

from nola_core.backbones.encoder import (
    ImageEncoder,
    check_sha256,
    describe,
    freeze,
    no_weights,
    resolve,
    weights_sha256,
)
from nola_core.backbones.pairs import ClipSpec
from nola_core.errors import NolaError


@dataclass(frozen=True)
class Clip:
    """A frozen dual encoder.

    Attributes:
        image: its vision tower.
        logit_scale: s = exp(logit_scale), about 100.
        context_length: tokens a text may have.
    """

    image: ImageEncoder
    model: Any
    tokenize: Callable[..., Tensor]
    logit_scale: float
    context_length: int

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str], *, batch_size: int = 256) -> Tensor:
        """L2-normalised text features, float32 [n, d], on the CPU."""
        place = next(self.model.parameters()).device
        rows = [
            normalize(self.model.encode_text(self.tokenize(list(texts[start : start + batch_size])).to(place)).float(), dim=-1)
            for start in range(0, len(texts), batch_size)
        ]
        return torch.cat(rows).cpu() if rows else torch.empty(0, self.image.dim)

    def token_counts(self, texts: Sequence[str], *, batch_size: int = 1024) -> list[int]:
        """Tokens each text has, marks of its beginning and end included; texts of more than `context_length` are cut.

        Counted up to eight times that length.
        """
        length = 8 * self.context_length
        counts: list[int] = []
        for start in range(0, len(texts), batch_size):
            ids = self.tokenize(list(texts[start : start + batch_size]), context_length=length)
            padded = ids.flip(1).eq(ids[:, -1:]).cumprod(1).sum(1)  # whatever fills the end
            counts += (length - padded).tolist()
        return counts


def load_clip(spec: ClipSpec, *, root: Path = Path(), device: torch.device | str = "cpu") -> Clip:
    """Build an open_clip model with its weights, frozen.

    Raises:
        NolaError: unknown model or tag, weights that cannot be had or do not fit, a QuickGELU mismatch, or weights whose hash
            is not the one the pair names.
    """
    what = f"CLIP model {spec.model}" + (f" / {spec.pretrained}" if spec.pretrained else "")
    name = resolve(spec.model, root)
    _check_names(spec, root)
    pretrained = spec.pretrained
    if pretrained is not None and (root / pretrained).is_file():
        pretrained = str(root / pretrained)
    try:
        model = open_clip.create_model(name, pretrained=pretrained, require_pretrained=True, precision="fp32")
        tokenizer = open_clip.get_tokenizer(name)
    except Exception as error:  # open_clip and its hub client raise many kinds
        raise no_weights(what, error) from error
    freeze(model).to(device)
    digest = weights_sha256(model)
    check_sha256(digest, spec.sha256, what=what)
    preprocess = PreprocessCfg(**model.visual.preprocess_cfg)
    meta = {
        "model": spec.model,
        "weights": spec.pretrained or spec.model,
        "weights_sha256": digest,
        "transform": describe({"library": f"open_clip {open_clip.__version__}", **vars(preprocess)}),
    }
    image = ImageEncoder(model.visual, image_transform_v2(preprocess, is_train=False), _width(model), meta)
    scale = float(model.logit_scale.exp())
    return Clip(image, model, tokenizer, scale, int(tokenizer.context_length))


def _width(model: Any) -> int:
    size = model.visual.image_size
    height, width = (size, size) if isinstance(size, int) else size
    place = next(model.parameters()).device
    with torch.inference_mode():
        return int(model.visual(torch.zeros(1, 3, height, width, device=place)).shape[-1])


def _check_names(spec: ClipSpec, root: Path) -> None:
    if spec.model.startswith(("local-dir:", "hf-hub:")):
        if spec.pretrained is not None:
            raise NolaError(f"CLIP model {spec.model} brings its own weights; set `pretrained` to null.")
        return
    models = open_clip.list_models()
    if spec.model not in models:
        near = ", ".join(difflib.get_close_matches(spec.model, models, n=3)) or "see open_clip.list_models()"
        raise NolaError(f"open_clip has no model '{spec.model}'; near: {near}.")
    tags = open_clip.list_pretrained_tags_by_model(spec.model)
    if spec.pretrained is None:
        raise NolaError(f"CLIP model {spec.model} names no weights; set `pretrained` to a path or one of: {', '.join(tags)}.")
    if spec.pretrained not in tags and not (root / spec.pretrained).is_file():
        raise NolaError(
            f"CLIP model {spec.model} has no weights '{spec.pretrained}', neither a tag nor a file; tags: {', '.join(tags)}."
        )
    if spec.pretrained in tags:  # before the download: open_clip itself only warns, and after it
        trained = bool(open_clip.get_pretrained_cfg(spec.model, spec.pretrained).get("quick_gelu"))
        if trained != bool(open_clip.get_model_config(spec.model).get("quick_gelu")):
            use, other = ("with", "ends in") if trained else ("without", "does not end in")
            raise NolaError(
                f"CLIP model {spec.model} / {spec.pretrained}: QuickGELU mismatch, these weights were trained {use} it; "
                f"use the model name that {other} -quickgelu."
            )
