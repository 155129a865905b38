"""Image files that are unusual, mislabelled, damaged or malicious."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

NOISE = np.random.default_rng(0).integers(0, 256, (24, 32, 4), dtype=np.uint8)
RGB = Image.fromarray(NOISE[..., :3])
MAX_PIXELS = 2**20
"""The value of `prepare.max_pixels` in the tests."""
DAMAGED = r"damaged image|not an image of a known format"


def hostile_files() -> dict[str, tuple[bytes, str]]:
    """File name -> its bytes, and a pattern of the reason why it cannot be used; empty if it can."""
    return odd_files() | mislabelled_files() | damaged_files() | bombs()


def odd_files() -> dict[str, tuple[bytes, str]]:
    """Files that every good viewer shows."""
    gray, alpha = Image.fromarray(NOISE[..., 0]), Image.fromarray(NOISE)
    palette = RGB.quantize(16)
    deep = Image.fromarray(NOISE[..., 0].astype(np.uint16) * 257)
    more = {"save_all": True, "append_images": [RGB.rotate(180)]}
    profile = PngImagePlugin.PngInfo()
    profile.add_itxt("title", "ünï", zip=True)
    images: dict[str, tuple[Image.Image, str, dict[str, Any]]] = {
        "cmyk.jpg": (RGB.convert("CMYK"), "JPEG", {}),
        "cmyk.tif": (RGB.convert("CMYK"), "TIFF", {}),
        "gray.jpg": (gray, "JPEG", {}),
        "progressive.jpg": (RGB, "JPEG", {"progressive": True}),
        "ycbcr.tif": (RGB.convert("YCbCr"), "TIFF", {}),
        "lab.tif": (RGB.convert("LAB"), "TIFF", {}),
        "deep.png": (deep, "PNG", {}),
        "deep.tif": (deep, "TIFF", {}),
        "integers.tif": (Image.fromarray(NOISE[..., 0].astype(np.int32) - 99), "TIFF", {}),
        "floats.tif": (Image.fromarray(NOISE[..., 0].astype(np.float32)), "TIFF", {}),
        "palette.png": (palette, "PNG", {}),
        "palette transparent.png": (palette, "PNG", {"transparency": 3}),
        "palette alpha.png": (palette, "PNG", {"transparency": bytes(range(16))}),
        "la.png": (Image.fromarray(NOISE[..., :2], "LA"), "PNG", {}),
        "rgba.png": (alpha, "PNG", {}),
        "rgba.webp": (alpha, "WEBP", {}),
        "rgba.tif": (alpha, "TIFF", {"compression": "tiff_lzw"}),
        "one bit.png": (gray.convert("1"), "PNG", {}),
        "one bit fax.tif": (gray.convert("1"), "TIFF", {"compression": "group4"}),
        "texts.png": (RGB, "PNG", {"pnginfo": profile}),
        "animated.gif": (RGB, "GIF", more),
        "animated.webp": (RGB, "WEBP", more),
        "animated.png": (RGB, "PNG", more),
        "pages.tif": (RGB, "TIFF", more),
        "two pictures.jpg": (RGB, "MPO", more),
        "dot.png": (Image.new("RGB", (1, 1)), "PNG", {}),
        "strip.png": (Image.new("RGB", (1, 200)), "PNG", {}),
        "flat.bmp": (RGB, "BMP", {}),
    }
    for turn in range(1, 10):  # 9 is not a valid EXIF value
        exif = Image.Exif()
        exif[0x0112] = turn
        images[f"turned {turn}.jpg"] = (RGB, "JPEG", {"exif": exif})
    files = {name: (encoded(image, kind, **options), "") for name, (image, kind, options) in images.items()}
    files["bad exif.jpg"] = (encoded(RGB, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff"), "")
    files["bytes after the end.png"] = (encoded(RGB, "PNG") + b"rest" * 999, "")
    return files


def mislabelled_files() -> dict[str, tuple[bytes, str]]:
    """Files whose suffix does not match their format."""
    unknown = "not an image of a known format"
    return {
        "png named.jpg": (encoded(RGB, "PNG"), ""),
        "jpeg 2000 named.jpg": (encoded(RGB, "JPEG2000"), ""),
        "gif named.TIFF": (encoded(RGB, "GIF"), ""),
        "nothing.jpg": (b"", "the file is empty"),
        "zeros.png": (bytes(4096), unknown),
        "text.jpg": (b"eine Einkaufsliste\n" * 9, unknown),
        "page.png": (b"<!doctype html><title>404</title>", unknown),
        "drawing.png": (b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', unknown),
        "phone.jpg": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99), unknown),
        "postscript.tif": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", unknown),
        "document.bmp": (b"%PDF-1.7\n" + bytes(99), unknown),
        "icon.gif": (encoded(RGB.resize((16, 16)), "ICO"), unknown),
    }


def damaged_files() -> dict[str, tuple[bytes, str]]:
    """Truncated files, or files with wrong values."""
    files: dict[str, tuple[bytes, str]] = {}
    for kind in ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "JPEG2000"):
        data = encoded(RGB, kind)
        for share in (0.02, 0.3, 0.7):
            files[f"cut at {share} {kind.lower()}.jpg"] = (data[: max(3, int(len(data) * share))], DAMAGED)
    broken = bytearray(encoded(RGB, "PNG"))
    broken[60:70] = bytes(10)
    not_finite = Image.fromarray(np.full((9, 9), np.nan, dtype=np.float32))
    header = "<IHHIIiiHHIIIIII"
    files |= {
        "wrong checksum.png": (bytes(broken), DAMAGED),
        "no width.png": (png(0, 24), DAMAGED),
        "not finite.tif": (encoded(not_finite, "TIFF"), "not finite"),
        "tags of nowhere.tif": (b"II*\0\xff\xff\xff\x7f", DAMAGED),
        "its own next.tif": (b"II*\0\x08\0\0\0\0\0\x08\0\0\0", DAMAGED),
        "a size of minus one.bmp": (b"BM" + struct.pack(header, 58, 0, 0, 54, 40, -1, 9, 1, 24, *[0] * 6), "4294967295 x 9 "),
    }
    return files


def bombs() -> dict[str, tuple[bytes, str]]:
    """Small files that would need gigabytes of memory."""
    many = f"pixels are more than prepare.max_pixels = {MAX_PIXELS}"
    wide = bytearray(encoded(RGB, "JPEG"))
    start = wide.index(b"\xff\xc0") + 5
    wide[start : start + 4] = b"\xff\xdc\xff\xdc"  # height and width: 65,500
    zeros = zlib.compress(bytes(2**27), 1)
    body = png(24, 32)
    screen = bytearray(encoded(RGB, "GIF"))
    screen[6:10] = b"\xff\xff\xff\xff"
    return {
        "bomb.png": (png(50_000, 50_000), many),
        "bomb.jpg": (bytes(wide), many),
        "bomb.gif": (bytes(screen), many),
        "bomb.tif": (tiff(width=60_000, height=60_000, tile=None), many),
        "thread.png": (encoded(Image.new("RGB", (1, 10_000)), "PNG"), "one side is more than 200 times the other"),
        "bomb in a tile.tif": (tiff(width=32, height=32, tile=2**14), many),
        "bomb of text.png": (body[:33] + chunk(b"zTXt", b"a\0\0" + zeros) + body[33:], DAMAGED),
        "bomb of a profile.png": (body[:33] + chunk(b"iCCP", b"a\0\0" + zeros) + body[33:], DAMAGED),
        "bomb of data.png": (png(24, 32, zeros), ""),
    }


def write_odd_paths(folder: Path) -> dict[str, str]:
    """Files with unusual names and types; returns image id -> pattern of the reason, empty if it is usable."""
    good = encoded(RGB, "PNG")
    names = [
        "naïve café ☕.png",
        "new\nline.png",
        "  spaces  .PNG",
        "'quotes\" & $(x).jpg",
        "-rf.png",
        "名" * 80 + ".png",
        "%s{}.png",
    ]
    expected = dict.fromkeys(names, "")
    for name in names:
        (folder / name).write_bytes(good)
    (folder / "deep" / "er" / "x.jpg").mkdir(parents=True)  # a folder with the name of an image
    (folder / "deep" / "er" / "x.jpg" / "in it.png").write_bytes(good)
    (folder / "gone.jpg").symlink_to("nowhere.jpg")
    (folder / "circle.jpg").symlink_to("circle.jpg")
    (folder / "link.jpg").symlink_to(names[0])
    (folder / "up").symlink_to(folder)
    os.mkfifo(folder / "pipe.jpg")
    (folder / "device.jpg").symlink_to("/dev/zero")
    with open(os.fsencode(folder) + b"/not utf-8 \xff.jpg", "wb") as stream:  # noqa: PTH123 (a Path holds no such bytes)
        stream.write(good)
    return expected | {
        "deep/er/x.jpg/in it.png": "",
        "link.jpg": "",
        "gone.jpg": "cannot be read: No such file",
        "circle.jpg": "cannot be read: .*symbolic links",
        "pipe.jpg": "not a regular file",
        "device.jpg": "not a regular file",
        "not utf-8 \\udcff.jpg": "not UTF-8",
    }


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    """A PNG chunk."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(height: int, width: int, data: bytes | None = None) -> bytes:
    """A gray PNG of that size, black by default."""
    rows = zlib.compress(bytes(min(height * (width + 1), 2**20))) if data is None else data
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def tiff(*, width: int, height: int, tile: int | None) -> bytes:
    """A gray TIFF whose one strip, or one tile of `tile` x `tile` pixels, is a deflated stream of zeros."""
    size = min(tile**2 if tile else width * height, 2**28)
    data = zlib.compress(bytes(size), 1)
    tags = {256: width, 257: height, 258: 8, 259: 8, 262: 1, 277: 1}
    place = {322: tile, 323: tile, 324: 8, 325: len(data)} if tile else {273: 8, 278: height, 279: len(data)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted({**tags, **place}.items()))
    count = len(tags) + len(place)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", count) + entries + bytes(4)
