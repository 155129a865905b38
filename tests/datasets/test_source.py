"""The fingerprint of a source changes if a readable file is added, removed or changed, and nothing makes it hang."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nola_core.datasets.definition import load_definition
from nola_core.datasets.readers import open_reader
from nola_core.datasets.source import fingerprint
from nola_core.errors import NolaError
from tests.collection import PARAMS, write_collection
from tests.datasets.hostile import write_odd_paths
from tests.datasets.sources import png
from tests.tiny import write_photos


def of(root: Path, *, reader: str = "folder", source: str = "images", **images: Any) -> str:
    images = {"reader": reader, "holdout": 0, "labels": "none", **images}
    return fingerprint(load_definition(write_collection(root, source=source, images=images), "toy"))


def add_image(folder: Path) -> None:
    (folder / "a" / "new.PNG").write_bytes(png(9))


def touch(folder: Path) -> None:
    os.utime(folder / "a" / "000.png", ns=(1, 1))


def grow(folder: Path) -> None:
    path = folder / "a" / "000.png"
    before = path.stat()
    path.write_bytes(path.read_bytes() + b"x")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES: dict[str, Callable[[Path], Any]] = {
    "added": add_image,
    "touched": touch,
    "grown": grow,
    "removed": lambda folder: (folder / "a" / "000.png").unlink(),
    "renamed": lambda folder: (folder / "a" / "000.png").rename(folder / "a" / "001.png.png"),
    "made readable": lambda folder: (folder / "a" / "000.png").chmod(0o400),
    "a link to nowhere": lambda folder: (folder / "gone.jpg").symlink_to("nowhere"),
    "what is linked to": lambda folder: os.utime(folder.parent / "linked" / "000.png", ns=(1, 1)),
    "a folder at the top": lambda folder: (folder / "train").mkdir(),
}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    write_photos(tmp_path / "images" / "a", count=3)
    write_photos(tmp_path / "linked", count=1)
    (tmp_path / "images" / "link").symlink_to(tmp_path / "linked")
    (tmp_path / "images" / "a" / "up").symlink_to(tmp_path / "images")
    return tmp_path / "images"


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_is_noticed(photos: Path, change: Callable[[Path], Any]) -> None:
    before = of(photos.parent)
    assert of(photos.parent) == before
    change(photos)
    assert of(photos.parent) != before


def test_what_no_reader_looks_at_is_not(photos: Path) -> None:
    before = of(photos.parent), of(photos.parent, reader="webdataset")
    (photos / ".dvcignore").write_text("*")
    (photos / ".hidden").mkdir()
    (photos / ".hidden" / "b.png").write_bytes(png(1))
    assert (of(photos.parent), of(photos.parent, reader="webdataset")) == before
    (photos / "notes.txt").write_text("of a folder of images, images alone are read")
    assert of(photos.parent) == before[0]
    assert of(photos.parent, reader="webdataset") != before[1]


def test_it_does_not_depend_on_where_the_project_lies(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = of(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert of(Path()) == before
    assert of(tmp_path, source=str(photos)) == before


def test_a_single_file_and_the_images_beside_a_table(photos: Path) -> None:
    (photos / "list.csv").write_text("path\na/000.png\n")
    (photos / "all.parquet").write_bytes(b"rows")
    (photos / "a.tar").write_bytes(b"shard")
    before = {name: of(photos.parent, reader=reader, source=f"images/{name}") for name, reader in (
        ("list.csv", "table"), ("all.parquet", "table"), ("a.tar", "webdataset"))}  # fmt: skip
    touch(photos)
    assert of(photos.parent, reader="table", source="images/list.csv") != before["list.csv"]
    assert of(photos.parent, reader="table", source="images/all.parquet") == before["all.parquet"]
    (photos / "classnames.txt").write_text("cat\ndog\n")
    assert of(photos.parent, reader="webdataset", source="images/a.tar") != before["a.tar"]
    (photos / "all.parquet").write_bytes(b"rows and rows")
    assert of(photos.parent, reader="table", source="images/all.parquet") != before["all.parquet"]


def test_digits_never_change_and_what_is_not_there_is_named(tmp_path: Path) -> None:
    digits = load_definition(PARAMS.parent, "digits")
    assert fingerprint(digits) == fingerprint(digits.model_copy(update={"source": "elsewhere"}))
    with pytest.raises(NolaError, match=r"data/toy.yaml: the source .*/gone does not exist"):
        of(tmp_path, source="gone")


def test_nothing_hangs_and_nothing_breaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    expected = write_odd_paths(folder)
    monkeypatch.chdir(folder)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.png")
    (folder / ".dvcignore").write_text("*\n")
    before = of(tmp_path)
    assert before == of(tmp_path)
    reader = open_reader(load_definition(tmp_path, "toy"))
    found = {entry.image_id: entry for entry in reader.scan()}
    assert set(found) == {*expected, "socket.png"}
    for name in ("socket.png", "pipe.jpg", "device.jpg"):
        with pytest.raises(OSError, match="it is not a regular file"):
            reader.read(path=name, shard="", row=-1)
    os.mkfifo(folder / "another pipe.png")
    assert of(tmp_path) != before


def test_it_is_light() -> None:
    code = (
        "import sys; from pathlib import Path; import nola_core.datasets.source, nola_core.backbones.pairs; "
        f"from nola_core.config import load; load(Path({str(PARAMS.parent)!r})); "
        "print([name for name in ('torch', 'pandas', 'numpy', 'PIL', 'pyarrow', 'timm', 'open_clip') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
