"""The page over HTTP, and in a real browser."""

from __future__ import annotations

import io
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nola_core.datasets.opener import image_opener
from nola_core.explore.collection import read
from nola_core.explore.page import Page
from nola_core.local_server import served
from tests.browser import Browser, browser, needs_browser
from tests.explore.example import write_explored

HOSTILE = (
    "<img src=x onerror=\"document.title='broken'\">",
    "</script><script>document.title='broken'</script>",
    'it\'s "quoted" & `ticked` ${1+1}',
    "\u202eright to left\u202c \u05e9\u05dc\u05d5\u05dd",
    "\U0001f426\u200d\U0001f525 phoenix",
    "long " * 2000,
)
FILES = ("<b onmouseover=alert(1)>.png", "\u202egnp.exe.png", "a & b 'c' \"d\".png")


@contextmanager
def page(root: Path, *, mapped: bool = True) -> Iterator[tuple[str, Page]]:
    found = Page(read(root, "toy"), image_opener(root, "toy"), root / ".nola" / "maps")
    if mapped:
        found.draw_map()
    with served(found.answer) as address:
        yield address, found


def get(address: str) -> bytes:
    with urllib.request.urlopen(address) as reply:
        return bytes(reply.read())


def status(address: str) -> tuple[int, str]:
    with pytest.raises(urllib.error.HTTPError) as caught:
        get(address)
    return caught.value.code, caught.value.read().decode()


def column(about: dict[str, Any], content: bytes, name: str) -> np.ndarray:
    (one,) = (one for one in about["columns"] if one["name"] == name)
    return np.frombuffer(content, f"<{one['type']}", about["images"], one["offset"])


def test_everything_the_page_asks_for_is_there(tmp_path: Path) -> None:
    own = write_explored(tmp_path)
    with page(tmp_path, mapped=False) as (address, found):
        about, content = json.loads(get(address + "about")), get(address + "columns")
        assert about["classes"] == ["ant", "bee", "cat"] and about["methods"][0] == {"name": "evidence", "title": "evidence"}
        assert column(about, content, "class:evidence").tolist() == own.tolist()
        assert column(about, content, "confidence:evidence") / 255 == pytest.approx(np.linspace(0.4, 0.98, 30), abs=0.003)
        assert np.flatnonzero(column(about, content, "flags") & 2).tolist() == [0, 1]
        assert np.flatnonzero(column(about, content, "flags") & 1).tolist() == list(range(8))
        assert column(about, content, "group").sum() == 4 and column(about, content, "score")[0] == np.float32(0.9)
        quick = get(address + "places")
        assert json.loads(get(address + "map")) == {"ready": False, "problem": ""}
        found.draw_map()
        assert json.loads(get(address + "map"))["ready"] and len(get(address + "places")) == len(quick) == 30 * 4
        assert get(address + "places") != quick
        assert json.loads(get(address + "find?text=01")) == [1, *range(10, 20)]
        assert json.loads(get(address + "details/0"))["id"] == "000.png"
        image = Image.open(io.BytesIO(get(address + "thumbnail/7")))
        assert image.tobytes() == Image.open(tmp_path / "images/007.png").tobytes()
        for name in ("", "page.css", "page.js", "map.js", "details.js"):
            assert (
                b"http:" not in get(address + name)
                and b"https:" not in get(address + name)
                and b"innerHTML" not in get(address + name)
            )
        for wrong in ("details/30", "thumbnail/-1", "image/x", "image/99999999999", "page.py", "../page.py", "thumbnail/1/2"):
            assert status(address + wrong)[0] == 404
        (tmp_path / "images/009.png").write_bytes(b"something else")
        assert "has changed since" in status(address + "image/9")[1]


def test_a_second_look_takes_the_map_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_explored(tmp_path, pictures=False)
    with page(tmp_path) as (address, _):
        places = get(address + "places")
    monkeypatch.setattr("nola_core.explore.layout.placed", None)
    with page(tmp_path) as (address, _):
        assert get(address + "places") == places


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("large")
    write_explored(root, images=20_000, classes=[f"class {number}" for number in range(50)], pictures=False)
    return root


def test_twenty_thousand_images_are_less_than_a_megabyte(large: Path) -> None:
    with page(large, mapped=False) as (address, _):
        sizes = {name: len(get(address + name)) for name in ("about", "columns", "places", "page.js", "map.js", "details.js")}
    assert sizes["columns"] == 20_000 * (8 + 3 * 2) and sizes["places"] == 20_000 * 4
    assert sum(sizes.values()) < 1_000_000


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    with browser() as found:
        yield found


