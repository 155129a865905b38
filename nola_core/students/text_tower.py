"""CLIP's text tower, open to gradients and to learnable words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from open_clip.model import CLIP, CustomTextCLIP
from open_clip.transformer import TextTransformer, text_global_pool
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.nn.utils import parametrize
from torch.utils.checkpoint import checkpoint

from nola_core.backbones.clip import Clip
from nola_core.errors import NolaError

AT_ONCE = 128
"""Texts whose activations are kept for the gradient; with more of them, blocks of so many are computed again when it is due."""


class TextTower:
    """The text transformer of open_clip's CLIP or CustomTextCLIP. It refers to their modules and copies none.

    Attributes:
        blocks: in order.
        width: of a word.
        first: where a text's first word stands: 1 behind a start token, 0 where there is none.
    """

    def __init__(self, clip: Clip) -> None:
        """Raises NolaError if the text tower is of another kind."""
        if not open_to_words(clip):
            raise NolaError(
                f"the text tower of {clip.image.meta['model']} takes no learnable words, since it is no transformer of "
                "open_clip's own; name other parts in tune, such as classifier."
            )
        model = clip.model
        tower: Any = model if isinstance(model, CLIP) else model.text
        self._tower, self._tokenize = tower, clip.tokenize
        self._pool = (model.text_pool_type, model.text_eos_id) if tower is model else (tower.pool_type, tower.eos_id)
        self.blocks: Sequence[nn.Module] = list(tower.transformer.resblocks)
        self.width = int(tower.token_embedding.weight.shape[1])
        one, other = self.tokens(["photo", "the"])
        self.first = int(one[0] == other[0])

    def tokens(self, texts: Sequence[str]) -> Tensor:
        """Token ids, int64 [n, L], on the tower's device."""
        return self._tokenize(list(texts)).to(self._tower.token_embedding.weight.device)

    def embedded(self, tokens: Tensor) -> Tensor:
        """The embeddings of tokens, float32 [..., width], without positions."""
        return self._tower.token_embedding(tokens)

    def shortened(self, tokens: Tensor) -> Tensor:
        """Without the columns behind the last end token, where attention is causal: they change no feature."""
        kind, end = self._pool
        if self._tower.attn_mask is None or kind not in ("argmax", "eos"):
            return tokens
        ends = tokens.argmax(dim=1) if kind == "argmax" else (tokens == end).int().argmax(dim=1)
        return tokens[:, : int(ends.max()) + 1]

    def encode(self, tokens: Tensor, words: Tensor | None = None) -> Tensor:
        """Text features with their gradient, L2-normalised float32 [n, d].

        Args:
            tokens: int64 [n, L], as `tokens` or `shortened` give them.
            words: float32 [J, m, width]: what stands in place of the m tokens from `first` on, at the input of each of the
                first J blocks.
        """
        if len(tokens) <= AT_ONCE or not torch.is_grad_enabled():
            return torch.cat([self._encode(rows, words) for rows in tokens.split(AT_ONCE)])
        rows = tokens.split(AT_ONCE)
        return torch.cat([checkpoint(self._encode, some, words, use_reentrant=False, preserve_rng_state=False) for some in rows])

    def _encode(self, tokens: Tensor, words: Tensor | None) -> Tensor:
        tower, length = self._tower, tokens.shape[1]
        with torch.autocast(tokens.device.type, enabled=False), parametrize.cached():
            mask = None if tower.attn_mask is None else tower.attn_mask[:length, :length]
            sequence = self.embedded(tokens)
            if words is not None:
                sequence = self._put(sequence, words[0])
            sequence = sequence + tower.positional_embedding[:length]
            for number, block in enumerate(self.blocks):
                if words is not None and 0 < number < len(words):
                    sequence = self._put(sequence, words[number])
                sequence = block(sequence, attn_mask=mask)
            kind, end = self._pool
            pooled = text_global_pool(tower.ln_final(sequence), tokens, pool_type=kind, eos_token_id=end)
            projection = tower.text_projection
            if projection is not None:
                pooled = projection(pooled) if isinstance(projection, nn.Linear) else pooled @ projection
            return normalize(pooled.float(), dim=-1)

    def _put(self, sequence: Tensor, words: Tensor) -> Tensor:
        own = words.expand(len(sequence), -1, -1)
        return torch.cat([sequence[:, : self.first], own, sequence[:, self.first + words.shape[0] :]], dim=1)


def open_to_words(clip: Clip) -> bool:
    """Whether a CLIP's text tower is one that `TextTower` can enter."""
    model = clip.model
    if isinstance(model, CLIP):
        return True
    text = model.text if isinstance(model, CustomTextCLIP) else None
    return isinstance(text, TextTransformer) and text.cls_emb is None and not text.use_pad_mask
