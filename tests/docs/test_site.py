"""The site: it builds without a warning, every link and anchor leads somewhere, and no page asks another machine for anything."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.browser import browser, needs_browser
from tests.project import ROOT

OTHERS = ("Killed", "CUDA out of memory", "No space left on device", "Unable to read RWLock-file")
"""Messages of the system, of torch and of DVC."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All pages, built as `make site` does; a broken link or anchor, or a page that is missing, ends it."""
    out = tmp_path_factory.mktemp("site")
    words = ["build", "--strict", "--quiet", "--config-file", str(ROOT / "docs" / "site" / "mkdocs.yml"), "--site-dir", str(out)]
    done = subprocess.run([sys.executable, "-m", "mkdocs", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_every_page_of_the_docs_is_in_the_navigation(site: Path) -> None:
    front = (site / "index.html").read_text()
    for page in ROOT.glob("docs/*.md"):
        assert f'href="docs/{page.stem}.html"' in front, f"{page.name} is missing in docs/site/mkdocs.yml"


def test_nothing_is_loaded_from_another_machine(site: Path) -> None:
    """No script, style, picture or font; links that a person follows may lead elsewhere."""
    for page in site.rglob("*.html"):
        loaded = re.findall(r"<(?:script|img|iframe|source)[^>]*?\ssrc=[\"']?([^\"'\s>]+)", page.read_text())
        loaded += re.findall(r"<link(?![^>]*rel=[\"']?canonical)[^>]*?\shref=[\"']?([^\"'\s>]+)", page.read_text())
        assert len(loaded) > 3 and not [one for one in loaded if "//" in one], page
    for style in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", style.read_text()), style


@needs_browser
def test_a_browser_asks_nobody_else(site: Path) -> None:
    with browser() as window:
        for page in ("index.html", "docs/quickstart.html", "docs/methods.html"):
            window.open((site / page).as_uri())
            window.wait("return document.readyState === 'complete'")
        asked = window.requests()
    assert len(asked) > 10 and not [one for one in asked if not one.startswith(("file:", "data:", "blob:"))]


def test_pictures_are_small() -> None:
    pictures = list((ROOT / "docs" / "pictures").glob("*.png"))
    assert len(pictures) >= 4 and all(picture.stat().st_size < 250_000 for picture in pictures)


def test_what_troubleshooting_quotes_is_said() -> None:
    """Each message in bold occurs in the code, up to its `...`; sentences about a result are no messages."""
    code = "".join(path.read_text() for folder in ("nola_core", "flows") for path in (ROOT / folder).rglob("*.py"))
    code = re.sub(r"\"\n\s*f?\"", "", code) + (ROOT / "Makefile").read_text()
    quoted = re.findall(r"(?m)^- \*\*(.+?)\*\*", (ROOT / "docs" / "troubleshooting.md").read_text())
    messages = [one for one in quoted if one not in OTHERS and not re.match(r"[A-Z][a-z]+ .*\.$", one)]
    assert len(messages) > 12
    for message in messages:
        for part in filter(None, (piece.strip() for piece in message.split("..."))):
            assert part in code, message
