from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from flows.cleaning import clean
from flows.cli import main
from flows.locking import run_lock
from nola_core.errors import NolaError
from tests.flows.conftest import write_repo


def files(root: Path) -> set[str]:
    kept = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file() and ".git/" not in str(path)}
    return {path for path in kept if not path.startswith(".dvc/")}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """`digits` has run, and so has `gone`, which was then removed from params.yaml."""
    root = write_repo(repository, tmp_path_factory.mktemp("original") / "project", digits="", gone="")
    subprocess.run([sys.executable, "-m", "dvc", "repro", "-q", "prepare@digits", "embed@gone-clip"], cwd=root, check=True)
    parameters = yaml.safe_load((root / "params.yaml").read_text())
    parameters["datasets"].remove("gone")
    (root / "params.yaml").write_text(yaml.safe_dump(parameters))
    return root


@pytest.fixture
def project(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it; one stands in it."""
    root = shutil.copytree(original, tmp_path / "project")
    monkeypatch.chdir(root)
    return root


def write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")


def test_what_was_made_goes_and_all_else_stays(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ours = ["data/digits/classes.parquet", "data/gone/classes.parquet", "data/gone/clip.txt"]
    theirs = [
        "data/digits/responses/a.parquet",
        "data/digits/audit/answers.jsonl",
        "data/gone/notes.txt",
        "data/photos/cat/1.jpg",
        "data/digits.yaml",
    ]
    theirs += [".nolarc", "build/lib.py", ".pytest_cache/a", "pets.egg-info/PKG-INFO"]
    for name in (*theirs, ".nola/rows/a"):
        write(project / name)
    (project / "data" / "elsewhere").symlink_to(project / "src", target_is_directory=True)
    before = files(project)
    assert before.issuperset(ours)
    assert main(["clean"]) == 0
    gone = {name for name in before - files(project) if not name.endswith(".gitignore")}
    assert gone == {*ours, ".nola/rows/a", ".nola/run.lock"} & before
    assert set(theirs) <= files(project) and (project / "data" / "elsewhere" / "digits.txt").is_file()
    assert capsys.readouterr().err.splitlines() == [
        "data/digits/responses/ was kept: it contains answers that were paid for",
        "data/digits/audit/ was kept: it contains what people answered",
        "data/elsewhere/ was kept: it is a link to another folder",
        "data/gone/ was kept: it contains 1 file that no stage has written (notes.txt)",
        "data/photos/ was kept: it contains 1 file that no stage has written (cat/1.jpg)",
    ]


def test_answers_stay_even_as_an_output(project: Path) -> None:
    pipeline = yaml.safe_load((project / "dvc.yaml").read_text())
    pipeline["stages"]["select"]["outs"].append({"data/${item.dataset}/responses": {"persist": True}})
    (project / "dvc.yaml").write_text(yaml.safe_dump(pipeline))
    write(project / "data/digits/responses/a.parquet")
    write(project / "data/digits/label_free.json")
    list(clean(project))
    assert not (project / "data/digits/label_free.json").exists()
    assert (project / "data/digits/responses/a.parquet").is_file()


def test_a_pipeline_that_cannot_be_read_leaves_what_dvc_lock_says(project: Path) -> None:
    (project / "dvc.yaml").write_text("stages: {a: {matrix: 3}}\n")
    list(clean(project))
    assert not any((project / "data").iterdir())


def test_nothing_outside_the_data_folder_is_taken_for_an_output(project: Path) -> None:
    outs = [{"path": path} for path in ("src", "data", "data/../src/digits.txt", "/etc/hostname", "../other")]
    (project / "dvc.lock").write_text(yaml.safe_dump({"stages": {"a": {"outs": outs}}}))
    list(clean(project))
    assert (project / "src" / "digits.txt").is_file()
    (project / "dvc.lock").write_text("stages: 3\n")
    with pytest.raises(NolaError, match=r"dvc\.lock cannot be read"):
        list(clean(project))


def test_nothing_is_cleaned_under_a_run(project: Path) -> None:
    with run_lock(project, pytest.fail), pytest.raises(NolaError, match=r"is running in .*; wait until it ends or stop it"):
        list(clean(project))
    assert (project / "data/digits/classes.parquet").is_file()
