"""Dual encoders: both towers with preprocessing and tokenizer."""

from __future__ import annotations

import difflib
import importlib.util
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from torch import Tensor
from torch.nn.functional import normalize

from nola_core.backbones import conse, hub
from nola_core.backbones.encoder import ImageEncoder
from nola_core.backbones.hub import Weights
from nola_core.backbones.pairs import ClipSpec, model_folder
from nola_core.backbones.source import Source, build, check_size, find, folder_weights, local_file, record
from nola_core.errors import NolaError

WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")  # in open_clip's order of preference
Built = tuple[Any, Any]  # a model, its tokenizer


@dataclass(frozen=True)
class Clip:
    """A frozen dual encoder.

    Attributes:
        image: the vision tower.
        logit_scale: s = exp(logit_scale), about 100.
        context_length: maximum number of tokens in a text.
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
        """Number of tokens of each text, including start and end tokens; texts longer than `context_length` are truncated by
        CLIP.

        Counts stop at eight times that length.
        """
        length = 8 * self.context_length
        counts: list[int] = []
        for start in range(0, len(texts), batch_size):
            ids = self.tokenize(list(texts[start : start + batch_size]), context_length=length)
            padded = ids.flip(1).eq(ids[:, -1:]).cumprod(1).sum(1)  # padding at the end, whatever its id
            counts += (length - padded).tolist()
        return counts


def load_clip(spec: ClipSpec, *, root: Path = Path(), device: torch.device | str = "cpu") -> Clip:
    """Build a dual encoder with its weights, frozen.

    Raises:
        NolaError: unknown model or tag, an image size that does not fit, weights that are not available or do not fit, a
            QuickGELU mismatch, or weights with another hash than in the pair.
    """
    what = _what(spec)
    model, tokenizer = build(spec, SOURCES, what=what, root=root)
    preprocess = PreprocessCfg(**model.visual.preprocess_cfg)
    recorded = {"library": f"open_clip {open_clip.__version__}", **vars(preprocess)}
    view = image_transform_v2(preprocess, is_train=False)
    if hasattr(model.visual, "view"):  # a tower that is not from open_clip has its own transform
        view, recorded = model.visual.view
    meta = record(model, spec, recorded, what=what, device=device)
    image = ImageEncoder(model.visual, view, _width(model), meta)
    return Clip(image, model, tokenizer, float(model.logit_scale.exp()), int(tokenizer.context_length))


def load_encoder(spec: ClipSpec, *, root: Path = Path(), device: torch.device | str = "cpu") -> ImageEncoder:
    """Only the vision tower; see `load_clip`."""
    return load_clip(spec, root=root, device=device).image


def check_clip(spec: ClipSpec, *, root: Path = Path()) -> list[Weights]:
    """The files a dual encoder needs and where they are, without building or downloading anything.

    Raises:
        NolaError: anything that would make `load_clip` fail, if it can be known in advance.
    """
    return find(spec, SOURCES, root)[1]


def _what(spec: ClipSpec) -> str:
    return f"CLIP model {spec.model}" + (f" / {spec.pretrained}" if spec.pretrained else "")


def _width(model: Any) -> int:
    size = model.visual.image_size
    height, width = (size, size) if isinstance(size, int) else size
    place = next(model.parameters()).device
    with torch.inference_mode():
        return int(model.visual(torch.zeros(1, 3, height, width, device=place)).shape[-1])


def _create(name: str, spec: ClipSpec, pretrained: str | None = None, **options: Any) -> Built:
    options |= {"force_image_size": spec.image_size} if spec.image_size else {}
    model = open_clip.create_model(name, pretrained=pretrained, require_pretrained=True, precision="fp32", **options)
    return model, open_clip.get_tokenizer(name)


def _check_plain(spec: ClipSpec, root: Path) -> list[Weights]:
    what, models = _what(spec), open_clip.list_models()
    if spec.model not in models:
        near = ", ".join(difflib.get_close_matches(spec.model, models, n=3)) or "see open_clip.list_models()"
        raise NolaError(f"open_clip has no model '{spec.model}'; similar names: {near}.")
    tags = open_clip.list_pretrained_tags_by_model(spec.model)
    if spec.pretrained is None:
        raise NolaError(f"CLIP model {spec.model} has no `pretrained`; set it to a path or one of: {', '.join(tags)}.")
    config = open_clip.get_model_config(spec.model)
    _check_image_size(spec, config["vision_cfg"])
    files = _tokenizer_files(config["text_cfg"], what=what)
    if (root / spec.pretrained).is_file():
        return [local_file(spec.pretrained, root, what=what), *files]
    if spec.pretrained not in tags:
        raise NolaError(
            f"CLIP model {spec.model} has no weights '{spec.pretrained}' (neither a tag nor a file); "
            f"available tags: {', '.join(tags)}."
        )
    weights = open_clip.get_pretrained_cfg(spec.model, spec.pretrained)
    trained = bool(weights.get("quick_gelu"))
    if trained != bool(config.get("quick_gelu")):  # open_clip only warns about this, and only after the download
        use, other = ("with", "ends in") if trained else ("without", "does not end in")
        raise NolaError(
            f"{what}: QuickGELU mismatch: these weights were trained {use} it; use the model name that {other} -quickgelu."
        )
    repo, _, name = weights.get("hf_hub", "").rpartition("/")
    if repo:
        names = (name.rpartition(".")[0] + ".safetensors", name) if name.endswith((".bin", ".pth")) else (name,)
        files.insert(0, hub.locate(repo, names if name else WEIGHTS, what=what))
    return files


def _build_plain(spec: ClipSpec, root: Path) -> Built:
    pretrained = str(spec.pretrained)
    if not (root / pretrained).is_file():
        return _create(spec.model, spec, pretrained)
    tags = [open_clip.get_pretrained_cfg(spec.model, tag) for tag in open_clip.list_pretrained_tags_by_model(spec.model)]
    kinds = [{key: tag[key] for key in ("mean", "std", "interpolation", "resize_mode") if key in tag} for tag in tags]
    same = (
        kinds[0] if kinds and all(kind == kinds[0] for kind in kinds) else {}
    )  # a checkpoint file does not contain its preprocessing
    return _create(spec.model, spec, str(root / pretrained), force_preprocess_cfg=same)


def _check_image_size(spec: ClipSpec, vision: dict[str, Any]) -> None:
    if spec.image_size is None:
        return
    if isinstance(vision.get("layers"), list):
        raise NolaError(
            f"{_what(spec)}: its attention pooling accepts only images of {vision['image_size']} pixels; remove image_size."
        )
    patch = vision.get("patch_size") or re.search(r"patch(\d+)", vision.get("timm_model_name", ""))
    check_size(spec.image_size, int(patch[1]) if isinstance(patch, re.Match) else patch or 1, what=_what(spec))


def _tokenizer_files(text: dict[str, Any], *, what: str) -> list[Weights]:
    """Files that a text tower of the transformers library needs in addition to its weights."""
    needed = [
        (text[key], name)
        for key, name in (("hf_tokenizer_name", "tokenizer.json"), ("hf_model_name", "config.json"))
        if text.get(key)
    ]
    if needed and importlib.util.find_spec("transformers") is None:
        raise NolaError(f"{what}: its tokenizer needs the package transformers; install it: pip install transformers.")
    return [hub.locate(repo, (name,), what=what) for repo, name in needed]


def _no_tag(spec: ClipSpec) -> None:
    if spec.pretrained is not None:
        raise NolaError(f"CLIP model {spec.model} has its own weights; set `pretrained` to null.")


def _check_folder(spec: ClipSpec, root: Path) -> list[Weights]:
    _no_tag(spec)
    return folder_weights(spec.model, root)


def _build_folder(spec: ClipSpec, root: Path) -> Built:
    return _create(f"local-dir:{model_folder(spec.model, root)}", spec)


def _check_hub(spec: ClipSpec, root: Path) -> list[Weights]:
    _no_tag(spec)
    repo = spec.model.removeprefix("hf-hub:")
    return [hub.locate(repo, names, what=_what(spec)) for names in (("open_clip_config.json",), WEIGHTS)]


def _check_conse(spec: ClipSpec, root: Path) -> list[Weights]:
    _no_tag(spec)
    return conse.check(spec.model)


SOURCES = {
    "": Source[ClipSpec, Built](_check_plain, _build_plain),
    "local-dir": Source[ClipSpec, Built](_check_folder, _build_folder),
    "package": Source[ClipSpec, Built](_check_folder, _build_folder),
    "hf-hub": Source[ClipSpec, Built](_check_hub, lambda spec, root: _create(spec.model, spec)),
    "conse": Source[ClipSpec, Built](
        _check_conse, lambda spec, root: conse.load_conse(image_size=spec.image_size or conse.IMAGE_SIZE)
    ),
}
