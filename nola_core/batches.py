"""Batches of one fixed size, so that the result of a row does not depend on which other rows it was computed with.

Matrix products of different sizes round differently. A batch that is not full is therefore filled up with copies of its last row.
One image alone then gets the same bits as among ten thousand others (tests/test_batches.py).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

ROWS = 512
"""Rows of features at a time."""
IMAGES, GPU_IMAGES = 8, 128
"""Images at a time. On a CPU few, because a single photograph is computed as a full batch too."""


def image_batch(device: torch.device) -> int:
    """Images at a time on a device."""
    return IMAGES if device.type == "cpu" else GPU_IMAGES


def in_batches(compute: Callable[..., Tensor], *inputs: Tensor, size: int) -> Tensor:
    """`compute(*inputs)` in batches of exactly `size` rows.

    Args:
        compute: tensors of [size, ...] -> [size, ...], row by row.
        inputs: of [B, ...] each, B >= 0.

    Returns:
        [B, ...].
    """
    count = len(inputs[0])
    if not count:  # towers cannot be asked about no image; one batch of zeros tells the shape
        return compute(*(tensor.new_zeros((size, *tensor.shape[1:])) for tensor in inputs))[:0]
    parts = []
    for start in range(0, count, size):
        rows = [tensor[start : start + size] for tensor in inputs]
        missing = size - len(rows[0])
        if missing:
            rows = [torch.cat([tensor, tensor[-1:].expand(missing, *tensor.shape[1:])]) for tensor in rows]
        parts.append(compute(*rows)[: size - missing])
    return parts[0] if len(parts) == 1 else torch.cat(parts)
