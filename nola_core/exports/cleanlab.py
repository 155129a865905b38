"""cleanlab: the matrix of probabilities, and the labels to look for errors in, where the collection has some.

`nola export` alone writes this, after a run. The labels go nowhere but into the folder.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.lib.format import open_memmap

from nola_core.exports.predicted import Piece, Predicted
from nola_core.files import read_table
from nola_core.sinks import opened

README = """# Predictions of {dataset} for cleanlab

Row i of every file is the same image.

- `pred_probs.npy`: float32 [{images}, {classes}], the class probabilities by the method {method}. {note}
- `labels.npy`: int64 [{images}], the class ids that the collection comes with; -1 where it has none ({labelled} images have one).
- `images.csv`: image, split, predicted class, its probability, and the class the collection gives.
- `classes.csv`: class id and name.

```python
import numpy as np
from cleanlab.filter import find_label_issues

labels, pred_probs = np.load("labels.npy"), np.load("pred_probs.npy")
known = np.flatnonzero(labels >= 0)
issues = known[find_label_issues(labels[known], pred_probs[known], return_indices_ranked_by="self_confidence")]
```

`issues` are the rows whose given label is doubtful, the worst first.
"""


def write(predicted: Predicted, out: Path, *, link: bool = False) -> int:
    """Write `pred_probs.npy`, `labels.npy`, `images.csv`, `classes.csv` and a README.

    Args:
        out: a folder that does not exist yet.
        link: of no use here.

    Returns:
        The number of images.
    """
    count, classes = predicted.count(), len(predicted.names)
    names = np.array([*predicted.names, None], dtype=object)
    out.mkdir()
    with opened(out / "classes.csv") as put:
        put(pd.DataFrame({"class_id": range(classes), "class": pd.Series(predicted.names, dtype="str")}))
    matrix = open_memmap(out / "pred_probs.npy", mode="w+", dtype=np.float32, shape=(count, classes))
    labels = open_memmap(out / "labels.npy", mode="w+", dtype=np.int64, shape=(count,))
    given = _given(predicted.folder / "labels.parquet")
    start = 0
    with opened(out / "images.csv") as put:
        for split in predicted.splits():
            for piece in predicted.pieces(split):
                good = piece.images["ok"].to_numpy(bool)
                stop = start + int(good.sum())
                matrix[start:stop] = whole(piece.classes[good], piece.probabilities[good], classes)
                labels[start:stop] = given.reindex(piece.images["image_id"][good]).fillna(-1)
                put(_rows(piece, good, names, labels[start:stop]))
                start = stop
    labelled = int((labels >= 0).sum())
    note = (
        "The five best are the method's own; what is left is shared evenly by the other classes."
        if classes > predicted.width
        else ""
    )
    text = README.format(
        dataset=predicted.dataset, images=count, classes=classes, method=predicted.method, note=note, labelled=labelled
    )
    (out / "README.md").write_text(text, encoding="utf-8")
    return count


def whole(classes: np.ndarray, probabilities: np.ndarray, count: int) -> np.ndarray:
    """Probabilities of all classes from those of the best; what is left of 1 is shared evenly by the others.

    Args:
        classes: int [n, K].
        probabilities: float [n, K].
        count: C >= K.

    Returns:
        float32 [n, C], rows of sum 1.
    """
    known = probabilities.astype(np.float64)
    rest = np.maximum(1 - known.sum(axis=1, keepdims=True), 0) / max(count - classes.shape[1], 1)
    full = np.repeat(rest, count, axis=1)
    np.put_along_axis(full, classes.astype(np.int64), known, axis=1)
    return np.asarray(full / full.sum(axis=1, keepdims=True), dtype=np.float32)


def _given(path: Path) -> pd.Series[int]:
    """Class id by image id, of the labelled images."""
    return read_table(path, ["image_id", "class_id"]).set_index("image_id")["class_id"]


def _rows(piece: Piece, good: np.ndarray, names: np.ndarray, labels: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "image": pd.Series(piece.images["image_id"][good].tolist(), dtype="str"),
            "split": piece.split,
            "predicted": pd.Series(names[piece.classes[good][:, 0]], dtype="str"),
            "probability": pd.Series(piece.probabilities[good][:, 0], dtype="float32"),
            "given": pd.Series(names[labels], dtype="str"),
        }
    )
