"""Hand-made backbones and collections, small enough for a test and in the very formats of the large ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

CLIP_CONFIG: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 16, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
SSL_ARGS: dict[str, Any] = {"img_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 1, "num_heads": 2, "num_classes": 0}


def write_clip(folder: Path, *, seed: int = 0, vision: dict[str, Any] | None = None) -> Path:
    """A random CLIP in open_clip's own folder format; `vision` overrides keys of its vision tower."""
    tower = CLIP_CONFIG["vision_cfg"] | (vision or {})
    config = CLIP_CONFIG | {"vision_cfg": tower}
    size = [tower["image_size"]] * 2
    folder.mkdir(parents=True)
    preprocess = {"size": size, "mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic"}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = open_clip.CLIP(**config)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return folder


def write_ssl(folder: Path, *, seed: int = 0) -> Path:
    """A random ViT in timm's own folder format."""
    folder.mkdir(parents=True)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = timm.create_model("vit_tiny_patch16_224", pretrained=False, **SSL_ARGS)
    config = {
        "architecture": "vit_tiny_patch16_224",
        "num_classes": 0,
        "model_args": SSL_ARGS,
        "pretrained_cfg": {
            "input_size": [3, 16, 16],
            "mean": [0.5] * 3,
            "std": [0.5] * 3,
            "interpolation": "bicubic",
            "crop_pct": 1.0,
            "num_classes": 0,
        },
    }
    (folder / "config.json").write_text(json.dumps(config))
    save_file(model.state_dict(), folder / "model.safetensors")
    return folder


def write_photos(folder: Path, *, count: int, seed: int = 0, size: int = 20) -> Path:
    """`count` PNGs of random blobs, named 000.png onwards."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for number in range(count):
        coarse = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC).save(folder / f"{number:03d}.png")
    return folder
