"""The project is the nearest folder with both files, and its data sets are known without reading anything else."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.commands.project import check_datasets, complete_dataset, find_project
from flows.project import dataset_names
from nola_core.errors import NolaError


def test_a_folder_with_one_of_the_files_is_no_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data" / "pets").mkdir(parents=True)
    (tmp_path / "params.yaml").write_text("datasets: [pets, birds]\n")
    (tmp_path / "data" / "dvc.yaml").touch()
    monkeypatch.chdir(tmp_path / "data" / "pets")
    assert complete_dataset("p") == []
    with pytest.raises(NolaError, match="pets is not inside a NoLA project"):
        find_project()
    (tmp_path / "dvc.yaml").touch()
    assert find_project() == Path("../..")
    assert complete_dataset("p") == ["pets"] and complete_dataset("") == ["pets", "birds"]
    monkeypatch.chdir(tmp_path)
    assert find_project() == Path()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("datasets: []\n", "names no data sets: add one with `nola add`"),
        ("- a\n", "names no data sets"),
        ("a: [1, 2", "cannot be read"),
    ],
)
def test_params_without_data_sets(tmp_path: Path, content: str, sentence: str) -> None:
    (tmp_path / "params.yaml").write_text(content)
    with pytest.raises(NolaError, match=sentence):
        dataset_names(tmp_path)


def test_a_wrong_name_says_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("datasets: [pets, birds]\n")
    check_datasets(tmp_path, ["birds", "pets"])
    with pytest.raises(NolaError, match=r"there is no data set 'bird'; there are: pets, birds\."):
        check_datasets(tmp_path, ["pets", "bird"])
