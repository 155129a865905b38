"""Prediction tables: the five best classes of every image, one row an image and method (docs/formats.md)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from nola_core.errors import NolaError
from nola_core.files import PREDICTION_SCHEMA

TOP = 5


def prediction_table(image_ids: Sequence[str], probabilities: Tensor, *, split: str, method: str) -> pa.Table:
    """Rows of a prediction table.

    Args:
        probabilities: float32 [N, C], C >= 2; ties go to the lower class id.

    Raises:
        NolaError: a probability is NaN.
    """
    bad = torch.isnan(probabilities).any(dim=1)
    if bad.any():
        image_id = image_ids[int(bad.nonzero()[0, 0])]
        raise NolaError(f"method {method} gives NaN for image '{image_id}'; its model or features are damaged.")
    best, classes = torch.sort(probabilities, dim=1, descending=True, stable=True)
    best, classes = best[:, :TOP].contiguous(), classes[:, :TOP].int().contiguous()
    count, top = best.shape
    offsets = np.arange(0, count * top + 1, top, dtype=np.int32)
    columns = {
        "image_id": list(image_ids),
        "split": [split] * count,
        "method": [method] * count,
        "class_id": classes[:, 0].numpy(),
        "probability": best[:, 0].numpy(),
        "margin": (best[:, 0] - best[:, 1]).numpy(),
        "top_classes": pa.ListArray.from_arrays(offsets, classes.flatten().numpy()),
        "top_probabilities": pa.ListArray.from_arrays(offsets, best.flatten().numpy()),
    }
    return pa.table(columns, schema=PREDICTION_SCHEMA)
