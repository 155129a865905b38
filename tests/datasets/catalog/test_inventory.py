"""The inventory counts existing images, names missing ones and says how to get them."""

from __future__ import annotations

from pathlib import Path

import pytest

from nola_core.datasets.catalog import Entry, fetch, load_entry, names, take_inventory
from nola_core.errors import NolaError
from tests.datasets.catalog.fixtures import coop
from tests.datasets.catalog.fixtures import dtd as make_dtd


def small(name: str, **counts: int) -> Entry:
    """The entry of a data set with this many images."""
    entry = load_entry(name)
    layouts = [layout.model_copy(update={"counts": counts}) for layout in entry.layouts]
    return entry.model_copy(update={"layouts": layouts})


def test_a_data_set_is_complete_when_every_split_has_its_number(tmp_path: Path) -> None:
    make_dtd(tmp_path)
    assert take_inventory(small("dtd", train=1, val=1, test=1), tmp_path).complete
    inventory = take_inventory(small("dtd", train=2, val=1, test=1), tmp_path)
    assert not inventory.complete and inventory.present == {"train": 1, "val": 1, "test": 1}


def test_images_that_are_listed_and_not_there_are_named(tmp_path: Path) -> None:
    coop(tmp_path, "dtd", load_entry("dtd").names)
    (tmp_path / "images" / "woven" / "woven_0001.jpg").unlink()
    inventory = take_inventory(small("dtd", train=1, val=0, test=1), tmp_path)
    assert inventory.absent == ["images/woven/woven_0001.jpg"] and inventory.present["test"] == 0


def test_what_torchvision_cannot_fetch_gets_an_instruction(tmp_path: Path) -> None:
    with pytest.raises(NolaError, match=r"cannot be downloaded automatically.*cars_train/00001.jpg"):
        fetch(load_entry("stanford_cars"), tmp_path)
    with pytest.raises(NolaError, match=r"ILSVRC2012_devkit_t12.tar.gz is not present.*\). By hand: https://image-net"):
        fetch(load_entry("imagenet"), tmp_path)


def test_torchvision_fetches_what_the_catalog_says_it_fetches() -> None:
    import inspect

    import torchvision.datasets

    for name in names():
        wanted = load_entry(name).torchvision
        if wanted not in (None, "ImageNet"):
            assert "download" in inspect.signature(getattr(torchvision.datasets, wanted)).parameters, name
