"""Pictures of images: framed thumbnails with captions."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

from nola_core.report.style import INK

TILE = 132
"""Side of a thumbnail in pixels, frame included."""
FRAME = 5
GAP = 10
LINE = 15
FONT_SIZE = 12


def contact_sheet(
    images: Sequence[Image.Image], captions: Sequence[str], frame_colours: Sequence[str], columns: int
) -> Image.Image:
    """Thumbnails in rows, each in a frame above its caption.

    Args:
        images: any sizes and modes; each is fitted whole into a square (small ones enlarged pixel by pixel).
        captions: one for each image; line breaks are kept, lines too long for the tile end in an ellipsis.
        frame_colours: one for each image, e.g. `#009E73`.
        columns: tiles a row, at least 1; the sheet is this wide even if there are fewer images.

    Returns:
        RGB.

    Raises:
        ValueError: the three sequences differ in length.
    """
    lines = max((caption.count("\n") + 1 for caption in captions), default=1)
    height = TILE + 4 + lines * LINE + GAP
    rows = max(1, -(-len(images) // columns))
    sheet = Image.new("RGB", (columns * (TILE + GAP) - GAP, rows * height - GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for place, (image, caption, colour) in enumerate(zip(images, captions, frame_colours, strict=True)):
        left, top = place % columns * (TILE + GAP), place // columns * height
        draw.rectangle((left, top, left + TILE - 1, top + TILE - 1), fill=colour)
        inside = TILE - 2 * FRAME
        draw.rectangle((left + FRAME, top + FRAME, left + FRAME + inside - 1, top + FRAME + inside - 1), fill="white")
        thumbnail = _fitted(image, inside)
        sheet.paste(thumbnail, (left + FRAME + (inside - thumbnail.width) // 2, top + FRAME + (inside - thumbnail.height) // 2))
        for number, line in enumerate(caption.split("\n")):
            draw.text((left + 1, top + TILE + 4 + number * LINE), _cut(line, TILE), fill=INK, font=_font())
    return sheet


def save_sheet(sheet: Image.Image, path: Path) -> None:
    """Write as PNG in an adaptive palette of 256 colours: a third of the size, hardly a visible difference.

    The caller makes the write atomic.
    """
    # MAXCOVERAGE would lose rare colours (the frames); median cut keeps both photographs and frames faithful.
    palette = sheet.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.FLOYDSTEINBERG)
    palette.save(path, format="PNG", optimize=True)


def _fitted(image: Image.Image, side: int) -> Image.Image:
    """RGB, scaled whole into a square of `side`; enlargements by two or more keep the pixels visible."""
    image = image.convert("RGB")
    scale = side / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.LANCZOS)


@cache
def _font() -> ImageFont.FreeTypeFont:
    """The font that ships with matplotlib, so that every machine draws the same sheet."""
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"), FONT_SIZE)


def _cut(line: str, width: int) -> str:
    """The line, or as much of it as fits into `width` pixels with an ellipsis."""
    font = _font()
    if len(line) <= width and font.getlength(line) <= width:
        return line
    line = line[:width]  # no letter is narrower than a pixel
    fits = bisect_left(range(1, len(line) + 1), True, key=lambda count: font.getlength(line[:count] + "…") > width)
    return line[:fits].rstrip() + "…"
