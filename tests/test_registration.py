"""`nola add`: what it finds and writes, and that it writes nothing if anything is wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from flows import cli
from nola_core.config import load
from nola_core.datasets.definition import load_definition
from nola_core.datasets.readers import open_reader
from nola_core.errors import NolaError
from nola_core.registration import add, guess_reader, remove
from tests.datasets.sources import image_table, png, save_to_disk, write_parquet, write_shard
from tests.project import ROOT
from tests.tiny import write_photos


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project's own params.yaml, and six photos beside it."""
    root = tmp_path / "project"
    (root / "data").mkdir(parents=True)
    shutil.copy(ROOT / "params.yaml", root)
    shutil.copy(ROOT / "dvc.yaml", root)
    shutil.copy(ROOT / "data" / "digits.yaml", root / "data")
    write_photos(tmp_path / "photos", count=6)
    monkeypatch.chdir(root)
    return root


def test_three_words_define_a_collection(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (project / "params.yaml").read_text()
    assert cli.main(["add", "pets", "../photos", "--classes", "cat, dog,guinea pig", "--backbones", "demo"]) == 0
    said = capsys.readouterr().err
    assert "images (reader folder), 3 classes: cat, dog, guinea pig" in said and "next: nola run --dataset pets" in said
    definition = load_definition(project, "pets")
    assert definition.classes == ["cat", "dog", "guinea pig"] and definition.images.labels == "none"
    assert len(list(open_reader(definition).scan())) == 6
    after = (project / "params.yaml").read_text()
    assert definition.source == str(project.parent / "photos") and definition.descriptions is None
    assert after == before.replace("datasets: [digits]", "datasets: [digits, pets]") != before
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


def test_what_lies_in_the_project_is_named_from_there(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = write_photos(project / "photos", count=3)
    (photos / "said.csv").write_text("class,prompt,text,provider,model\n")
    monkeypatch.chdir(photos)
    add(project, "pets", ".", classes="cat,dog", descriptions="said.csv", backbones="demo")
    text = (project / "data" / "pets.yaml").read_text()
    assert "source: photos " in text and "descriptions: photos/said.csv " in text
    definition = load_definition(project, "pets")
    assert (definition.source, definition.descriptions) == (str(photos), str(photos / "said.csv"))


def test_nothing_is_overwritten_unless_forced(project: Path) -> None:
    (project / "data" / "pets.yaml").write_text("mine\n")
    with pytest.raises(NolaError, match="a data set 'pets' already exists"):
        add(project, "pets", "../photos", classes="cat,dog", backbones="demo")
    for names in ("cat,dog", "cow,hen"):
        add(project, "pets", "../photos", classes=names, backbones="demo", force=True)
    assert load_definition(project, "pets").classes == ["cow", "hen"]
    assert load(project).datasets == ["digits", "pets"]


@pytest.mark.parametrize(
    ("name", "source", "options", "sentence"),
    [
        ("pets", "../gone", {"classes": "a,b"}, r"gone does not exist"),
        ("[", "../photos", {"classes": "a,b"}, r"'\[' may hold only a-z"),
        ("../pets", "../photos", {"classes": "a,b"}, r"'../pets' may hold only a-z"),
        ("Pets", "../photos", {"classes": "a,b"}, r"'Pets' may hold only a-z"),
        ("pets", "../photos", {}, r"contains no class names; list them under `classes`, or for `nola add` with --classes"),
        ("pets", "../photos", {"classes": "names.txt"}, r"--classes names.txt cannot be read"),
        ("pets", "../photos", {"classes": "a,A"}, r"duplicate class names"),
        ("pets", "../photos", {"classes": "a,b", "templates": ["none"]}, r"must contain \{\} exactly once"),
        ("pets", "../photos", {"classes": "a,b", "templates": ["a {{}}"]}, r"template 'a \{\{\}\}' must contain"),
        ("pets", "../photos", {"classes": "a,b", "reader": "foldr"}, r"images.reader = 'foldr'"),
        ("pets", "../photos", {"classes": "a,b", "backbones": "papr"}, r"did you mean 'paper'"),
        ("pets", "../photos", {"classes": "a,b", "descriptions": "gone.csv"}, r"the descriptions file gone.csv does not exist"),
        ("pets", "data", {"classes": "a,b"}, r"overlaps with the images"),
        ("pets", ".", {"classes": "a,b"}, r"overlaps with the images"),
        ("pets", "..", {"classes": "a,b"}, r"overlaps with the images"),
        ("pets", "../photos", {"classes": "a,b", "catalog": "dtd"}, r"--catalog provides reader"),
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


def test_the_results_of_no_data_set_are_a_source(project: Path) -> None:
    for name in ("digits", "other"):
        write_photos(project / "data" / name / "photos", count=3)
        with pytest.raises(NolaError, match="overlaps with the images"):
            add(project, "pets", f"data/{name}/photos", classes="a,b", backbones="demo")
    write_parquet(project / "data" / "t.parquet", image_table(3))
    with pytest.raises(NolaError, match="overlaps with the images"):
        add(project, "pets", "data/t.parquet", classes="a,b", backbones="demo")
    (project / "link").symlink_to(project / "data")
    with pytest.raises(NolaError, match="overlaps with the images"):
        add(project, "pets", "link/other/photos", classes="a,b", backbones="demo")


def test_a_table_of_images_elsewhere_needs_a_word(project: Path, tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "list.csv").write_text(f"path\n../photos/000.png\n{tmp_path}/photos/001.png\n")
    with pytest.raises(
        NolaError, match=r"list.csv: row 1 refers to the image '../photos/000.png' outside .*lists; move the image there"
    ):
        add(project, "pets", "../lists/list.csv", classes="cat,dog", backbones="demo")
    assert cli.main(["add", "pets", "../lists/list.csv", "--classes", "cat,dog", "--backbones", "demo", "--outside"]) == 0
    assert load_definition(project, "pets").images.outside is True


def test_nothing_heavy_is_loaded_to_add_a_folder(project: Path) -> None:
    for number in range(1100):
        (project.parent / "photos" / f"{number}.jpg").write_bytes(b"not looked into")
    code = (
        "import sys; from flows import cli; "
        "cli.main(['add', 'pets', '../photos', '--classes', 'cat,dog', '--backbones', 'paper']); "
        "print(sorted({'torch', 'torchvision', 'open_clip', 'timm', 'pandas', 'sklearn', 'prefect', 'dvc'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert len(list(open_reader(load_definition(project, "pets")).scan())) == 1106


def test_backbones_that_are_not_installed_are_a_warning(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nola_core.registration.WHEELS", ("a-wheel-nobody-has",))
    assert cli.main(["add", "pets", "../photos", "--classes", "cat,dog", "--backbones", "offline"]) == 0
    said = capsys.readouterr().err
    assert "warning: its backbones cannot work yet: a-wheel-nobody-has must be installed first: pip install" in said
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
    assert load_definition(project, "pets").source == str(tmp_path / "photos")
    paths = pa.table({"path": [f"{number:03d}.png" for number in range(6)]})
    write_parquet(tmp_path / "photos" / "paths.parquet", paths)
    add(project, "more", "../photos/paths.parquet", classes="cat,dog", backbones="demo")
    definition = load_definition(project, "more")
    assert (definition.source, definition.images.table) == (str(tmp_path / "photos"), "paths.parquet")
    write_parquet(tmp_path / "bytes.parquet", image_table(6))
    add(project, "held", "../bytes.parquet", classes="cat,dog", backbones="demo")
    assert load_definition(project, "held").source == str(tmp_path / "bytes.parquet")


def test_all_data_sets_can_be_removed_and_another_one_added(project: Path) -> None:
    remove(project, "digits")
    assert load(project).datasets == []
    with pytest.raises(NolaError, match=r"no data set 'pets' \(it has: none\)"):
        remove(project, "pets")
    add(project, "pets", "../photos", classes="cat,dog", backbones="demo")
    assert load(project).datasets == ["pets"]
