"""Files of fitted methods: safetensors with the method's name, and the hash of the CLIP weights a student belongs to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from nola_core.backbones.clip import Clip
from nola_core.errors import NolaError
from nola_core.methods.method import Fitted, FittedMethod, Method, Student, StudentMethod
from nola_core.tensors import read_with_metadata, write_tensors


def write(path: Path, method: Method, tensors: dict[str, Tensor], *, clip_sha256: str | None = None) -> None:
    """Write the tensors of a fitted method."""
    made = {"method": method.name, "clip_sha256": clip_sha256}
    write_tensors(path, tensors, metadata={"made": json.dumps(made, sort_keys=True)})


def read_fitted(path: Path, method: FittedMethod) -> Fitted:
    """A fitted text or feature method.

    Raises:
        NolaError: the file is absent, damaged, or of another method.
    """
    tensors, _ = _read(path, method)
    try:
        return method.restore(tensors)
    except (KeyError, RuntimeError, ValueError) as error:
        raise _damaged(path, method) from error


def read_student(path: Path, method: StudentMethod, clip: Clip, *, options: Any) -> Student:
    """A tuned student, in `clip`'s vision tower.

    Raises:
        NolaError: the file is absent, damaged, of another method, or was tuned from other CLIP weights.
    """
    tensors, made = _read(path, method)
    if made.get("clip_sha256") != clip.image.meta["weights_sha256"]:
        raise NolaError(f"{path} was tuned from other CLIP weights than {clip.image.meta['model']} has now; run tune again.")
    try:
        return method.restore(tensors, clip, options=options)
    except (KeyError, RuntimeError, ValueError) as error:
        raise _damaged(path, method) from error
    except NolaError as error:
        raise NolaError(f"{path}: {error}") from None


def _read(path: Path, method: Method) -> tuple[dict[str, Tensor], dict[str, Any]]:
    tensors, metadata = read_with_metadata(path)
    made = json.loads(metadata.get("made", "{}"))
    if made.get("method") != method.name:
        raise NolaError(f"{path} is of the method {made.get('method')}, not of {method.name}; delete it and run its stage again.")
    return tensors, made


def _damaged(path: Path, method: Method) -> NolaError:
    return NolaError(f"{path} does not hold what the method {method.name} needs; delete it and run its stage again.")
