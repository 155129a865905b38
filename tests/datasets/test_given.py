"""Images as a user gives them: in order, named as the user would name them, and opened late."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nola_core.datasets.given import count, given
from nola_core.errors import NolaError


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("b/2.png", "a/1.png", "0.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4), (len(name), 0, 0)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / ".hidden.png").write_bytes(b"")
    return tmp_path


def test_a_folder_gives_its_images_sorted_and_named_from_there(photos: Path) -> None:
    assert [one.name for one in given(photos)] == ["0.png", "a/1.png", "b/2.png"]
    assert [one.name for one in given(str(photos))] == [one.name for one in given(photos)]
    assert count(photos) == 3


def test_paths_keep_their_names_and_opened_images_get_numbers(photos: Path) -> None:
    first, image = photos / "0.png", Image.new("L", (3, 5), 7)
    items = [str(first), image, first]
    assert [one.name for one in given(items)] == [str(first), "1", str(first)]
    assert count(items) == 3 and count(iter(items)) is None
    assert [one.name for one in given(first)] == [str(first)] and count(first) == 1
    (alone,) = given(image)
    opened = alone.open()
    assert alone.name == "0" and opened.mode == "RGB" and np.asarray(opened).tolist() == [[[7] * 3] * 3] * 5


def test_an_iterator_is_read_as_far_as_it_is_asked_for(photos: Path) -> None:
    asked = []

    def endless() -> object:
        while True:
            asked.append(1)
            yield photos / "0.png"

    stream = given(endless())  # type: ignore[arg-type]
    next(stream), next(stream)
    assert len(asked) == 2


def test_what_is_no_image_is_named(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(NolaError, match="empty holds no image"):
        list(given(tmp_path / "empty"))
    with pytest.raises(NolaError, match="image 1 is a int; give paths or PIL images"):
        list(given([photos / "0.png", 3]))  # type: ignore[list-item]
    for path, reason in ((photos / "none.png", "No such file"), (photos / "notes.txt", "not an image of a known format")):
        (one,) = given(path)
        with pytest.raises(NolaError, match=reason):
            one.open()
    with pytest.raises(NolaError, match="pixels"):
        next(given(photos)).open(max_pixels=8)
