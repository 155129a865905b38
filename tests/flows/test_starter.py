"""`nola init`: a project out of nothing, half a project completed, and nothing ever overwritten."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from flows import cli, starter
from flows.project import is_project
from nola_core.config import load
from nola_core.errors import NolaError
from tests.project import ROOT

REFRESH = "flows/starter is out of date: run `make starter`"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=True).stdout


def dvc(folder: Path, *words: str) -> str:
    done = subprocess.run([sys.executable, "-m", "dvc", *words], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def fresh(tmp_path: Path) -> dict[str, bytes]:
    """What a new project holds beside its git repository."""
    starter.make_project(tmp_path / "fresh")
    return {name: data for name, data in contents(tmp_path / "fresh").items() if not name.startswith(".git/")}


def test_a_new_project_has_the_pipeline_and_the_settings_of_this_checkout() -> None:
    for name in starter.PIPELINE:
        assert starter.content(name) == (ROOT / name).read_bytes(), REFRESH
    ours = re.sub(r"(?m)^datasets: \[.*?\]", "datasets: []", (ROOT / "params.yaml").read_text())
    assert starter.content("params.yaml").decode() == ours, REFRESH
    assert starter.content(".dvc/config") == (ROOT / ".dvc" / "config").read_bytes()


def test_dvc_and_git_accept_it_and_a_second_time_changes_nothing(
    tmp_path: Path, fresh: dict[str, bytes], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "Fotos für mich"
    assert cli.main(["init", str(root)]) == 0
    assert capsys.readouterr().out == f"{root}\n"
    assert set(fresh) == set(starter.FILES) and load(root).datasets == []
    monkeypatch.chdir(root)
    assert cli.main(["init"]) == 0
    said = capsys.readouterr()
    assert said.out == f"{root}\n" and "a project already" in said.err
    assert cli.main(["init", "--json", "--quiet"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == {"project": str(root), "written": [], "kept": [], "repository": str(root)}
    assert said.err == "" and {name: data for name, data in contents(root).items() if not name.startswith(".git/")} == fresh
    dvc(root, "repro")
    assert (root / "data" / "inputs").is_dir()
    status = git(root, "status", "--porcelain", "--untracked-files=all")
    assert {line[3:] for line in status.splitlines()} == {*fresh, "data/dvc.lock"}


def test_changed_settings_stay_and_what_is_missing_comes_back(tmp_path: Path, fresh: dict[str, bytes]) -> None:
    root = tmp_path / "p"
    starter.make_project(root)
    (root / "params.yaml").write_text("datasets: []\nseed: 3\n")
    (root / ".dvc" / "config").write_text("[core]\n    remote = mine\n")
    (root / "README.md").unlink()
    (root / "dvc.yaml").unlink()  # as one does for the pipeline of another version
    done = starter.make_project(root)
    assert (done.written, sorted(done.kept)) == (["README.md", "dvc.yaml"], [".dvc/config", "params.yaml"])
    assert load(root).seed == 3 and (root / "README.md").read_bytes() == fresh["README.md"]
    assert (root / ".dvc" / "config").read_text() == "[core]\n    remote = mine\n"


def test_other_files_do_not_matter_and_those_of_the_same_name_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "README.md").write_text("mine\n")
    (tmp_path / ".gitignore").write_text("*.jpg\n")
    (tmp_path / "notes.txt").write_text("mine\n")
    before = contents(tmp_path)
    assert cli.main(["init", str(tmp_path)]) == 0
    said = capsys.readouterr().err
    assert "kept your README.md as it is\n" in said
    assert "kept your .gitignore as it is; it should list .nola/ and .prefect/\n" in said
    assert is_project(tmp_path) and before.items() <= contents(tmp_path).items()


@pytest.mark.parametrize("name", ["dvc.yaml", "data/dvc.yaml", "params.yaml"])
def test_a_file_in_the_way_is_named_and_nothing_is_written(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("theirs: 1\n")
    before = contents(tmp_path)
    assert cli.main(["init", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / name} is in the way: ")
    assert contents(tmp_path) == before


def test_an_interruption_at_any_file_is_completed_by_another_call(
    tmp_path: Path, fresh: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link
    for number in range(len(starter.FILES)):
        root, made = tmp_path / str(number), []

        def interrupted(source: Path, target: Path, *, made: list[Path] = made, number: int = number) -> None:
            if len(made) == number:
                raise KeyboardInterrupt
            link(source, target)
            made.append(target)

        monkeypatch.setattr(os, "link", interrupted)
        with pytest.raises(KeyboardInterrupt):
            starter.make_project(root)
        assert not is_project(root)
        monkeypatch.setattr(os, "link", link)
        starter.make_project(root)
        assert {name: data for name, data in contents(root).items() if not name.startswith(".git/")} == fresh


def test_a_file_system_without_links(tmp_path: Path, fresh: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refused)
    starter.make_project(tmp_path / "p")
    assert fresh.items() <= contents(tmp_path / "p").items()


def test_inside_a_git_repository_it_is_a_part_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    git(tmp_path, "init", "--quiet")
    (tmp_path / ".gitignore").write_text("*.jpg\n")
    before = contents(tmp_path)
    assert cli.main(["init", str(tmp_path / "a b" / "pets")]) == 0
    assert f"part of the git repository {tmp_path}\n" in capsys.readouterr().err
    assert {name: data for name, data in contents(tmp_path).items() if not name.startswith("a b/")} == before
    assert not (tmp_path / "a b" / "pets" / ".git").exists()
    dvc(tmp_path / "a b" / "pets", "repro")


def test_inside_a_git_repository_that_ignores_it_it_has_its_own(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    (tmp_path / ".gitignore").write_text("data/\n")
    root = tmp_path / "pets"
    assert starter.make_project(root).repository == root
    dvc(root, "repro")  # DVC refuses a dvc.yaml that git ignores
    assert git(tmp_path, "status", "--porcelain").splitlines() == ["?? .gitignore", "?? pets/"]


def test_inside_another_project_is_no_place(tmp_path: Path) -> None:
    starter.make_project(tmp_path)
    with pytest.raises(NolaError, match=f"lies inside the NoLA project {tmp_path}; make the new project elsewhere"):
        starter.make_project(tmp_path / "data" / "pets")
    assert not (tmp_path / "data" / "pets").exists()


def test_without_git_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NolaError, match="git is not installed"):
        starter.make_project(tmp_path / "p")
    assert not (tmp_path / "p").exists()


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").write_text("a file where a folder should be")
    assert cli.main(["init", str(tmp_path)]) == 1
    assert (
        capsys.readouterr().err
        == f"error: {tmp_path / 'data'}: File exists; move away what stands in its way, then run this again.\n"
    )
    if os.geteuid() == 0:  # may write everywhere
        return
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    assert cli.main(["init", str(locked)]) == 1
    assert capsys.readouterr().err.startswith(f"error: {locked / 'data'}: Permission denied; ")
