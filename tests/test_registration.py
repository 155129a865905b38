"""`nola add`: what it finds, what it writes, and that it writes nothing when anything is wrong."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from flows import cli
from nola_core.config import load
from nola_core.datasets import load_definition, open_reader
from nola_core.errors import NolaError
from nola_core.registration import add, guess_reader, remove
from tests.datasets.sources import image_table, png, save_to_disk, write_parquet, write_shard
from tests.project import ROOT
from tests.tiny import write_clip, write_photos, write_ssl


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project's own params.yaml, tiny backbones as `demo`, and six photos beside it."""
    root = tmp_path / "project"
    (root / "data").mkdir(parents=True)
    shutil.copy(ROOT / "params.yaml", root)
    shutil.copy(ROOT / "data" / "digits.yaml", root / "data")
    write_clip(root / "demo" / "clip")
    write_ssl(root / "demo" / "ssl")
    write_photos(tmp_path / "photos", count=6)
    monkeypatch.chdir(root)
    return root


def test_three_words_define_a_collection(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (project / "params.yaml").read_text()
    assert cli.main(["add", "pets", "../photos", "--classes", "cat, dog,guinea pig", "--backbones", "demo"]) == 0
    said = capsys.readouterr().out
    assert "images (reader folder), 3 classes: cat, dog, guinea pig" in said and "next: nola run --dataset pets" in said
    definition = load_definition(project, "pets")
    assert definition.classes == ["cat", "dog", "guinea pig"] and definition.images.labels == "none"
    assert len(list(open_reader(definition).scan())) == 6
    after = (project / "params.yaml").read_text()
    entry = f"  pets:\n    images: {project.parent / 'photos'}\n    descriptions: data/pets.yaml\n"
    assert after == before.replace("demo/descriptions.csv\n", f"demo/descriptions.csv\n{entry}")
    assert cli.main(["remove", "pets"]) == 0
    assert (project / "params.yaml").read_text() == before and not (project / "data" / "pets.yaml").exists()


def test_a_definition_is_commented_and_holds_the_names_of_a_text_file(project: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("\ufeffchat\n\nno\n", encoding="utf-8")  # a byte order mark, an empty line, and YAML 1.1's word for false
    add(project, "pets", "../photos", classes=str(names), templates=["un {}: oui"], backbones="demo")
    text = (project / "data" / "pets.yaml").read_text()
    assert text.startswith("# Written by `nola add`, which found ")
    for key in ("holdout", "labels"):
        (line,) = [line for line in text.splitlines() if line.strip().startswith(f"{key}:")]
        assert "  # " in line, "what it means stands beside it"
    definition = load_definition(project, "pets")
    assert definition.classes == ["chat", "no"] and definition.templates == ["un {}: oui"]


def test_nothing_is_overwritten_unless_forced(project: Path) -> None:
    (project / "data" / "pets.yaml").write_text("mine\n")
    with pytest.raises(NolaError, match="there is a data set 'pets' already"):
        add(project, "pets", "../photos", classes="cat,dog", backbones="demo")
    for names in ("cat,dog", "cow,hen"):
        add(project, "pets", "../photos", classes=names, backbones="demo", force=True)
    assert load_definition(project, "pets").classes == ["cow", "hen"]
    assert list(load(project).datasets) == ["digits", "pets"]


@pytest.mark.parametrize(
    ("name", "source", "options", "sentence"),
    [
        ("pets", "../gone", {"classes": "a,b"}, r"gone does not exist"),
        ("Pets", "../photos", {"classes": "a,b"}, r"'Pets' may hold only a-z"),
        ("pets", "../photos", {}, r"names no classes of its own; name them: --classes"),
        ("pets", "../photos", {"classes": "names.txt"}, r"--classes names.txt cannot be read"),
        ("pets", "../photos", {"classes": "a,A"}, r"duplicate class names"),
        ("pets", "../photos", {"classes": "a,b", "templates": ["none"]}, r"must hold \{\} once"),
        ("pets", "../photos", {"classes": "a,b", "reader": "foldr"}, r"images.reader = 'foldr'"),
        ("pets", "../photos", {"classes": "a,b", "backbones": "papr"}, r"did you mean 'paper'"),
        ("pets", "../photos", {"classes": "a,b", "descriptions": "gone.csv"}, r"the descriptions gone.csv do not exist"),
        ("pets", "data", {"classes": "a,b"}, r"overlaps with the images"),
        ("pets", "../photos", {"classes": "a,b", "catalog": "dtd"}, r"--catalog brings its own"),
        ("pets", "../photos", {"catalog": "dtt"}, r"did you mean 'dtd'"),
        ("pets", "params.yaml", {"classes": "a,b"}, r"neither a table .* nor a .tar shard"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(
    project: Path, name: str, source: str, options: dict[str, Any], sentence: str
) -> None:
    before = (project / "params.yaml").read_bytes()
    with pytest.raises(NolaError, match=sentence):
        add(project, name, source, **{"backbones": "demo", **options})
    assert (project / "params.yaml").read_bytes() == before
    assert sorted(path.name for path in (project / "data").iterdir()) == ["digits.yaml"]


def test_backbones_that_cannot_work_are_a_warning(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(project / "demo" / "clip")
    assert cli.main(["add", "pets", "../photos", "--classes", "cat,dog", "--backbones", "demo"]) == 0
    assert "warning: its backbones cannot work yet: " in capsys.readouterr().out
    assert "pets" in load(project).datasets


def test_a_data_set_of_the_catalog(project: Path, tmp_path: Path) -> None:
    for name in ("train", "val", "test"):
        (tmp_path / "dtd" / "images" / "banded").mkdir(parents=True, exist_ok=True)
        (tmp_path / "dtd" / "labels").mkdir(exist_ok=True)
        (tmp_path / "dtd" / "images" / "banded" / f"{name}.jpg").write_bytes(png(1))
        (tmp_path / "dtd" / "labels" / f"{name}1.txt").write_text(f"banded/{name}.jpg\n")
    found = add(project, "textures", str(tmp_path / "dtd"), catalog="dtd", labels="none", backbones="demo")
    assert found.images == {"train": 1, "val": 1, "test": 1} and len(found.classes) == 47
    definition = load_definition(project, "textures")
    assert (definition.images.reader, definition.images.labels, definition.backbones) == ("catalog", "none", "demo")


def test_readers_are_guessed(tmp_path: Path) -> None:
    write_shard(tmp_path / "shards" / "deep" / "0.tar", {"0.png": png(0)})
    write_parquet(tmp_path / "hub" / "train-00000-of-00001.parquet", image_table(2))
    save_to_disk(tmp_path / "saved", image_table(2))
    (tmp_path / "t.csv").write_text("path\nx.png\n")
    write_photos(tmp_path / "photos", count=1)
    expected = {"shards": "webdataset", "hub": "huggingface", "saved": "huggingface", "t.csv": "table", "photos": "folder"}
    assert {name: guess_reader(tmp_path / name) for name in expected} == expected
    assert guess_reader(tmp_path / "shards" / "deep" / "0.tar") == "webdataset"


def test_a_table_is_watched_with_the_images_beside_it(project: Path, tmp_path: Path) -> None:
    rows = "".join(f"{number:03d}.png,{'cat' if number % 2 else 'dog'}\n" for number in range(6))
    (tmp_path / "photos" / "list.csv").write_text("path,label\n" + rows)
    found = add(project, "pets", "../photos/list.csv", labels="reader", backbones="demo")
    assert found.reader == "table" and found.classes == ["cat", "dog"]
    assert load(project).datasets["pets"].images == str(tmp_path / "photos")


def test_the_last_data_set_stays(project: Path) -> None:
    with pytest.raises(NolaError, match="'digits' is the only data set"):
        remove(project, "digits")
    with pytest.raises(NolaError, match="no data set 'pets'"):
        remove(project, "pets")
