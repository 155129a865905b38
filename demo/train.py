"""Makes the demo's two checkpoints again: no network, about a quarter of an hour, one thread.

    python -m demo.train all | tee demo/train.log     # or `clip`, or `ssl`

They go to nola_core/backbones/demo, from where the pair `demo` is loaded. Both folders also load by open_clip's and timm's own
`local-dir:` names; weights are stored as float16 safetensors. One thread, so that the number of cores cannot change the sums:
two runs with the same versions on the same machine gave the same tensors.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from timm.data.config import resolve_model_data_config
from timm.data.transforms_factory import create_transform
from torch import nn

from demo import train_clip, train_ssl
from demo.captions import NAMES
from demo.handwriting import load_handwriting
from demo.render import Labels
from nola_core.backbones.pairs import PACKAGE

FOLDER = PACKAGE / "demo"  # from where `package:demo/clip` and `package:demo/ssl` are loaded
CLIP_FOLDER, SSL_FOLDER = FOLDER / "clip", FOLDER / "ssl"
SEED = 0
CHECK_TEMPLATE = "a photo of the digit {}."


def save_model(model: nn.Module, weights: Path, config: Path, content: dict[str, Any]) -> None:
    """Writes the state dict as float16 safetensors and the configuration beside it."""
    weights.parent.mkdir(exist_ok=True)
    save_file({name: tensor.detach().half().contiguous() for name, tensor in model.state_dict().items()}, weights)
    config.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def make_clip() -> Path:
    """Trains and stores the CLIP; its weights file."""
    weights = CLIP_FOLDER / "open_clip_model.safetensors"
    preprocess = {
        "mean": train_clip.MEAN,
        "std": train_clip.STD,
        "interpolation": "bicubic",
        "resize_mode": "shortest",
    }
    content = {"model_cfg": train_clip.CONFIG, "preprocess_cfg": preprocess}
    save_model(train_clip.train_clip(SEED), weights, CLIP_FOLDER / "open_clip_config.json", content)
    return weights


def make_ssl() -> Path:
    """Trains and stores the self-supervised backbone; its weights file."""
    weights = SSL_FOLDER / "model.safetensors"
    size = train_ssl.MODEL_ARGS["img_size"]
    pretrained = {
        "input_size": [3, size, size],
        "mean": [train_ssl.MEAN] * 3,
        "std": [train_ssl.STD] * 3,
        "interpolation": "bicubic",
        "crop_pct": 1.0,
        "num_classes": 0,
    }
    content = {
        "architecture": train_ssl.ARCHITECTURE,
        "num_classes": 0,
        "model_args": train_ssl.MODEL_ARGS,
        "pretrained_cfg": pretrained,
    }
    model = train_ssl.train_ssl(load_handwriting().train, SEED)
    save_model(model, weights, SSL_FOLDER / "config.json", content)
    return weights


@torch.inference_mode()
def check_clip() -> float:
    """Loads the stored CLIP by open_clip's own means; its zero-shot accuracy on the handwriting's test split."""
    model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{CLIP_FOLDER}")
    content = json.loads((CLIP_FOLDER / "open_clip_config.json").read_text(encoding="utf-8"))
    bare = open_clip.CLIP(**content["model_cfg"]).eval()
    bare.load_state_dict({n: t.float() for n, t in load_file(CLIP_FOLDER / "open_clip_model.safetensors").items()})
    tokenizer = open_clip.get_tokenizer(f"local-dir:{CLIP_FOLDER}")
    handwriting = load_handwriting()
    images = torch.stack([preprocess(Image.fromarray(picture)) for picture in handwriting.test])
    features = model.eval().encode_image(images, normalize=True)
    torch.testing.assert_close(bare.encode_image(images, normalize=True), features)
    texts = model.encode_text(tokenizer([CHECK_TEMPLATE.format(name) for name in NAMES]), normalize=True)
    return accuracy((features @ texts.T).argmax(dim=1).numpy(), handwriting.test_labels)


@torch.inference_mode()
def check_ssl(neighbors: int = 5) -> float:
    """Loads the stored backbone by timm's own means; its cosine k-NN accuracy (gallery train, queries test)."""
    model = timm.create_model(f"local-dir:{SSL_FOLDER}", pretrained=True, num_classes=0).eval()
    transform = create_transform(**resolve_model_data_config(model), is_training=False)
    handwriting = load_handwriting()
    gallery, queries = (
        nn.functional.normalize(model(torch.stack([transform(Image.fromarray(p)) for p in split])), dim=1)
        for split in (handwriting.train, handwriting.test)
    )
    nearest = handwriting.train_labels[(queries @ gallery.T).topk(neighbors, dim=1).indices.numpy()]
    votes = np.stack([np.bincount(row, minlength=10) for row in nearest])
    return accuracy(votes.argmax(axis=1), handwriting.test_labels)


def accuracy(answers: Labels, labels: Labels) -> float:
    """Share of right answers."""
    return float((answers == labels).mean())


def main(argv: list[str] | None = None) -> None:
    """Trains what was asked for, checks what is stored, prints hashes and sizes."""
    parser = argparse.ArgumentParser(prog="python -m demo.train", description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("all", "clip", "ssl", "check"))
    what = parser.parse_args(argv).what
    torch.set_num_threads(1)
    versions = f"python {platform.python_version()}, torch {torch.__version__}, open_clip {open_clip.__version__}"
    print(f"seed {SEED}, one thread, {versions}, timm {timm.__version__}")
    for name, make in (("clip", make_clip), ("ssl", make_ssl)):
        if what in (name, "all"):
            start = time.monotonic()
            weights = make()
            print(f"{name}: {time.monotonic() - start:.0f} s, {weights.stat().st_size / 1e6:.2f} MB")
    if what in ("clip", "all", "check"):
        print(f"clip: zero-shot on the test split {check_clip():.1%} ({CHECK_TEMPLATE!r})")
    if what in ("ssl", "all", "check"):
        print(f"ssl: 5-NN on the test split {check_ssl():.1%}")
    for weights in sorted(FOLDER.glob("*/*.safetensors")):
        print(f"sha256 {hashlib.sha256(weights.read_bytes()).hexdigest()}  {weights.relative_to(FOLDER.parent)}")


if __name__ == "__main__":
    main()
