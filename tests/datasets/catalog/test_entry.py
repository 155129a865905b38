"""Class lists, templates and counts of the catalog, compared with the papers and with other libraries."""

from __future__ import annotations

import csv
import json
import os
import re
from pathlib import Path

import pytest
import yaml

from nola_core.datasets.catalog import definition_yaml, load_entry, names
from nola_core.datasets.definition import load_definition
from nola_core.datasets.manifest import class_table
from nola_core.datasets.names import display_name
from nola_core.datasets.readers import SPLITS
from nola_core.errors import NolaError
from tests.collection import write_collection

BENCH_DATA = Path(os.environ.get("NOLA_BENCH_DATA", Path(__file__).parents[3] / ".." / "shared" / "benchdata"))

# Classes and images of train, val and test, as the papers give them.
PAPERS = {
    "imagenet": (1000, 1_281_167, None, 50_000),
    "caltech101": (100, 4_128, 1_649, 2_465),
    "oxford_pets": (37, 2_944, 736, 3_669),
    "flowers102": (102, 4_093, 1_633, 2_463),
    "dtd": (47, 2_820, 1_128, 1_692),
    "eurosat": (10, 13_500, 5_400, 8_100),
    "sun397": (397, 15_880, 3_970, 19_850),
    "ucf101": (101, 7_639, 1_898, 3_783),
    "food101": (101, 50_500, 20_200, 30_300),
    "stanford_cars": (196, 6_509, 1_635, 8_041),
    "fgvc_aircraft": (100, 3_334, 3_333, 3_333),
    "cifar10": (10, 50_000, None, 10_000),
    "cifar100": (100, 50_000, None, 10_000),
    "resisc45": (45, 18_900, 6_300, 6_300),
}


def test_the_fourteen_of_the_papers() -> None:
    assert set(names()) == set(PAPERS)


@pytest.mark.parametrize("name", PAPERS)
def test_counts_templates_and_names_of_their_own(name: str) -> None:
    entry = load_entry(name)
    counts = entry.layouts[0].counts
    assert (len(entry.names), *(counts.get(split) for split in SPLITS)) == PAPERS[name]
    assert len({sum(layout.counts.values()) for layout in entry.layouts}) == 1  # CoOp deals the same images out again
    displayed = [display_name(text).casefold() for text in entry.names]
    assert len(set(displayed)) == len(displayed)
    assert all(template.count("{}") == 1 for template in entry.templates)
    assert len(set(entry.templates)) == len(entry.templates)


@pytest.mark.parametrize("name", PAPERS)
def test_its_definition_can_be_used_as_it_is(tmp_path: Path, name: str) -> None:
    root = write_collection(tmp_path, dataset="mine")
    (root / "data" / "mine.yaml").write_text("source: images\n" + definition_yaml(name, labels="none", backbones="demo"))
    definition = load_definition(root, "mine")
    assert (definition.images.reader, definition.images.dataset, definition.images.labels) == ("catalog", name, "none")
    assert definition.backbones == "demo" and definition.templates == load_entry(name).templates
    assert class_table(definition, None)["name"].tolist() == load_entry(name).names  # type: ignore[arg-type]


def test_imagenet_has_the_names_of_open_clip_in_synset_order() -> None:
    from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES, OPENAI_IMAGENET_TEMPLATES
    from torchvision.models._meta import _IMAGENET_CATEGORIES

    entry = load_entry("imagenet")
    synsets = list(entry.classes)
    assert synsets == sorted(synsets) and all(re.fullmatch(r"n\d{8}", synset) for synset in synsets)
    renamed = {row for row, (ours, theirs) in enumerate(zip(entry.names, IMAGENET_CLASSNAMES, strict=True)) if ours != theirs}
    assert renamed == {744, 836}  # the second 'missile' and the first 'sunglasses'
    assert all(entry.names[row] == _IMAGENET_CATEGORIES[row] for row in renamed)
    assert (entry.classes["n03773504"], entry.classes["n04356056"]) == ("missile", "sunglasses")
    assert set(entry.templates) == {template("{}") for template in OPENAI_IMAGENET_TEMPLATES}
    assert entry.templates[0] == "a photo of a {}."