def set_to(window: Browser, name: str, value: str) -> int:
    """Choose a value of a filter; how many images are listed then."""
    script = f"const one = document.getElementById({json.dumps(name)}); one.value = {json.dumps(value)};"
    window.run(script + "one.dispatchEvent(new Event(one.tagName === 'SELECT' ? 'change' : 'input'))")
    return int(window.run("return nola.listed.length"))


@needs_browser
def test_a_person_filters_and_looks(tmp_path: Path, window: Browser) -> None:
    write_explored(tmp_path)
    window.requests()
    with page(tmp_path) as (address, _):
        window.open(address)
        window.wait("return window.nola && nola.listed.length === 30 && document.querySelector('.tile img').naturalWidth > 0")
        assert set_to(window, "disagree", "*") == 6 and "6 of 30 images" in window.text("#count")
        assert set_to(window, "disagree", "") == 30
        assert set_to(window, "unknown", "misfit") == 8 and set_to(window, "unknown", "1") == 4
        set_to(window, "unknown", "")
        assert set_to(window, "split", "1") == 10
        assert (
            set_to(window, "low", "90") == 5 and set_to(window, "low", "0") == 10
        )  # 90 % and more are images 26 to 29 and, rounded, 25
        window.run("document.getElementById('reset').click()")
        window.run("document.querySelector('#classes button').click()")
        assert window.run("return nola.listed.map(row => row % 3)") == [0] * 10
        assert set_to(window, "method", "zero_shot") == 10
        window.run("document.getElementById('reset').click(); document.getElementById('duplicate').click()")
        assert sorted(window.run("return nola.listed")) == [0, 1]
        window.run("document.getElementById('duplicate').click()")
        set_to(window, "method", "evidence")
        x, y = window.run(
            "const box = nola.map.canvas.getBoundingClientRect(); return [box.x + nola.map.x(0), box.y + nola.map.y(0)]"
        )
        window.click(x, y)  # the point of an image on the map
        window.wait("return document.querySelectorAll('#details .similar .tile').length > 3")
        shown = window.text("#details")
        assert "zero_shot" in shown and "Most similar images" in shown
        window.run("document.querySelector('.tile[data-row=\"0\"]').click()")
        window.wait("return document.querySelector('#details .id').textContent === '000.png'")
        shown = window.text("#details")
        assert (
            "Speaks for ant" in shown
            and "a photo of a ant" in shown
            and "never mind the ant" in shown
            and "Near duplicates" in shown
        )
        window.run("document.querySelector('#details .similar .tile').click()")
        window.wait("return document.querySelector('#details .id').textContent === '001.png'")
    assert not [one for one in window.requests() if not one.startswith((address, "data:"))]


@needs_browser
def test_hostile_names_are_text(tmp_path: Path, window: Browser) -> None:
    write_explored(tmp_path, classes=HOSTILE, names=FILES)
    window.requests()
    with page(tmp_path) as (address, _):
        window.open(address)
        window.wait("return window.nola && nola.listed.length === 30")
        listed = window.run("return [...document.querySelectorAll('#classes .name')].map(one => one.textContent)")
        assert sorted(listed) == sorted(name[:300] for name in HOSTILE)
        for row, name in enumerate(FILES):
            window.run(f"document.querySelector('.tile[data-row=\"{row}\"]').click()")
            window.wait(f"return document.querySelector('#details .id')?.textContent === {json.dumps(name)}")
            assert HOSTILE[row] in window.run("return document.getElementById('details').textContent")
        assert "broken" not in window.run("return document.title") and not window.run(
            "return document.querySelectorAll('b').length"
        )
        assert window.run("return document.documentElement.scrollWidth <= window.innerWidth")
        assert window.text("#problem") == ""
    assert not [one for one in window.requests() if not one.startswith((address, "data:"))]


@needs_browser
def test_twenty_thousand_images_are_shown(large: Path, window: Browser) -> None:
    with page(large, mapped=False) as (address, _):
        window.open(address)
        window.wait("return window.nola && nola.listed.length === 20000 && nola.map.order")
        assert window.run("return document.querySelectorAll('.tile').length") == 120  # pictures are asked for as they are needed
        painted = "const m = nola.map; m.render(); const ink = m.canvas.getContext('2d');"
        painted += "const data = new Uint32Array(ink.getImageData(0, 0, m.canvas.width, m.canvas.height).data.buffer);"
        assert window.run(painted + "return new Set(data).size") > 50
