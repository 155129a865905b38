"""Bytes of an image file -> RGB, whatever its mode, or the reason why not."""

from __future__ import annotations

import io
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from nola_core.errors import NolaError

Image.MAX_IMAGE_PIXELS = None  # ours is the limit: a sentence with both numbers instead of a warning


def decode(data: bytes, *, max_pixels: int = 2**63) -> Image.Image:
    """Decode an image file to 8-bit RGB.

    EXIF rotation is applied, the first frame of an animation is taken, transparency is laid on white. Integer images of
    more than 8 bits are scaled from 0 to 65535 (to 255 where no pixel is above), float ones from minimum to maximum.

    Raises:
        NolaError: no image, truncated, or more than `max_pixels` pixels; the text is the manifest's `reason`.
    """
    if not data:
        raise NolaError("the file is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(data))
            if image.width * image.height > max_pixels:
                raise NolaError(f"{image.width} x {image.height} pixels are more than prepare.max_pixels = {max_pixels}")
            image.load()
            return _to_rgb(ImageOps.exif_transpose(image))
    except NolaError:
        raise
    except UnidentifiedImageError:
        raise NolaError("not an image of a known format") from None
    except Exception as error:  # Pillow's plugins raise OSError, SyntaxError, ValueError, struct.error, ... on damaged files
        raise NolaError(f"damaged image: {' '.join(str(error).split()) or type(error).__name__}") from None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return _scaled(image)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _scaled(image: Image.Image) -> Image.Image:
    values = np.asarray(image, dtype=np.float64)
    if not np.isfinite(values).all():
        raise NolaError("damaged image: pixels that are not finite")
    low, high = values.min(), values.max()
    if image.mode.startswith("I") and low >= 0 and high < 65536:
        low, high = 0.0, (255.0 if high < 256 else 65535.0)
    span = high - low or 1.0
    return Image.fromarray(np.uint8(np.round((values - low) / span * 255)), "L").convert("RGB")
