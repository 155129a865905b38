"""The checker counts what is there, names what is not, and says how to get it."""

from __future__ import annotations

from pathlib import Path

import pytest

from nola_core.datasets.catalog import Entry, fetch, load_entry, names, take_inventory
from nola_core.datasets.catalog.__main__ import main
from nola_core.errors import NolaError
from tests.datasets.catalog.fixtures import coop, write
from tests.datasets.catalog.fixtures import dtd as make_dtd


def small(name: str, **counts: int) -> Entry:
    """The entry of a data set that has only so many images."""
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


def test_check_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_dtd(tmp_path)
    (tmp_path / "images" / "banded" / "banded_0002.jpg").unlink()
    assert main(["check", "dtd", str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert "train         0 of 1,880" in printed and "missing images/banded/banded_0002.jpg" in printed
    assert printed.endswith("incomplete\n")
    write(tmp_path, "labels/val1.txt", "\n\nbanded\n")
    assert main(["check", "dtd", str(tmp_path)]) == 1
    assert "val1.txt: line 3 is 'banded'" in capsys.readouterr().err
    assert main(["check", "dtd", str(tmp_path / "nowhere")]) == 1
    assert "nowhere does not exist" in capsys.readouterr().err


def test_the_list_names_every_data_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == names()
    assert "imagenet          1000 1,281,167      - 50,000  hand" in lines[names().index("imagenet") + 1]


def test_what_torchvision_cannot_fetch_gets_an_instruction(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", "stanford_cars", str(tmp_path)]) == 1
    assert "cannot be fetched automatically" in (error := capsys.readouterr().err) and "cars_train/00001.jpg" in error
    with pytest.raises(NolaError, match=r"ILSVRC2012_devkit_t12.tar.gz is not present.*\). By hand: https://image-net"):
        fetch(load_entry("imagenet"), tmp_path)


def test_torchvision_fetches_what_the_catalog_says_it_fetches() -> None:
    import inspect

    import torchvision.datasets

    for name in names():
        wanted = load_entry(name).torchvision
        if wanted not in (None, "ImageNet"):
            assert "download" in inspect.signature(getattr(torchvision.datasets, wanted)).parameters, name
