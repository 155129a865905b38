"""Images that a user gives directly: a folder, a file, paths, opened images, or any iterator of these."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from nola_core.datasets.image import decode, from_pillow
from nola_core.datasets.readers.folder import is_image, walk
from nola_core.datasets.readers.reader import read_file
from nola_core.errors import NolaError

Images = str | Path | Image.Image | Iterable[str | Path | Image.Image]
"""What `Classifier.predict` and `adapt` take."""
MAX_PIXELS = 200_000_000


@dataclass(frozen=True)
class Given:
    """One image, not yet opened.

    Attributes:
        name: its path as it was given (below a folder: from there), or its number from 0 for an opened image.
    """

    name: str
    source: Path | Image.Image

    def open(self, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
        """The image as RGB.

        Raises:
            NolaError: it cannot be read or decoded; the text is the reason alone.
        """
        if isinstance(self.source, Image.Image):
            return from_pillow(self.source)
        try:
            data = read_file(self.source)
        except OSError as error:
            raise NolaError(error.strerror or str(error)) from None
        return decode(data, max_pixels=max_pixels)


def given(images: Images) -> Iterator[Given]:
    """The images one by one, in order; those of a folder sorted by path. Nothing is opened.

    Raises:
        NolaError: a folder holds no image, or an item is neither a path nor an image.
    """
    if isinstance(images, str | Path):
        path = Path(images)
        return _folder(path) if path.is_dir() else iter([Given(str(images), path)])
    if isinstance(images, Image.Image):
        return iter([Given("0", images)])
    return _items(images)


def count(images: Images) -> int | None:
    """How many images there are, None for an iterator, which nobody can count without using it up."""
    if isinstance(images, str | Path) and Path(images).is_dir():
        return sum(1 for _ in given(images))
    if isinstance(images, str | Path | Image.Image):
        return 1
    return len(images) if isinstance(images, Sized) else None


def _folder(folder: Path) -> Iterator[Given]:
    empty = True
    for parts, _ in walk(folder):
        if is_image(parts[-1]):
            empty = False
            yield Given("/".join(parts).encode("utf-8", "backslashreplace").decode(), folder.joinpath(*parts))
    if empty:
        raise NolaError(f"the folder {folder} holds no image; supported are JPEG, PNG, WebP, TIFF, BMP and GIF files.")


def _items(images: Iterable[str | Path | Image.Image]) -> Iterator[Given]:
    for number, image in enumerate(images):
        if isinstance(image, Image.Image):
            yield Given(str(number), image)
        elif isinstance(image, str | Path):
            yield Given(str(image), Path(image))
        else:
            raise NolaError(f"image {number} is a {type(image).__name__}; give paths or PIL images.")
