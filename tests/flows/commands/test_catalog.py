"""`nola catalog`: the list equals the catalog, and a check counts what is there."""

from __future__ import annotations

import json
from pathlib import Path

from nola_core.datasets.catalog import names
from tests.datasets.catalog.fixtures import dtd as make_dtd
from tests.datasets.catalog.fixtures import write
from tests.flows.commands.conftest import Nola


def test_the_list_has_every_data_set(nola: Nola) -> None:
    rows = {row["name"]: row for row in json.loads(nola("catalog", "list", "--json")[0])}
    assert list(rows) == names()
    assert (rows["dtd"]["classes"], rows["dtd"]["images"], rows["dtd"]["fetched_by"]) == (
        47,
        {"train": 2820, "val": 1128, "test": 1692},
        "torchvision",
    )
    lines = nola("catalog")[0].splitlines()
    assert [line.split()[0] for line in lines[1:]] == names()
    assert "imagenet          1000 1,281,167      - 50,000  hand" in lines[names().index("imagenet") + 1]


def test_check(tmp_path: Path, nola: Nola) -> None:
    make_dtd(tmp_path)
    (tmp_path / "images" / "banded" / "banded_0002.jpg").unlink()
    printed, _ = nola("catalog", "check", "dtd", str(tmp_path), status=1)
    assert "train         0 of 1,880" in printed and "missing images/banded/banded_0002.jpg" in printed
    assert printed.endswith("incomplete\n")
    found = json.loads(nola("catalog", "check", "dtd", str(tmp_path), "--json", status=1)[0])
    assert (found["complete"], found["present"]["train"], found["official"]["train"]) == (False, 0, 1880)
    assert "images/banded/banded_0002.jpg" in found["absent"]
    write(tmp_path, "labels/val1.txt", "\n\nbanded\n")
    assert "val1.txt: line 3 is 'banded'" in nola("catalog", "check", "dtd", str(tmp_path), status=1)[1]
    assert "nowhere does not exist" in nola("catalog", "check", "dtd", str(tmp_path / "nowhere"), status=1)[1]
    assert "has no data set 'dtt'; did you mean 'dtd'?" in nola("catalog", "check", "dtt", str(tmp_path), status=1)[1]


def test_what_torchvision_cannot_fetch_gets_an_instruction(tmp_path: Path, nola: Nola) -> None:
    out, err = nola("catalog", "prepare", "stanford_cars", str(tmp_path), status=1)
    assert out == "" and "cannot be downloaded automatically" in err and "cars_train/00001.jpg" in err
