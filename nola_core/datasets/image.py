"""Bytes of an image file -> RGB, whatever its mode, or the reason why not."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from nola_core.errors import NolaError

Image.MAX_IMAGE_PIXELS = None  # ours is the limit: a sentence with both numbers instead of a warning
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "DIB", "GIF", "JPEG2000", "PPM")
"""What is decoded. Not everything Pillow knows: some of its formats start other programs or hold no picture of their own."""
PIXELS_AT_ONCE = 2**26
"""Pixels that all threads together decode at a time; a larger image waits until it is alone."""
BLOCK = 2**20  # pixels scaled at a time
MAX_ASPECT = 200
"""Longer over shorter side. A tower's transform brings the shorter side to a few hundred pixels before it crops, so the memory
it takes grows with this ratio whatever the image itself weighs; no photograph comes near it."""


def decode(data: bytes, *, max_pixels: int = 2**63) -> Image.Image:
    """Decode an image file to 8-bit RGB.

    EXIF rotation is applied, the first frame of an animation is taken, transparency is laid on white. Integer images of
    more than 8 bits are scaled from 0 to 65535 (to 255 where no pixel is above), float ones from minimum to maximum.

    Raises:
        NolaError: no image, truncated, more than `max_pixels` pixels, or one side more than `MAX_ASPECT` times the other; the
            text is the manifest's `reason`.
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
    """Width and height of a TIFF's tiles, which are decoded whole however little of them the image shows."""
    tags = getattr(image, "tag_v2", {})
    return int(tags.get(322, 0)), int(tags.get(323, 0))


class _Turn:
    """Lets threads in while the pixels they decode are few enough together."""

    def __init__(self) -> None:
        self._pixels = 0
        self._change = threading.Condition()

    @contextmanager
    def of(self, pixels: int) -> Iterator[None]:
        """Wait for a turn to decode so many pixels, and hold it."""
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
        raise NolaError("damaged image: pixels that are not finite")
    if image.mode.startswith("I") and low >= 0 and high < 65536:
        low, high = 0.0, (255.0 if high < 256 else 65535.0)
    span = high - low or 1.0
    gray = np.empty(values.shape, dtype=np.uint8)
    rows = max(1, BLOCK // values.shape[1])
    for start in range(0, len(values), rows):  # in blocks: float64 copies of the whole would be many times the image
        part = values[start : start + rows].astype(np.float64)
        gray[start : start + rows] = np.round((part - low) / span * 255)
    return Image.fromarray(gray, "L").convert("RGB")
