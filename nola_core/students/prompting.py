"""Visual prompts for a CLIP vision tower: tokens inside a transformer, or a frame of pixels around the image.

Tokens (shallow VPT; METHODS section 1, step 3): M learnable tokens of the tower's width are inserted once, after the positional
embedding and the first LayerNorm, between the class token and the patch tokens. They are removed before pooling, so the tower
pools the same tokens as without prompts. Used for open_clip's own ViT (OpenAI, LAION, DataComp, DFN, MetaCLIP, ...; class token,
average or attention pooling) and open_clip's timm ViTs with a class token (except EVA) or without (SigLIP, SigLIP2; there the
prompts come first). Deep prompts (VPT-deep, the same paper) are new tokens at the input of each of the first blocks; what a
block makes of the tokens before it is dropped.

A frame (Bahng et al., 2022): learnable pixels added to the border of the normalised image. Used for every other tower:
open_clip's ResNets, ConvNeXt, EVA, MobileCLIP, the offline pair.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from timm.models.vision_transformer import VisionTransformer as TimmVisionTransformer
from torch import Tensor, nn

NORMS = (nn.LayerNorm, nn.GroupNorm, nn.BatchNorm2d)


def takes_tokens(tower: nn.Module) -> bool:
    """Whether a tower is a transformer that accepts prompt tokens; all other towers take a frame."""
    if isinstance(tower, TimmModel):
        return type(tower.trunk) is TimmVisionTransformer
    return isinstance(tower, VisionTransformer)


class PromptedTower(nn.Module):
    """A vision transformer with prompt tokens: images [B, 3, H, W] -> features [B, d], not normalised.

    Without tokens it computes exactly the same as the tower.

    Attributes:
        tower: the original tower, not a copy.
        prompts: `tokens` [M, width], uniform in +-sqrt(6 / (3 P^2 + width)) with P the patch size.
    """

    tower: Any

    def __init__(self, tower: nn.Module, *, count: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.tower = tower
        self._blocks: Callable[[Tensor], Tensor]
        self._embed: Callable[[Tensor], Tensor]
        self._finish: Callable[[Tensor], Tensor]
        if isinstance(tower, TimmModel):
            trunk: Any = tower.trunk
            self._prefix = trunk.num_prefix_tokens
            self._embed, self._blocks, self._finish = self._embed_timm, trunk.blocks, self._finish_timm
        else:
            native: Any = tower
            self._prefix = 1
            self._embed, self._blocks, self._finish = native._embeds, native.transformer, self._finish_native
        self.tokens = nn.Parameter(uniform_tokens(tower, (count,), generator))

    @property
    def prompts(self) -> dict[str, nn.Parameter]:
        """The learnable prompts, by name."""
        return {"tokens": self.tokens}

    def forward(self, images: Tensor) -> Tensor:
        sequence = self._embed(images)
        prefix, patches = sequence.split([self._prefix, sequence.shape[1] - self._prefix], dim=1)
        prompts = self.tokens.to(sequence.dtype).expand(sequence.shape[0], -1, -1)
        sequence = self._blocks(torch.cat([prefix, prompts, patches], dim=1))
        prefix, _, patches = sequence.split([self._prefix, len(self.tokens), patches.shape[1]], dim=1)
        return self._finish(torch.cat([prefix, patches], dim=1))

    def _finish_native(self, sequence: Tensor) -> Tensor:
        pooled, _ = self.tower._pool(sequence)
        return pooled if self.tower.proj is None else pooled @ self.tower.proj

    def _embed_timm(self, images: Tensor) -> Tensor:
        trunk = self.tower.trunk
        return trunk.norm_pre(trunk.patch_drop(trunk._pos_embed(trunk.patch_embed(images))))

    def _finish_timm(self, sequence: Tensor) -> Tensor:
        trunk = self.tower.trunk
        return self.tower.head(trunk.forward_head(trunk.norm(sequence)))


class DeepPromptedTower(PromptedTower):
    """A vision transformer with tokens of their own for each of its first L blocks: images [B, 3, H, W] -> features [B, d].

    Without tokens it computes exactly the same as the tower.

    Args:
        tokens: gives float32 [L, M, width]; asked at every forward pass, since it may compute them.
    """

    def __init__(self, tower: nn.Module, tokens: Callable[[], Tensor]) -> None:
        super().__init__(tower, count=0)
        self._deep = tokens

    def forward(self, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, enabled=False):
            tokens = self._deep()
        sequence = self._embed(images)
        count = 0  # of the tokens that are in the sequence
        for number, block in enumerate(vision_blocks(self.tower)):
            if number < len(tokens):
                prefix, patches = self._without(sequence, count)
                prompts = tokens[number].to(sequence.dtype).expand(sequence.shape[0], -1, -1)
                sequence, count = torch.cat([prefix, prompts, patches], dim=1), tokens.shape[1]
            sequence = block(sequence)
        return self._finish(torch.cat(self._without(sequence, count), dim=1))

    def _without(self, sequence: Tensor, count: int) -> tuple[Tensor, Tensor]:
        return sequence[:, : self._prefix], sequence[:, self._prefix + count :]


def vision_blocks(tower: Any) -> Sequence[nn.Module]:
    """The blocks of a vision transformer, in order; none of any other tower.

    They are open_clip's own, and those of timm's ViT and EVA inside its adapter.
    """
    if isinstance(tower, TimmModel):
        blocks = list(getattr(tower.trunk, "blocks", []))
        return blocks if all(hasattr(block, "attn") and hasattr(block, "mlp") for block in blocks) else []
    return list(tower.transformer.resblocks) if isinstance(tower, VisionTransformer) else []


def token_width(tower: Any) -> int:
    """Of the tokens of a tower that takes them."""
    return int(tower.trunk.embed_dim if isinstance(tower, TimmModel) else tower.class_embedding.shape[0])


def uniform_tokens(tower: Any, shape: tuple[int, ...], generator: torch.Generator | None) -> Tensor:
    """New tokens, float32 [*shape, width], uniform in +-sqrt(6 / (3 P^2 + width)) with P the patch size."""
    patch = tower.trunk.patch_embed.patch_size[0] if isinstance(tower, TimmModel) else tower.patch_size[0]
    width = token_width(tower)
    return (2 * torch.rand(*shape, width, generator=generator) - 1) * math.sqrt(6 / (3 * patch * patch + width))


class FramedTower(nn.Module):
    """Any vision tower with a learnable frame: images [B, 3, H, W] -> features [B, d], as returned by the tower.

    The frame is added to the outer pixels of the normalised image, which keeps its size. It is initialised with zeros, so that
    the student initially predicts the same as the original tower.

    Attributes:
        tower: the original tower, not a copy.
        prompts: `frame` [3, n], the n pixels outside the inner rectangle, row by row.
    """

    border: Tensor

    def __init__(self, tower: nn.Module, *, width: float) -> None:
        """`width` is a share of the shorter side, below one half, rounded to whole pixels."""
        super().__init__()
        self.tower: Any = tower
        h, w = image_size(tower)
        pixels = round(width * min(h, w))
        border = torch.ones(h, w, dtype=torch.bool)
        border[pixels : h - pixels, pixels : w - pixels] = False
        self.register_buffer("border", border, persistent=False)
        self.frame = nn.Parameter(torch.zeros(3, int(border.sum())))

    @property
    def prompts(self) -> dict[str, nn.Parameter]:
        """The learnable prompts, by name."""
        return {"frame": self.frame}

    def forward(self, images: Tensor) -> Tensor:
        canvas = images.new_zeros(3, *self.border.shape)
        canvas[:, self.border] = self.frame.to(images.dtype)
        return self.tower(images + canvas)


def image_size(tower: Any) -> tuple[int, int]:
    """Height and width of a tower's images; open_clip stores one number for a square."""
    size = tower.image_size
    return (size, size) if isinstance(size, int) else tuple(size)


def norm_parameters(tower: nn.Module) -> dict[str, nn.Parameter]:
    """Weights and biases of every normalisation layer of a tower, by their names in it.

    For a BatchNorm these are scale and shift; its running statistics are buffers and do not change in evaluation mode.
    """
    return {
        f"{name}.{key}": parameter
        for name, module in tower.named_modules()
        if isinstance(module, NORMS)
        for key, parameter in module.named_parameters(recurse=False)
    }
