"""A folder of images by split and predicted class, as torchvision's `ImageFolder` and most training tools read it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from nola_core.exports.pictures import COLUMNS, Pictures, class_folders
from nola_core.exports.predicted import Predicted
from nola_core.exports.table import frame
from nola_core.progress import progress
from nola_core.sinks import opened


def write(predicted: Predicted, out: Path, *, link: bool = False) -> int:
    """Write `<split>/<class>/<image>`, `predictions.csv` with the file of every image, and `classes.csv`.

    A class that no image of a split is predicted to be has no folder there, because torchvision refuses empty ones.

    Args:
        out: a folder that does not exist yet.
        link: link to the images instead of copying them.

    Returns:
        The number of images written.
    """
    pictures = Pictures(predicted.root, predicted.dataset)
    folders = class_folders(predicted.names)
    names = np.array([*predicted.names, None], dtype=object)
    out.mkdir()
    with opened(out / "classes.csv") as put:
        put(pd.DataFrame({"folder": folders, "class": predicted.names}, dtype="str"))
    written = 0
    with (
        opened(out / "predictions.csv") as put,
        progress(total=predicted.count(), what="export", unit="images") as advance,
    ):
        for split in predicted.splits():
            number = 0
            for piece in predicted.pieces(split, COLUMNS):
                placed: list[str | None] = []
                for image, best in zip(piece.images.itertuples(index=False), piece.classes[:, 0], strict=True):
                    place = None
                    if image.ok:
                        below = f"{split}/{folders[best]}"
                        place = f"{below}/{pictures.put(image, number, out / below, link=link)}"
                        written += 1
                        advance()
                    placed.append(place)
                    number += 1
                table = frame(piece, names)
                table.insert(0, "file", pd.Series(placed, dtype="str"))
                put(table)
    return written
