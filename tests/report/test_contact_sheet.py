"""Contact sheets: every image in its place, in its frame, undistorted."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from nola_core.report.contact_sheet import FRAME, GAP, TILE, _cut, _font, contact_sheet, save_sheet

GREEN, RED = "#009E73", "#D55E00"
RGB = {GREEN: (0, 158, 115), RED: (213, 94, 0)}


def corner(sheet: Image.Image, column: int, row: int, height: int) -> tuple[int, int]:
    return column * (TILE + GAP), row * height


def test_images_frames_and_places() -> None:
    images = [Image.new("RGB", (40, 40), (value, 0, 200)) for value in (10, 20, 30)]
    frames = [GREEN, RED, GREEN]
    sheet = contact_sheet(images, ["a", "b", "c"], frames, columns=2)
    assert sheet.width == 2 * TILE + GAP
    height = (sheet.height + GAP) // 2
    for number, (image, frame) in enumerate(zip(images, frames, strict=True)):
        left, top = corner(sheet, number % 2, number // 2, height)
        assert sheet.getpixel((left, top)) == RGB[frame]
        assert sheet.getpixel((left + TILE - 1, top + TILE - 1)) == RGB[frame]
        assert sheet.getpixel((left + TILE // 2, top + TILE // 2)) == image.getpixel((0, 0))
    assert sheet.getpixel((TILE + GAP + TILE // 2, height + TILE // 2)) == (255, 255, 255)


@pytest.mark.parametrize(("size", "mode"), [((8, 8), "L"), ((300, 100), "RGB"), ((3, 90), "RGBA"), ((500, 1), "P")])
def test_any_size_and_mode_is_fitted_whole(size: tuple[int, int], mode: str) -> None:
    sheet = contact_sheet([Image.new(mode, size)], [""], [GREEN], columns=1)
    inside = TILE - 2 * FRAME
    black = [
        (x, y) for x in range(FRAME, FRAME + inside) for y in range(FRAME, FRAME + inside) if sheet.getpixel((x, y)) == (0, 0, 0)
    ]
    width = max(x for x, _ in black) - min(x for x, _ in black) + 1
    height = max(y for _, y in black) - min(y for _, y in black) + 1
    assert max(width, height) == inside
    assert width / height == pytest.approx(size[0] / size[1], rel=0.05) or min(width, height) == 1


def test_long_captions_stay_inside_their_tile_and_lines_make_room() -> None:
    plain = Image.new("RGB", (9, 9), "white")
    one = contact_sheet([plain, plain], ["", ""], [GREEN, GREEN], columns=2)
    two = contact_sheet([plain, plain], ["a very long name of a class " * 5 + "\nsecond line", ""], [GREEN, GREEN], columns=2)
    assert two.height > one.height
    beside = two.crop((TILE + 1, TILE, two.width, two.height))
    assert beside.getextrema() == ((255, 255),) * 3
    below = two.crop((0, TILE, TILE, two.height)).convert("L")
    assert min(below.tobytes()) < 128


@pytest.mark.parametrize("letter", ["i", "W", "·", "a b "])
def test_a_caption_is_cut_where_letter_by_letter_would_cut_it(letter: str) -> None:
    for count in range(0, 60, 3):
        line = letter * count
        slow = line
        while slow and _font().getlength(slow + "…") > TILE:
            slow = slow[:-1]
        assert _cut(line, TILE) == (line if _font().getlength(line) <= TILE else slow.rstrip() + "…")


def test_a_caption_of_a_million_letters_is_measured_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[int] = []

    class Font:
        def getlength(self, text: str) -> float:
            measured.append(len(text))
            return float(_font().getlength(text))

    monkeypatch.setattr("nola_core.report.contact_sheet._font", Font)
    assert _cut("i" * 1_000_000, TILE).endswith("i…")
    assert len(measured) < 12 and max(measured) <= TILE + 1


def test_unequal_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        contact_sheet([Image.new("RGB", (5, 5))], ["a", "b"], [GREEN], columns=1)


def test_saved_sheets_keep_the_frames_apart(tmp_path: Path) -> None:
    photo = Image.effect_noise((200, 200), 90).convert("RGB")
    save_sheet(contact_sheet([photo] * 8, ["x"] * 8, [GREEN] * 7 + [RED], columns=8), tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").stat().st_size < 300_000
    with Image.open(tmp_path / "sheet.png") as opened:
        sheet = opened.convert("RGB")
    for place, colour in ((0, GREEN), (7, RED)):
        pixel = sheet.getpixel((place * (TILE + GAP) + 2, 2))
        assert isinstance(pixel, tuple)
        assert all(abs(a - b) <= 12 for a, b in zip(pixel, RGB[colour], strict=True))
