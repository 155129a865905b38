"""Trains the demo's CLIP on rendered digits and captions. It never sees handwriting.

The loss is CLIP's, with soft targets: a caption may be true of many pictures of the batch, and all of them share its
probability evenly (a picture and its captions likewise).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import open_clip
import torch
from open_clip.transformer import PatchDropout
from torch import nn
from torch.nn import functional

from demo.captions import named_captions, shape_captions
from demo.render import SIZE, blur, render, warp

CONFIG: dict[str, Any] = {
    "embed_dim": 96,
    "vision_cfg": {"image_size": 32, "layers": 4, "width": 128, "head_width": 32, "patch_size": 8},
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 20, "heads": 2, "layers": 2},
}
MEAN, STD = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD  # open_clip's default, so no setting is needed
PICTURES, EPOCHS, BATCH, LEARNING_RATE, WARM_UP = 16_000, 10, 125, 1.5e-3, 100
LOW_RESOLUTION = 0.25  # share of the pictures as coarse as the handwriting
SMALLEST_CROP = 0.35  # share of the area
FLIPPED = 0.1  # share of the pictures
PATCH_DROPOUT = 0.2
NAMED = 0.07  # share of the captions that name the digit in a template; all others tell of its shape
FEATURE_NORM = 10.0  # as OpenAI's CLIP has it: prompt tuning works on image features that are not normalised


def soft_loss(similarity: torch.Tensor, fits: torch.Tensor) -> torch.Tensor:
    """Mean of the two cross-entropies of `similarity` (pictures x captions) with the even shares of `fits` (0 or 1)."""
    by_picture = -(functional.log_softmax(similarity, dim=1) * fits).sum(dim=1) / fits.sum(dim=1)
    by_caption = -(functional.log_softmax(similarity, dim=0) * fits).sum(dim=0) / fits.sum(dim=0)
    return (by_picture.mean() + by_caption.mean()) / 2


def normalise(scaled: torch.Tensor) -> torch.Tensor:
    """N x 3 x 32 x 32 in 0 to 1 with CLIP's mean and standard deviation."""
    return (scaled - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def as_input(pictures: torch.Tensor) -> torch.Tensor:
    """N x 32 x 32 x 3 uint8 as the model takes them."""
    return normalise(pictures.permute(0, 3, 1, 2).float() / 255)


def augment(pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A random view of each picture (N x 32 x 32 x 3 uint8): half cropped, some mirrored, all bent and re-lit a little.

    A real CLIP has seen objects cut off, mirrored and in any light. This one gets the same, or prompt tuning on strong
    views would begin with pictures it cannot read.
    """
    count = len(pictures)

    def uniform(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(count, generator=generator)

    whole = torch.rand(count, generator=generator) < 0.5
    side = torch.where(whole, 1.0, uniform(SMALLEST_CROP, 1).sqrt())
    mirror = torch.where(torch.rand(count, generator=generator) < FLIPPED, -1.0, 1.0)
    zero = torch.zeros(count)
    rows = [side * mirror, zero, (1 - side) * uniform(-1, 1), zero, side, (1 - side) * uniform(-1, 1)]
    grid = functional.affine_grid(torch.stack(rows, dim=1).view(count, 2, 3), [count, 1, SIZE, SIZE], align_corners=False)
    grey = pictures[..., 0].unsqueeze(1).float() / 255
    view = functional.grid_sample(grey, grid, align_corners=False)
    view = warp(view, generator, degrees=8, shear=0.1, scale=0.1, shift=0.03, elastic=0.03)
    soft = uniform(0, 1).view(-1, 1, 1, 1)
    view = soft * blur(view, 1.5) + (1 - soft) * view
    view = uniform(0.4, 1.4).view(-1, 1, 1, 1) * view + uniform(-0.05, 0.15).view(-1, 1, 1, 1)
    return normalise(view.clamp(0, 1).expand(-1, 3, -1, -1))


def train_clip(seed: int) -> open_clip.CLIP:
    """Renders the pictures, trains the model and scales its visual projection to the mean feature norm FEATURE_NORM."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    pixels, digits = render(PICTURES, seed, LOW_RESOLUTION)
    pictures = torch.from_numpy(pixels)

    pools = [named_captions(), shape_captions()]
    texts = sorted({caption.text for pool in pools for of_digit in pool for caption in of_digit})
    position = {text: row for row, text in enumerate(texts)}
    tokenizer = open_clip.SimpleTokenizer(context_length=CONFIG["text_cfg"]["context_length"])
    tokens = tokenizer(texts)
    fits = torch.zeros(len(texts), 10)
    for pool in pools:
        for of_digit in pool:
            for caption in of_digit:
                fits[position[caption.text]] = torch.tensor(caption.fits, dtype=torch.float32)
    choices = [[np.array([position[c.text] for c in of_digit]) for of_digit in pool] for pool in pools]

    model = open_clip.CLIP(**CONFIG)
    model.visual.patch_dropout = PatchDropout(PATCH_DROPOUT)  # makes it tolerate a sequence that prompts lengthen
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(0.9, 0.98))
    steps = EPOCHS * (PICTURES // BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * step / steps))
    )
    generator = torch.Generator().manual_seed(seed)
    for epoch in range(EPOCHS):
        total, order = 0.0, rng.permutation(PICTURES)
        for start in range(0, PICTURES - BATCH + 1, BATCH):
            rows = order[start : start + BATCH]
            kinds = (rng.random(BATCH) >= NAMED).astype(int)
            chosen = [int(rng.choice(choices[kind][digit])) for kind, digit in zip(kinds, digits[rows], strict=True)]
            image_features = model.encode_image(augment(pictures[rows], generator), normalize=True)
            text_features = model.encode_text(tokens[chosen], normalize=True)
            similarity = model.logit_scale.exp() * image_features @ text_features.T
            loss = soft_loss(similarity, fits[chosen][:, digits[rows]].T)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                model.logit_scale.clamp_(0, math.log(100))
            total += float(loss.detach())
        mean, scale = total / (PICTURES // BATCH), model.logit_scale.exp().item()
        print(f"clip epoch {epoch + 1:2d}/{EPOCHS} loss {mean:.3f} scale {scale:.1f}", flush=True)

    model.visual.patch_dropout = nn.Identity()
    model.eval()
    with torch.no_grad():
        unseen = torch.ones(CONFIG["text_cfg"]["vocab_size"], dtype=torch.bool)
        unseen[tokens.unique()] = False
        model.token_embedding.weight[unseen] = 0  # a word no caption uses says nothing, and compresses to nothing
        norm = model.encode_image(as_input(pictures[:2000])).norm(dim=1).mean()
        model.visual.proj.mul_(FEATURE_NORM / norm)
    return model
