"""Digits rendered from the fonts that ship with matplotlib, roughened until they look a little like handwriting.

No handwriting goes in. Each picture is one glyph, bent (affine and elastic), made thicker or thinner, cut to its
bounding box and set to full height. Most are then reduced to 8x8 counts from 0 to 16 and enlarged exactly as the reader
of the `digits` collection does it; the rest stay sharp, so that the models know both looks.

    python -m demo.render sheet.png     # a contact sheet to look at
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch.nn import functional

SIZE = 32
FAMILIES = ("DejaVuSans", "DejaVuSansMono", "DejaVuSerif", "STIXGeneral")
STYLES = ("", "-Bold", "-Oblique", "-Italic", "-BoldOblique", "-BoldItalic", "Bol", "Italic", "BolIta")
COMPUTER_MODERN = ("cmb10", "cmmi10", "cmr10", "cmss10", "cmti10", "cmtt10")  # cmex10, cmsy10 hold symbols at 0-9
CANVAS = 64  # pixels a glyph is drawn and bent at
GLYPH = 44  # its height on the canvas: leaves a margin to turn in

CROSSED_SEVEN = 10  # the glyph after the ten digits: many hands cross the seven, no font does

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]


def show(counts: NDArray[np.floating]) -> Pixels:
    """8x8 counts (0 to 16) as the 32x32 RGB picture (uint8) that the reader of `digits` makes of them."""
    grey = Image.fromarray(np.uint8(np.round(counts * 255 / 16)))
    return np.asarray(grey.resize((SIZE, SIZE), Image.Resampling.BICUBIC).convert("RGB"))


def font_paths() -> list[Path]:
    """The fonts of matplotlib with the digits 0-9 at their code points, sorted by name.

    Raises RuntimeError if matplotlib ships none of them.
    """
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    names = {family + style for family in FAMILIES for style in STYLES} | set(COMPUTER_MODERN)
    found = sorted(path for path in folder.glob("*.ttf") if path.stem in names)
    if not found:
        raise RuntimeError(f"matplotlib {matplotlib.__version__} ships none of the fonts with digits that the demo draws")
    return found


def cross(page: Image.Image, box: tuple[int, int, int, int]) -> None:
    """Draws a short bar across the middle of the stem of the seven whose bounding box is given."""
    left, top, right, bottom = box
    middle, half = (top + bottom) // 2, (right - left) // 3
    stem = int(np.flatnonzero(np.asarray(page)[middle]).mean())
    thick = (bottom - top) // 20
    ends = (max(left, stem - half), middle - thick, min(right, stem + half), middle + thick)
    ImageDraw.Draw(page).rectangle(ends, fill=255)


def draw_glyphs(paths: list[Path]) -> torch.Tensor:
    """Every digit in every font, then a crossed seven, centred and GLYPH pixels high: fonts x 11 x CANVAS x CANVAS, 0 to 1."""
    sheets = []
    for path in paths:
        font = ImageFont.truetype(str(path), 4 * CANVAS)
        for variant, digit in enumerate("01234567897"):
            page = Image.new("L", (8 * CANVAS, 8 * CANVAS))
            ImageDraw.Draw(page).text((2 * CANVAS, CANVAS), digit, fill=255, font=font)
            box = page.getbbox()
            if box is None:
                raise RuntimeError(f"the font {path.name} draws nothing for the digit {digit}")
            if variant == CROSSED_SEVEN:
                cross(page, box)
            width = max(1, round((box[2] - box[0]) * GLYPH / (box[3] - box[1])))
            sheet = Image.new("L", (CANVAS, CANVAS))
            glyph = page.crop(box).resize((width, GLYPH), Image.Resampling.BICUBIC)
            sheet.paste(glyph, ((CANVAS - width) // 2, (CANVAS - GLYPH) // 2))
            sheets.append(np.asarray(sheet, dtype=np.float32) / 255)
    return torch.from_numpy(np.stack(sheets)).view(len(paths), 11, CANVAS, CANVAS)


def warp(
    images: torch.Tensor,
    generator: torch.Generator,
    *,
    degrees: float,
    shear: float,
    scale: float,
    shift: float,
    elastic: float,
    knots: int = 4,
) -> torch.Tensor:
    """Bends each image (N x channels x H x W) by an affine map and a smooth displacement field of its own.

    `degrees`, `shear`, `scale` and `shift` bound uniform draws (`shift` as a fraction of the image); `elastic` is the
    standard deviation of the displacement at the `knots` x `knots` control points, as a fraction of half the image.
    """
    count, _, height, width = images.shape

    def uniform(bound: float) -> torch.Tensor:
        return (torch.rand(count, generator=generator) * 2 - 1) * bound

    angle = torch.deg2rad(uniform(degrees))
    lean, wide, high = uniform(shear), 1 + uniform(scale), 1 + uniform(scale)
    cos, sin = angle.cos(), angle.sin()
    rows = [
        cos * wide,
        (lean * cos - sin) * high,
        uniform(2 * shift),
        sin * wide,
        (lean * sin + cos) * high,
        uniform(2 * shift),
    ]
    grid = functional.affine_grid(torch.stack(rows, dim=1).view(count, 2, 3), [count, 1, height, width], align_corners=False)
    field = torch.randn(count, 2, knots, knots, generator=generator) * elastic
    field = functional.interpolate(field, size=(height, width), mode="bicubic", align_corners=True)
    return functional.grid_sample(images, grid + field.permute(0, 2, 3, 1), padding_mode="zeros", align_corners=False)


def blur(images: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian blur of N x channels x H x W, the same for all; `sigma` in pixels."""
    reach = max(1, int(3 * sigma + 0.5))
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    kernel = (kernel / kernel.sum()).repeat(images.shape[1], 1, 1)
    images = functional.conv2d(images, kernel[:, :, :, None], padding=(reach, 0), groups=images.shape[1])
    return functional.conv2d(images, kernel[:, :, None, :], padding=(0, reach), groups=images.shape[1])


