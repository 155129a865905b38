"""CSV and Parquet: one row an image, with the columns that `nola predict` writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from nola_core.exports.predicted import Piece, Predicted
from nola_core.sinks import opened


def write(predicted: Predicted, out: Path, *, link: bool = False) -> int:
    """Write `image, split, class, probability, class_2, ..., reason`, also of images that could not be read.

    Where people corrected images there is `corrected`, too: `yes` where a correction gave the answer.

    Args:
        out: a file; its suffix chooses the format.
        link: of no use here.

    Returns:
        The number of rows.
    """
    names = np.array([*predicted.names, None], dtype=object)  # -1 is none
    count = 0
    with opened(out) as put:
        for split in predicted.splits():
            for piece in predicted.pieces(split):
                put(frame(piece, names))
                count += len(piece.images)
    return count


def frame(piece: Piece, names: np.ndarray) -> pd.DataFrame:
    """The rows of a piece.

    Args:
        names: class names by class id, None at the end.
    """
    columns = {"image": piece.images["image_id"].astype("str"), "split": pd.Series(piece.split, piece.images.index, dtype="str")}
    for place in range(piece.classes.shape[1]):
        suffix = f"_{place + 1}" if place else ""
        columns[f"class{suffix}"] = pd.Series(names[piece.classes[:, place]], dtype="str")
        columns[f"probability{suffix}"] = pd.Series(piece.probabilities[:, place], dtype="float32")
    columns["reason"] = piece.images["reason"].where(~piece.images["ok"], None).astype("str")
    if "corrected" in piece.images:
        columns["corrected"] = piece.images["corrected"].map({True: "yes", False: None}).astype("str")
    return pd.DataFrame(columns)
