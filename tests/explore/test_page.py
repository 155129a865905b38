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
import pyarrow.parquet as pq
import pytest
from PIL import Image

from nola_core.corrections import path_of
from nola_core.datasets.opener import image_opener
from nola_core.explore.collection import read
from nola_core.explore.page import Page
from nola_core.files import write_table
from nola_core.local_server import served
from nola_core.prediction import GIVEN_SCHEMA, with_given
from tests.browser import ENTER, Browser, browser, needs_browser
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
    found = Page(read(root, "toy"), image_opener(root, "toy"), root / ".nola" / "maps", root=root)
    if mapped:
        found.draw_map()
    with served(found.answer, told=found.told) as address:
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
        for name in ("", "page.css", "page.js", "map.js", "details.js", "corrections.js"):
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
        first = window.run("return nola.listed.slice(0, 10)")
        assert [row % 5 for row in first] == [0] * 10, "of equally doubtful ones, those that the methods disagree on"
        assert window.run("return document.querySelectorAll('.tile').length") == 120  # pictures are asked for as they are needed
        painted = "const m = nola.map; m.render(); const ink = m.canvas.getContext('2d');"
        painted += "const data = new Uint32Array(ink.getImageData(0, 0, m.canvas.width, m.canvas.height).data.buffer);"
        assert window.run(painted + "return new Set(data).size") > 50


def tell(address: str, **said: Any) -> dict[str, Any]:
    request = urllib.request.Request(address + "corrections", json.dumps(said).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as reply:
        return dict(json.load(reply))


def refused(address: str, **said: Any) -> str:
    with pytest.raises(urllib.error.HTTPError) as caught:
        tell(address, **said)
    assert caught.value.code == 409
    return caught.value.read().decode()


def test_corrections_go_into_the_table_and_back(tmp_path: Path) -> None:
    write_explored(tmp_path)
    table = path_of(tmp_path, "toy")
    with page(tmp_path, mapped=False) as (address, _):
        tell(address, rows=[0, 7], **{"class": "bee"})
        tell(address, rows=[1], **{"class": "(none)"})
        tell(address, merge="cat", into="bee")
        found = tell(address, rows=[3, 4], new="drone")
        written = table.read_text().splitlines()
        assert written[1:4] == ["image,000.png,bee", "image,007.png,bee", "image,001.png,(none)"]
        assert written[4:] == ["merge,cat,bee", "class,drone,", "image,003.png,drone", "image,004.png,drone"]
        assert found["given"] == {"0": "bee", "7": "bee", "1": None, "3": "drone", "4": "drone"}
        assert found["names"] == ["ant", "bee", "drone"] and found["pending"] == 5 + 2
        assert found["command"] == "nola run --dataset toy" and not found["off"]
        assert "there is no class 'wasp'" in refused(address, rows=[5], **{"class": "wasp"})
        assert "in a circle" in refused(address, merge="bee", into="cat")
        assert "already" in refused(address, rows=[5], new="ant")
        assert "no such image" in refused(address, rows=[30], **{"class": "ant"})
        assert "load it again" in refused(address, rows="all")
        assert table.read_text().splitlines() == written
        assert tell(address, undo=[0])["given"].keys() == {"7", "1", "3", "4"}
        assert tell(address, undo="class", name="drone")["given"].keys() == {"7", "1"}
        assert tell(address, undo="images", name="(none)")["given"].keys() == {"7"}
        tell(address, undo="merge", name="cat")
        assert tell(address, undo="images", name="bee")["lines"] == [] and not table.exists()


def test_what_the_results_have_is_not_pending_and_what_was_taken_back_is(tmp_path: Path) -> None:
    write_explored(tmp_path)
    path = tmp_path / "data" / "toy" / "predictions.parquet"
    write_table(path, with_given(pq.read_table(path), {"000.png": 1, "001.png": -1}).to_pandas(), GIVEN_SCHEMA)
    path_of(tmp_path, "toy").write_text("what,name,class\nimage,000.png,bee\nimage,001.png,(none)\n")
    with page(tmp_path, mapped=False) as (address, found):
        assert json.loads(get(address + "corrections"))["pending"] == 0
        assert (
            found.collection.methods["evidence"].classes[0, 0] == 1
            and found.collection.methods["evidence"].probabilities[0, 0] == 1
        )
        assert tell(address, undo=[0])["pending"] == 1


@needs_browser
def test_a_person_corrects(tmp_path: Path, window: Browser) -> None:
    write_explored(tmp_path)
    window.open("about:blank")  # another test's page may still ask for its map
    window.requests()
    with page(tmp_path) as (address, _):
        window.open(address)
        window.wait("return window.nola && nola.listed.length === 30")
        window.run("document.querySelector('.tile[data-row=\"0\"]').click()")
        window.wait("return document.querySelector('#details .correct input')")
        window.run("document.querySelector('#details .correct input').focus()")
        window.press("bee" + ENTER)
        window.wait("return document.querySelector('#details .said')?.textContent.includes('bee')")
        assert window.run("return document.querySelector('.tile[data-row=\"0\"] span').textContent").endswith("✎ bee")
        assert "nola run --dataset toy" in window.text("#corrections")
        window.run("document.querySelector('#details .correct input').focus()")
        window.press("wasp" + ENTER)
        window.wait("return document.getElementById('problem').textContent.includes(\"there is no class 'wasp'\")")
        assert set_to(window, "unknown", "1") == 4
        window.run("document.querySelector('#all summary').click(); document.querySelector('#all input').focus()")
        window.press("drone")
        window.run("document.querySelector('#all .is-new').click()")
        window.wait("return document.getElementById('corrections').textContent.includes('4 images: drone')")
        set_to(window, "unknown", "")
        window.run(
            "document.querySelectorAll('#classes button')[0].click(); document.querySelectorAll('#classes button')[1].click()"
        )
        pair = window.run("return [...document.querySelectorAll('#merging button')].map(one => one.textContent)")
        window.run("document.querySelector('#merging button').click()")
        window.wait("return document.getElementById('corrections').textContent.includes(' is ')")
        rows = path_of(tmp_path, "toy").read_text().splitlines()
        assert rows[1:3] == ["image,000.png,bee", "class,drone,"] and rows[-1] == f"merge,{pair[1]},{pair[0]}"
        window.run("document.querySelector('#details .undo').click()")
        window.wait("return !document.querySelector('#details .said')")
        assert "000.png" not in path_of(tmp_path, "toy").read_text()
        assert window.run("return document.documentElement.scrollWidth <= window.innerWidth")
    assert not [one for one in window.requests() if not one.startswith((address, "data:"))]
