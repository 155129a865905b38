"""Trains the demo's self-supervised backbone: SimCLR on the handwriting's train split and on renderings, without labels.

Two views of a picture differ in geometry (affine and elastic), stroke contrast, blur and noise. Nothing is flipped: a
mirrored digit is no digit.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import timm
import torch
from torch import nn
from torch.nn import functional

from demo.render import Pixels, blur, render, warp

ARCHITECTURE = "vit_tiny_patch16_224"
MODEL_ARGS: dict[str, Any] = {
    "img_size": 32,
    "patch_size": 8,
    "embed_dim": 128,
    "depth": 4,
    "num_heads": 4,
    "global_pool": "avg",
}
MEAN, STD = 0.3, 0.35
RENDERINGS, EPOCHS, BATCH, LEARNING_RATE, WARM_UP, TEMPERATURE = 700, 70, 128, 1e-3, 60, 0.5


def normalise(pixels: torch.Tensor) -> torch.Tensor:
    """N x 32 x 32 x 3 uint8 as N x 3 x 32 x 32 with the backbone's mean and standard deviation."""
    return (pixels.permute(0, 3, 1, 2).float() / 255 - MEAN) / STD


def augment(grey: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """One random view of each picture: N x 1 x 32 x 32 in 0 to 1, to N x 3 x 32 x 32 normalised."""
    view = warp(grey, generator, degrees=12, shear=0.25, scale=0.15, shift=0.05, elastic=0.07)
    soft = (torch.rand(len(view), 1, 1, 1, generator=generator) < 0.3).float()
    view = soft * blur(view, 1.2) + (1 - soft) * view
    gain = 0.7 + 0.7 * torch.rand(len(view), 1, 1, 1, generator=generator)
    power = torch.exp(0.3 * torch.randn(len(view), 1, 1, 1, generator=generator))
    view = (gain * view.clamp(0, 1) ** power).clamp(0, 1) + 0.04 * torch.randn(view.shape, generator=generator)
    return ((view - MEAN) / STD).expand(-1, 3, -1, -1)


def nt_xent(first: torch.Tensor, second: torch.Tensor, temperature: float) -> torch.Tensor:
    """SimCLR's loss of two views (N x d each, any norm): each finds its partner among the other 2N - 1."""
    features = functional.normalize(torch.cat([first, second]), dim=1)
    similarity = features @ features.T / temperature
    similarity.fill_diagonal_(-torch.inf)
    count = len(first)
    partner = torch.cat([torch.arange(count, 2 * count), torch.arange(count)])
    return functional.cross_entropy(similarity, partner)


def train_ssl(handwriting: Pixels, seed: int) -> nn.Module:
    """Trains on the unlabeled `handwriting` (train split) and as many different renderings as RENDERINGS says."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    rendered, _ = render(RENDERINGS, seed + 1, low_resolution=1.0)
    grey = torch.from_numpy(np.concatenate([handwriting, rendered])[..., :1]).permute(0, 3, 1, 2).float() / 255

    model: nn.Module = timm.create_model(ARCHITECTURE, pretrained=False, num_classes=0, **MODEL_ARGS)
    width = MODEL_ARGS["embed_dim"]
    projector = nn.Sequential(nn.Linear(width, 256), nn.BatchNorm1d(256), nn.ReLU(), nn.Linear(256, 64))
    parameters = [*model.parameters(), *projector.parameters()]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": 0.05},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE)
    per_epoch = len(grey) // BATCH
    steps = EPOCHS * per_epoch
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * step / steps))
    )
    for epoch in range(EPOCHS):
        total = 0.0
        for rows in torch.randperm(len(grey), generator=generator)[: per_epoch * BATCH].split(BATCH):
            views = torch.cat([augment(grey[rows], generator), augment(grey[rows], generator)])
            first, second = projector(model(views)).chunk(2)
            loss = nt_xent(first, second, TEMPERATURE)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        print(f"ssl epoch {epoch + 1:3d}/{EPOCHS} loss {total / per_epoch:.3f}", flush=True)
    return model.eval()
