"""The singular values of the attention and MLP matrices: CLIP-SVD."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from nola_core.students.parts.matrices import Change, Matrices


class Shifted(Change):
    """W = U diag(s) V with s = s_0 + `shift`; U, s_0 and V stay as they are in W.

    `shift` [pieces, r] learns, and not s itself, so that weight decay draws towards CLIP and not towards 0.
    """

    def __init__(self, weight: Tensor, pieces: int) -> None:
        super().__init__()
        # on the CPU, whatever the device: a restored student finds the same U and V
        u, s, v = torch.linalg.svd(weight.cpu().float().reshape(pieces, -1, weight.shape[1]), full_matrices=False)
        self.u: Tensor
        self.v: Tensor
        self.register_buffer("u", u, persistent=False)
        self.register_buffer("v", v, persistent=False)
        self.shift = nn.Parameter(torch.zeros_like(s))

    def change(self) -> Tensor:
        return (self.u * self.shift[:, None]) @ self.v


class SingularValues(Matrices):
    """`singular_values.<matrix>.shift` [pieces, r]: what is added to the singular values of a matrix."""

    name = "singular_values"
    summary = "singular values of the attention and MLP matrices of both towers"
    paper = "Koleilat et al., Singular Value Few-shot Adaptation of Vision-Language Models (CLIP-SVD), 2025"

    @classmethod
    def begin(cls, weight: Tensor, pieces: int, *, rank: int, generator: torch.Generator) -> Change:
        return Shifted(weight, pieces)

    @classmethod
    def again(cls, weight: Tensor, pieces: int, stored: Mapping[str, Tensor]) -> Change:
        return Shifted(weight, pieces)
