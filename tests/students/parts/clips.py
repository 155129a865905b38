"""Tiny CLIPs with random weights, made in memory: one of every kind of tower that parts treat differently."""

from __future__ import annotations

from typing import Any

import open_clip
import timm
import torch
from open_clip.timm_model import TimmModel
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor, nn
from torch.nn.functional import normalize

from nola_core.backbones.clip import Clip
from nola_core.backbones.encoder import ImageEncoder, freeze
from nola_core.students.options import Options
from nola_core.students.student import TunedStudent
from tests.tiny import CLIP_CONFIG

NAMES = ["night", "red rose", "snow"]
SENTENCES = [f"a photo of a {name}." for name in NAMES]
IMAGES = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
TEXT = {"vocab_size": 49408, "context_length": 16, "width": 16, "heads": 2, "layers": 3}
TOKENIZER = SimpleTokenizer(context_length=16)
WORDLESS = "a text tower of another library"


def _clip(*, custom: bool = False, **text: Any) -> Any:
    vision = CLIP_CONFIG["vision_cfg"] | {"image_size": 32, "layers": 3}
    made = open_clip.CustomTextCLIP if custom else open_clip.CLIP
    return made(embed_dim=16, vision_cfg=vision, text_cfg=TEXT | text)


def _with(visual: nn.Module, **text: Any) -> Any:
    model = _clip(custom=True, **text)
    model.visual = visual
    return model


def _timm(name: str, pool: str) -> nn.Module:
    tower = TimmModel(name, 16, image_size=32, pool=pool, proj="linear")
    if name.startswith("test_vit"):
        tower.trunk.set_input_size((32, 32))
    return tower


def _eva() -> nn.Module:
    tower = _timm("eva02_tiny_patch14_224", "token")
    tower.trunk = timm.create_model(
        "eva02_tiny_patch14_224", img_size=32, patch_size=16, depth=2, num_classes=0, global_pool="token"
    )
    return tower


def _foreign() -> Any:
    model = _clip(custom=True)
    model.text = nn.EmbeddingBag(49408, 16)
    return model


TRANSFORMERS = {
    "openai": _clip,
    "custom text": lambda: _clip(custom=True, layers=2, pool_type="eos", eos_id=49407),
    "siglip": lambda: _with(_timm("test_vit3", "map"), no_causal_mask=True, pool_type="last", proj_bias=True),
    "timm with a class token": lambda: _with(_timm("test_vit", "token")),
}
KINDS: dict[str, Any] = TRANSFORMERS | {
    "eva": lambda: _with(_eva()),
    "convnext": lambda: _with(_timm("test_convnext", "avg")),
    WORDLESS: _foreign,
}


def clip(kind: str = "openai") -> Clip:
    """The same weights at every call."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = freeze(KINDS[kind]())
        for parameter in model.parameters():  # open_clip and timm start biases at 0, projections near it
            if parameter.ndim < 3:
                parameter.add_(0.05 * torch.randn(parameter.shape))
    image = ImageEncoder(model.visual, lambda _: torch.zeros(3, 32, 32), 16, {"model": kind})
    return Clip(image, model, TOKENIZER, 20.0, 16)


def student(of: Clip, *tune: str, seed: int = 0, **options: Any) -> TunedStudent:
    """A new student that begins with the classifier of "a photo of a {}."."""
    chosen = Options(tune=list(tune), **{"prompt_tokens": 2, "prompt_depth": 2, "lora_rank": 2} | options)
    return TunedStudent.make(of, zero_shot(of), names=NAMES, texts=SENTENCES, options=chosen, seed=seed, scale=of.logit_scale)


def zero_shot(of: Clip) -> Tensor:
    """CLIP's own text features of the sentences, unit rows."""
    with torch.no_grad():
        return normalize(of.model.encode_text(of.tokenize(SENTENCES)), dim=-1)


def plain_logits(of: Clip, images: Tensor = IMAGES) -> Tensor:
    """Of zero-shot with "a photo of a {}.", by open_clip alone."""
    with torch.no_grad():
        return of.logit_scale * normalize(of.model.encode_image(images), dim=-1) @ zero_shot(of).T


@torch.no_grad()
def disturbed(some: TunedStudent, *, size: float = 0.3) -> TunedStudent:
    """With other values of everything that learns, as if it had been tuned."""
    generator = torch.Generator().manual_seed(7)
    for parameter in some.trained().values():
        parameter.add_(size * torch.randn(parameter.shape, generator=generator))
    return some


def step(some: TunedStudent) -> None:
    """One step of gradient descent towards class 0 for all images."""
    some.eval().requires_grad_(False)
    trained = some.trained()
    for parameter in trained.values():
        parameter.requires_grad_(True)
    optimizer = torch.optim.SGD(trained.values(), lr=1.0)
    nn.functional.cross_entropy(some(IMAGES), torch.zeros(3, dtype=torch.long)).backward()
    optimizer.step()
