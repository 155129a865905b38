"""Decode the bytes of an image file to RGB, or say why this is not possible."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from nola_core.errors import NolaError

Image.MAX_IMAGE_PIXELS = None  # replaced by our own limit, whose error message contains both numbers
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "DIB", "GIF", "JPEG2000", "PPM")
"""The formats we decode. Some of Pillow's other formats start programs or contain no image themselves."""
PIXELS_AT_ONCE = 2**26
"""Total number of pixels that all threads decode at a time; a larger image is decoded alone."""
BLOCK = 2**20  # pixels scaled at a time
MAX_ASPECT = 200
"""Maximum ratio of the longer to the shorter side. A tower's transform resizes the shorter side to a few hundred pixels before
the crop, so memory grows with this ratio even for small files; no photograph comes near it."""


def decode(data: bytes, *, max_pixels: int = 2**63) -> Image.Image:
    """Decode an image file to 8-bit RGB.

    EXIF rotation is applied, the first frame of an animation is used, transparent images are placed on white. Integer images of
    more than 8 bits are scaled from 0 to 65535 (to 255 if no pixel is above 255), float images from minimum to maximum.

    Raises:
        NolaError: not an image, truncated, more than `max_pixels` pixels, or one side more than `MAX_ASPECT` times the other; the
            message becomes the `reason` in the manifest.
    """
    if not data:
        raise NolaError("the file is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            width, height = max(image.size, _tile(image), key=lambda size: size[0] * size[1])
            if width * height > max_pixels:
                raise NolaError(f"{width} x {height} pixels are more than prepare.max_pixels = {max_pixels}")
            if max(image.size) > MAX_ASPECT * min(image.size):
                raise NolaError(f"{image.width} x {image.height} pixels: one side is more than {MAX_ASPECT} times the other")
            with _turn.of(width * height):
                image.load()
                return _to_rgb(ImageOps.exif_transpose(image))
    except NolaError:
        raise
    except UnidentifiedImageError:
        raise NolaError("not an image of a known format") from None
    except Exception as error:  # Pillow's plugins raise OSError, SyntaxError, ValueError, struct.error, ... on damaged files
        raise NolaError(f"damaged image: {' '.join(str(error).split()) or type(error).__name__}") from None


def from_pillow(image: Image.Image) -> Image.Image:
    """An opened image as 8-bit RGB, by the rules of `decode`.

    Raises:
        NolaError: it cannot be decoded, or one side is more than `MAX_ASPECT` times the other.
    """
    if not min(image.size) or max(image.size) > MAX_ASPECT * min(image.size):
        raise NolaError(f"{image.width} x {image.height} pixels: one side is more than {MAX_ASPECT} times the other")
    try:
        return _to_rgb(ImageOps.exif_transpose(image))
    except NolaError:
        raise
    except Exception as error:  # a lazily opened file may be damaged in as many ways as in `decode`
        raise NolaError(f"damaged image: {' '.join(str(error).split()) or type(error).__name__}") from None


def _tile(image: Image.Image) -> tuple[int, int]:
    """Width and height of a TIFF's tiles, which are always decoded completely."""
    tags = getattr(image, "tag_v2", {})
    return int(tags.get(322, 0)), int(tags.get(323, 0))


class _Turn:
    """Limits the total number of pixels that threads decode at a time."""

    def __init__(self) -> None:
        self._pixels = 0
        self._change = threading.Condition()

    @contextmanager
    def of(self, pixels: int) -> Iterator[None]:
        """Wait until this many pixels may be decoded, and reserve them for the duration of the context."""
        with self._change:
            self._change.wait_for(lambda: self._pixels == 0 or self._pixels + pixels <= PIXELS_AT_ONCE)
            self._pixels += pixels
        try:
            yield
        finally:
            with self._change:
                self._pixels -= pixels
                self._change.notify_all()


_turn = _Turn()


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return _scaled(image)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image.getchannel("A"))
        return white
    return image.convert("RGB")


def _scaled(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise NolaError("damaged image: it contains pixels that are not finite")
    if image.mode.startswith("I") and low >= 0 and high < 65536:
        low, high = 0.0, (255.0 if high < 256 else 65535.0)
    span = high - low or 1.0
    gray = np.empty(values.shape, dtype=np.uint8)
    rows = max(1, BLOCK // values.shape[1])
    for start in range(
        0, len(values), rows
    ):  # in blocks: a float64 copy of the whole would need many times the memory of the image
        part = values[start : start + rows].astype(np.float64)
        gray[start : start + rows] = np.round((part - low) / span * 255)
    return Image.fromarray(gray, "L").convert("RGB")