def test_flowers_have_the_names_of_torchvision() -> None:
    from torchvision.datasets import Flowers102

    entry = load_entry("flowers102")
    assert entry.names == [name.rstrip("?") for name in Flowers102.classes]
    assert list(entry.classes) == [str(number) for number in range(1, 103)]


def words(action: str) -> str:
    return re.sub(r"(?<=.)(?=[A-Z])", "_", action)


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("oxford_pets", str.lower),
        ("sun397", lambda path: " ".join(reversed(path.split("/")[1:]))),
        ("ucf101", words),
        ("stanford_cars", lambda model: f"{model[-4:]} {model[:-5]}"),
        ("cifar100", lambda label: label.replace("_", " ")),
        ("resisc45", lambda folder: folder.replace("_", " ")),
        *[(name, str) for name in ("dtd", "food101", "fgvc_aircraft", "cifar10")],
    ],
)
def test_names_follow_from_what_the_source_calls_the_class(name: str, rule: object) -> None:
    assert callable(rule)
    for raw, class_name in load_entry(name).classes.items():
        assert class_name == rule(raw)


@pytest.mark.parametrize("name", ["dtd", "eurosat", "sun397", "food101", "cifar10", "cifar100", "resisc45", "fgvc_aircraft"])
def test_order_is_that_of_the_folders(name: str) -> None:
    raw = list(load_entry(name).classes)
    assert raw == sorted(raw)


@pytest.mark.parametrize(
    ("name", "number", "class_name"),
    [  # numbers of the annotations, starting at 1, if the order is the distributor's
        ("oxford_pets", 6, "bengal"),
        ("oxford_pets", 32, "shiba_inu"),
        ("flowers102", 77, "passion flower"),
        ("ucf101", 35, "Hammering"),
        ("ucf101", 36, "Hammer_Throw"),
        ("ucf101", 37, "Handstand_Pushups"),
        ("ucf101", 48, "Jump_Rope"),
        ("stanford_cars", 14, "2012 Audi TTS Coupe"),
        ("stanford_cars", 181, "2007 Suzuki Aerio Sedan"),
        ("caltech101", 1, "face"),
        ("caltech101", 4, "accordion"),
    ],
)
def test_numbers_of_the_annotations(name: str, number: int, class_name: str) -> None:
    assert load_entry(name).names[number - 1] == class_name


def test_caltech_is_numbered_and_named_as_in_coops_split() -> None:
    table = BENCH_DATA / "caltech101-split.csv"
    if not table.is_file():
        pytest.skip(f"no {table}; set NOLA_BENCH_DATA")
    entry = load_entry("caltech101")
    counts: dict[str, int] = {}
    with table.open() as stream:
        for row in csv.DictReader(stream):
            assert entry.names[int(row["label"])] == entry.classes[row["path"].split("/")[0]] == row["class_name"]
            counts[row["split"]] = counts.get(row["split"], 0) + 1
    assert counts == entry.layouts[0].counts


def test_published_descriptions_have_these_names_as_keys() -> None:
    tables = [path for path in sorted(BENCH_DATA.glob("descriptions/*.json")) if path.stem in names()]
    if not tables:
        pytest.skip(f"no descriptions in {BENCH_DATA}; set NOLA_BENCH_DATA")
    for path in tables:
        keys = [display_name(key) for key in json.loads(path.read_text())]
        assert keys == [display_name(name) for name in load_entry(path.stem).names], path


def test_a_name_that_is_not_in_the_catalog_gets_a_hint() -> None:
    with pytest.raises(NolaError, match=r"has no data set 'caltech'; did you mean 'caltech101'\?"):
        load_entry("caltech")


def test_the_reader_needs_to_know_which(tmp_path: Path) -> None:
    root = write_collection(tmp_path, images={"reader": "catalog", "holdout": 0, "labels": "none"})
    with pytest.raises(NolaError, match=r"images.dataset is missing; set it to a data set of the catalog, for example dtd"):
        load_definition(root, "toy")


def test_the_definition_says_when_a_share_is_held_out() -> None:
    assert yaml.safe_load(definition_yaml("eurosat"))["images"]["holdout"] == 0.3
    assert yaml.safe_load(definition_yaml("dtd"))["images"]["holdout"] == 0