def thicken(strokes: torch.Tensor, pixels: int) -> torch.Tensor:
    """Widens (or, below zero, thins) the strokes of N x 1 x H x W by `pixels` on either side, with rounded ends."""
    for _ in range(abs(pixels)):
        sign = 1 if pixels > 0 else -1
        strokes = sign * functional.max_pool2d(sign * strokes, 3, stride=1, padding=1)
    return strokes


def fit(ink: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.float64]:
    """Cuts the ink (CANVAS x CANVAS) to its bounding box and sets it to full height on SIZE x SIZE, 0 to 1."""
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if len(rows) == 0:
        return np.zeros((SIZE, SIZE))
    cut = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    high = SIZE - int(rng.integers(0, 3))
    wide = round(cut.shape[1] * high / cut.shape[0] * rng.uniform(0.75, 1.1))
    wide = min(max(wide, 6), SIZE - 4)
    glyph = Image.fromarray(np.uint8(cut * 255)).resize((wide, high), Image.Resampling.BOX)
    page = Image.new("L", (SIZE, SIZE))
    page.paste(glyph, ((SIZE - wide) // 2 + int(rng.integers(-2, 3)), (SIZE - high) // 2))
    return np.asarray(page, dtype=np.float64) / 255


def render(count: int, seed: int, low_resolution: float = 0.8, crossed: float = 0.5) -> tuple[Pixels, Labels]:
    """Draws `count` pictures, N x 32 x 32 x 3 uint8, white on black, and the digit of each (0 to 9, in random order).

    `low_resolution` is the share that goes through the 8x8 counts, `crossed` the share of the sevens with a bar.
    """
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    glyphs = draw_glyphs(font_paths())
    digits = rng.integers(0, 10, size=count)
    fonts = rng.integers(0, len(glyphs), size=count)
    pictures = np.empty((count, SIZE, SIZE, 3), dtype=np.uint8)
    for start in range(0, count, 128):
        part = slice(start, min(start + 128, count))
        bar = (digits[part] == 7) & (rng.random(len(digits[part])) < crossed)
        strokes = glyphs[fonts[part], np.where(bar, CROSSED_SEVEN, digits[part])][:, None]
        strokes = thicken(strokes, int(rng.integers(-1, 3)))
        strokes = warp(strokes, generator, degrees=12, shear=0.25, scale=0.15, shift=0.03, elastic=0.06)
        strokes = blur(strokes, float(rng.uniform(0.8, 2.0)))
        ink = (strokes[:, 0] > float(rng.uniform(0.35, 0.55))).numpy()
        for row, stroke in zip(range(start, part.stop), ink, strict=True):
            page = fit(stroke, rng)
            if rng.random() < low_resolution:
                cells = (page > 0.5).reshape(8, 4, 8, 4).sum(axis=(1, 3)) + rng.normal(0, 0.7, (8, 8)) * (rng.random() < 0.5)
                pictures[row] = show(np.clip(np.round(cells), 0, 16))
            else:
                noisy = page + rng.normal(0, 0.03, page.shape)
                pictures[row] = (np.clip(noisy, 0, 1) * 255).astype(np.uint8)[..., None]
    return pictures, digits.astype(np.int64)


def main() -> None:
    """Writes a contact sheet, one digit a row, to the path given."""
    pictures, digits = render(600, seed=0)
    sheet = Image.new("RGB", (20 * 33, 10 * 33))
    for digit in range(10):
        for column, picture in enumerate(pictures[digits == digit][:20]):
            sheet.paste(Image.fromarray(picture), (column * 33, digit * 33))
    sheet.resize((2 * sheet.width, 2 * sheet.height)).save(sys.argv[1])


if __name__ == "__main__":
    main()
