"""The page in a real browser: a thousand hostile class names on a phone in the dark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nola_core.report.build import PAGE_BYTES, Run, build
from tests.browser import browser, needs_browser
from tests.report.example import SETTINGS, write_example

HOSTILE = (
    "<script>window.taken = 1</script>",
    "\"><img src=x onerror='window.taken = 1'>",
    "שלום עולם",
    "\u202eturned round",
    "👩\u200d🔬 🦉",
    "=1+1",
    "x" * 10_000,
    "</style></svg><h1 id='taken'>",
)


def photo(image_id: str) -> Image.Image:
    return Image.fromarray(np.random.default_rng(len(image_id)).integers(0, 255, (300, 400, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("hostile") / "pets"
    names = [*HOSTILE, *(f"{name[:40]} {number}" for number in range(124) for name in HOSTILE)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.report.example.NAMES", names)
        write_example(folder, unnamed=True)
    run = Run("pets", SETTINGS, overrides=["select.fraction=<b>"], templates=["a <b>{}</b>."])
    build(run, folder=folder, image_of=photo, output=folder / "report.html", figures_folder=folder / "figures")
    yield folder / "report.html"


def test_a_thousand_classes_fit_into_a_mail(page: Path) -> None:
    assert page.stat().st_size < PAGE_BYTES
    text = page.read_text()
    assert text.count("<script>") == 1 and "<img src=x" not in text and "<h1 id=" not in text
    assert "x" * 100 not in text


@needs_browser
def test_on_a_phone_in_the_dark_without_any_request(page: Path) -> None:
    with browser() as window:
        window.emulate(width=390, height=844, dark=True)
        window.requests()
        window.open(page.as_uri())
        assert [address for address in window.requests() if not address.startswith("data:")] == [page.as_uri()]
        assert window.run("return window.taken === undefined && !document.getElementById('taken')")
        window.run("document.querySelectorAll('details').forEach(one => one.open = true)")
        assert window.run("return document.documentElement.scrollWidth") <= 390
        assert window.run("return getComputedStyle(document.body).backgroundColor") == "rgb(20, 24, 29)"
        assert window.run("return getComputedStyle(document.querySelector('.plot text')).fill") == "rgb(230, 233, 237)"

        rows = "[...document.querySelectorAll('#class-table tbody tr')].filter(row => !row.hidden)"
        assert window.run(f"return {rows}.length") == 1000
        search = "const box = document.getElementById('class-search'); box.value = {}; box.dispatchEvent(new Event('input'))"
        window.run(search.format("'עולם 12'"))
        assert window.run(f"return {rows}.map(row => row.cells[0].textContent.replace(/[^0-9]/g, ''))") == [
            "12",
            "120",
            "121",
            "122",
            "123",
        ]
        assert window.text("#class-found") == "5 found"
        window.run(search.format("''"))
        window.run("document.querySelectorAll('#class-table th button')[1].click()")
        counts = window.run(f"return {rows}.map(row => Number(row.cells[1].dataset.value))")
        assert counts == sorted(counts, reverse=True) and counts[0] > 0 == counts[-1]
