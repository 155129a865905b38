"""The pickled batches of CIFAR-10 and -100, read without executing code from the pickle."""

from __future__ import annotations

import io
import pickle
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nola_core.errors import NolaError

_LOCK = threading.Lock()


class Batch:
    """Images of one file, as stored: `data` uint8 N x 3072, each row is the red, then the green, then the blue 32 x 32 pixels."""

    def __init__(self, path: Path, content: dict[str, Any]) -> None:
        data = content.get("data")
        if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 3072:
            raise NolaError(f"{path} has no uint8 array 'data' of 3,072 columns; fetch the archive again.")
        self.path, self.content, self.data = path, content, data

    def labels(self, field: str, classes: int) -> list[int]:
        """The label of every image.

        Raises:
            NolaError: the field is missing, has the wrong length, or a label is out of range.
        """
        labels = self.content.get(field)
        if not isinstance(labels, list) or len(labels) != len(self.data):
            raise NolaError(f"{self.path} has no list '{field}' of {len(self.data)} labels; fetch the archive again.")
        wrong = [label for label in labels if not isinstance(label, int) or not 0 <= label < classes]
        if wrong:
            raise NolaError(f"{self.path}: label {wrong[0]!r} is not one of 0 to {classes - 1}.")
        return labels

    def image(self, row: int) -> bytes:
        """One image as a BMP file."""
        stream = io.BytesIO()
        Image.fromarray(self.data[row].reshape(3, 32, 32).transpose(1, 2, 0)).save(stream, "BMP")
        return stream.getvalue()


def load(path: Path) -> Batch:
    """Load a batch; the last six stay in memory (30 MB each, CIFAR-100's train file 155 MB).

    Raises:
        OSError: the file cannot be read.
        NolaError: it is not a pickle of arrays, lists and text.
    """
    with _LOCK:  # at the start many threads load the same file
        return _load(path)


@lru_cache(maxsize=6)
def _load(path: Path) -> Batch:
    with path.open("rb") as stream:
        try:
            content = _Arrays(stream, encoding="latin1").load()
        except OSError:
            raise
        except Exception as error:  # a damaged pickle raises almost anything
            raise NolaError(f"{path} cannot be read as a CIFAR batch ({error}); fetch the archive again.") from None
    if not isinstance(content, dict):
        raise NolaError(f"{path} is not a CIFAR batch; fetch the archive again.")
    return Batch(path, {key.decode() if isinstance(key, bytes) else key: value for key, value in content.items()})


class _Arrays(pickle.Unpickler):
    """Builds only numpy arrays and plain values, because a pickle can call any function."""

    def find_class(self, module: str, name: str) -> Any:
        module = module.replace("numpy.core", "numpy._core")  # the name in pickles from Python 2
        allowed = {("numpy._core.multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"it contains a reference to {module}.{name}")
        return super().find_class(module, name)
