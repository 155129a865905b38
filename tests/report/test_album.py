"""The small pictures: right size, and never more than there is room for."""

from __future__ import annotations

import base64
import io
import re

import pytest
from PIL import Image

from nola_core.report import build
from nola_core.report.album import SIDE, Album
from nola_core.report.build import _fitted


def noise(image_id: str) -> Image.Image:
    return Image.effect_noise((640, 480), 90)


def opened(picture: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(str(picture).split("base64,")[1].rstrip('">'))))


@pytest.mark.parametrize(("size", "mode", "tiny"), [((8, 8), "L", True), ((900, 300), "RGB", False), ((10, 400), "RGBA", False)])
def test_a_picture_is_a_small_jpeg_of_the_whole_image(size: tuple[int, int], mode: str, tiny: bool) -> None:
    picture = Album(lambda _: Image.new(mode, size)).picture('a"><b>.png')
    assert picture is not None and ('class="tiny"' in picture) == tiny
    assert 'alt="a&#34;&gt;&lt;b&gt;.png"' in picture
    image = opened(picture)
    scale = min(1, SIDE / max(size))
    assert image.format == "JPEG" and image.size == tuple(max(1, round(scale * side)) for side in size)


def test_pictures_stop_where_the_room_ends_and_are_counted() -> None:
    album = Album(noise)
    each = len(album.picture("a") or "")
    album.restart(5 * each // 2)
    assert [album.picture(name) is not None for name in "abcd"] == [True, True, False, False]
    assert album.spent <= album.room and album.left_out == 2


def test_a_page_that_is_too_large_gives_up_pictures_until_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "PAGE_BYTES", 60_000)

    class Template:
        def render(self, *, album: Album) -> str:
            return "x" * 20_000 + "".join(str(album.picture(str(number)) or "") for number in range(40))

    monkeypatch.setattr(build, "_template", Template)
    page = _fitted({}, Album(noise)).decode()
    assert 45_000 < len(page) <= 60_000
    assert 3 < len(re.findall("<img", page)) < 40
