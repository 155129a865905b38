"""Visual prompt tokens inside a CLIP vision tower (shallow VPT; METHODS section 1, step 3).

M learnable tokens of the tower's width join the sequence once, after positional embedding and the first LayerNorm, behind the
class token and before the patch tokens. They are dropped again before pooling, so that a tower pools what it always pooled.

Supported: open_clip's own ViT (OpenAI, LAION, DataComp, DFN, MetaCLIP, ...; class token, average or attention pooling) and
open_clip's timm ViTs, with a class token (EVA excepted) or without one (SigLIP, SigLIP2; there the prompts come first).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from timm.models.vision_transformer import VisionTransformer as TimmVisionTransformer
from torch import Tensor, nn

from nola_core.errors import NolaError


class PromptedTower(nn.Module):
    """A vision tower with prompt tokens: images [B, 3, H, W] -> features [B, d], not normalised.

    With no tokens it computes exactly what the tower computes.

    Attributes:
        tower: the tower it was given, not copied.
        tokens: [M, width], uniform in +-sqrt(6 / (3 P^2 + width)) with P the patch size.

    Raises:
        NolaError: the tower is of a kind that takes no prompt tokens.
    """

    tower: Any

    def __init__(self, tower: nn.Module, *, count: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.tower = tower
        self._blocks: Callable[[Tensor], Tensor]
        self._embed: Callable[[Tensor], Tensor]
        self._finish: Callable[[Tensor], Tensor]
        if isinstance(tower, VisionTransformer):
            width, self._prefix = tower.class_embedding.shape[0], 1
            patch = tower.patch_size[0]
            self._embed, self._blocks, self._finish = tower._embeds, tower.transformer, self._finish_native
        elif isinstance(tower, TimmModel) and type(tower.trunk) is TimmVisionTransformer:
            trunk = tower.trunk
            width, self._prefix = trunk.embed_dim, trunk.num_prefix_tokens
            patch = trunk.patch_embed.patch_size[0]
            self._embed, self._blocks, self._finish = self._embed_timm, trunk.blocks, self._finish_timm
        else:
            inner = type(tower.trunk).__name__ if isinstance(tower, TimmModel) else type(tower).__name__
            raise NolaError(
                f"prompt tokens need a vision transformer of open_clip or timm, and this CLIP's vision tower is a {inner}; "
                "choose a model whose name starts with ViT-."
            )
        bound = math.sqrt(6 / (3 * patch * patch + width))
        self.tokens = nn.Parameter((2 * torch.rand(count, width, generator=generator) - 1) * bound)

    def forward(self, images: Tensor) -> Tensor:
        sequence = self._embed(images)
        prefix, patches = sequence.split([self._prefix, sequence.shape[1] - self._prefix], dim=1)
        prompts = self.tokens.to(sequence.dtype).expand(len(sequence), -1, -1)
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


def layer_norms(tower: nn.Module) -> dict[str, nn.Parameter]:
    """Weights and biases of every LayerNorm of a tower, by their names in it."""
    return {
        f"{name}.{key}": parameter
        for name, module in tower.named_modules()
        if isinstance(module, nn.LayerNorm)
        for key, parameter in module.named_parameters(recurse=False)
    }
