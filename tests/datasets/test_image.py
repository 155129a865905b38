"""Every kind of image file is decoded to the RGB pixels a viewer would show, or gives a reason."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nola_core.datasets.image import decode
from nola_core.errors import NolaError


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def pixels(data: bytes) -> list[list[list[int]]]:
    image = decode(data)
    assert image.mode == "RGB"
    return np.asarray(image).tolist()


def of(values: Any, dtype: Any = np.uint8, mode: str | None = None) -> Image.Image:
    image = Image.fromarray(np.array(values, dtype=dtype))
    assert mode is None or image.mode == mode
    return image


def gray(*values: int) -> list[list[list[int]]]:
    return [[[value] * 3 for value in values]]


def test_rgb_and_gray_come_out_as_they_are() -> None:
    assert pixels(encoded(of([[[1, 2, 3], [250, 0, 9]]]))) == [[[1, 2, 3], [250, 0, 9]]]
    assert pixels(encoded(of([[0, 7, 255]], mode="L"))) == gray(0, 7, 255)
    assert pixels(encoded(of([[True, False]], bool, "1"))) == gray(255, 0)


def test_transparency_is_laid_on_white() -> None:
    assert pixels(encoded(of([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 51]]], mode="RGBA"))) == [
        [[10, 20, 30], [255, 255, 255], [204, 204, 204]]
    ]
    assert pixels(encoded(of([[[90, 255], [90, 0]]], mode="LA"))) == gray(90, 255)
    palette = of([[0, 1]], mode="L").convert("P")
    palette.putpalette([200, 0, 0, 0, 100, 0])
    assert pixels(encoded(palette)) == [[[200, 0, 0], [0, 100, 0]]]
    assert pixels(encoded(palette, transparency=0)) == [[[255, 255, 255], [0, 100, 0]]]
    assert pixels(encoded(palette, transparency=bytes([255, 0]))) == [[[200, 0, 0], [255, 255, 255]]]
    assert pixels(encoded(of([[[1, 2, 3], [4, 5, 6]]]), transparency=(1, 2, 3))) == [[[255, 255, 255], [4, 5, 6]]]


def test_cmyk() -> None:
    ink = Image.frombytes("CMYK", (3, 1), bytes([0, 0, 0, 0, 0, 0, 0, 255, 255, 0, 0, 0]))
    assert pixels(encoded(ink, "TIFF")) == [[[255, 255, 255], [0, 0, 0], [0, 255, 255]]]
    flat = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    assert np.abs(np.asarray(decode(encoded(flat, "JPEG", quality=95)), dtype=int) - [0, 255, 255]).max() <= 3


def test_sixteen_bits_and_floats_are_scaled_instead_of_clipped() -> None:
    deep = of([[0, 257, 32896, 65535]], np.uint16)
    assert deep.mode.startswith("I;16")
    for kind in ("PNG", "TIFF"):
        assert pixels(encoded(deep, kind)) == gray(0, 1, 128, 255)
    assert pixels(encoded(of([[0, 7, 255]], np.uint16), "TIFF")) == gray(0, 7, 255)  # 8 bits kept in 16
    assert pixels(encoded(of([[-100, 0, 100]], np.int32, "I"), "TIFF")) == gray(0, 128, 255)
    assert pixels(encoded(of([[-1.0, 0.0, 3.0]], np.float32, "F"), "TIFF")) == gray(0, 64, 255)
    assert pixels(encoded(of([[2.5, 2.5]], np.float32, "F"), "TIFF")) == gray(0, 0)
    with pytest.raises(NolaError, match="pixels that are not finite"):
        decode(encoded(of([[0.0, np.nan]], np.float32), "TIFF"))


def test_exif_rotation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate clockwise by 90 degrees
    wide = of([[[255, 0, 0], [0, 0, 255], [0, 255, 0]]])
    assert pixels(encoded(wide, exif=exif)) == [[[255, 0, 0]], [[0, 0, 255]], [[0, 255, 0]]]
    deep = of([[0, 65535]], np.uint16)
    assert pixels(encoded(deep, exif=exif)) == [gray(0)[0], gray(255)[0]]


def test_the_first_frame_of_an_animation_is_taken() -> None:
    frames = [Image.new("RGB", (2, 2), color) for color in ((255, 0, 0), (0, 0, 255))]
    for kind, options in (("GIF", {}), ("WEBP", {"lossless": True}), ("TIFF", {})):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert pixels(data) == [[[255, 0, 0]] * 2] * 2, kind


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"])
def test_half_a_file_is_refused(kind: str) -> None:
    noise = of(np.random.default_rng(0).integers(0, 256, (40, 40, 3)))
    data = encoded(noise, kind)
    assert decode(data).size == (40, 40)
    with pytest.raises(NolaError, match=r"^(damaged image: .+|not an image of a known format)$"):
        decode(data[: len(data) // 2])


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(NolaError, match="the file is empty"):
        decode(b"")
    with pytest.raises(NolaError, match="not an image of a known format"):
        decode(b"a shopping list\n" * 100)


def test_a_thread_of_pixels_is_refused_without_decoding_it() -> None:
    assert decode(encoded(Image.new("L", (200, 1)))).size == (200, 1)
    with pytest.raises(NolaError, match="1 x 201 pixels: one side is more than 200 times the other"):
        decode(encoded(Image.new("L", (1, 201)))[:45])


def test_too_many_pixels_are_refused_without_decoding_them() -> None:
    data = encoded(Image.new("1", (3000, 20)))
    assert decode(data, max_pixels=60_000).size == (3000, 20)
    with pytest.raises(NolaError, match=re.escape("3000 x 20 pixels are more than prepare.max_pixels = 59999")):
        decode(data, max_pixels=59_999)
    header = data[:45]  # enough to know the size, and nothing to decode
    with pytest.raises(NolaError, match="pixels are more than"):
        decode(header, max_pixels=59_999)
    with pytest.raises(NolaError, match="damaged image"):
        decode(header)
