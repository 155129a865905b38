"""Open images by id, for every stage after `prepare`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from nola_core.config import load
from nola_core.datasets.definition import load_definition
from nola_core.datasets.image import decode
from nola_core.datasets.readers import open_reader
from nola_core.errors import NolaError
from nola_core.files import read_table


def image_opener(root: Path, dataset: str) -> Callable[[str], Image.Image]:
    """A function from image id to the RGB image, based on the manifest.

    The function raises NolaError if an image is unknown, unusable, or has changed since `prepare`, because features are cached by
    the recorded hash.
    """
    definition = load_definition(root, dataset)
    reader = open_reader(definition)
    max_pixels = load(root).prepare.max_pixels
    columns = ["image_id", "path", "shard", "row", "sha256", "ok", "reason"]
    manifest = read_table(root / "data" / dataset / "manifest.parquet", columns).set_index("image_id")
    again = f"restore it, or run `dvc repro --force prepare@{dataset}`, which reads the images again."

    def open_image(image_id: str) -> Image.Image:
        if image_id not in manifest.index:
            raise NolaError(f"data set '{dataset}' has no image '{image_id}'.")
        row = manifest.loc[image_id]
        if not row["ok"]:
            raise NolaError(f"image '{image_id}' of {definition.source} cannot be used: {row['reason']}.")
        try:
            data = reader.read(path=str(row["path"]), shard=str(row["shard"]), row=int(str(row["row"])))
        except OSError as error:
            reason = error.strerror or str(error)
            raise NolaError(f"image '{image_id}' of {definition.source} cannot be read ({reason}); {again}") from None
        if hashlib.sha256(data).hexdigest() != row["sha256"]:
            raise NolaError(f"image '{image_id}' of {definition.source} has changed since `prepare` read it; {again}")
        return decode(data, max_pixels=max_pixels)

    return open_image
