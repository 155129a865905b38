"""Products of two narrow matrices, added to the attention and MLP matrices: LoRA."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from nola_core.students.parts.matrices import Change, Matrices


class LowRank(Change):
    """W + (alpha / r) B A with alpha = r: `down` is A [pieces, r, n], uniform in +-1/sqrt(n), and `up` is B [pieces, m, r], 0."""

    def __init__(self, weight: Tensor, pieces: int, *, rank: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        rows, columns = weight.shape
        down = (2 * torch.rand(pieces, rank, columns, generator=generator) - 1) / math.sqrt(columns)
        self.down, self.up = nn.Parameter(down), nn.Parameter(torch.zeros(pieces, rows // pieces, rank))

    def change(self) -> Tensor:
        return self.up @ self.down


class Lora(Matrices):
    """`lora.<matrix>.down` and `lora.<matrix>.up`, of rank `lora_rank`; see `LowRank`."""

    name = "lora"
    summary = "low-rank changes of the attention and MLP matrices of both towers"
    paper = "Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, 2022, equation 3"

    @classmethod
    def begin(cls, weight: Tensor, pieces: int, *, rank: int, generator: torch.Generator) -> Change:
        return LowRank(weight, pieces, rank=rank, generator=generator)

    @classmethod
    def again(cls, weight: Tensor, pieces: int, stored: Mapping[str, Tensor]) -> Change:
        return LowRank(weight, pieces, rank=stored["down"].shape[1])
