from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from flows import cli, environment

HEAVY = ("torch", "pandas", "prefect", "dvc", "matplotlib")
DRIVER = f"""
import json, os, sys
from flows.cli import main
status = [main(words) for words in json.loads(sys.argv[1])]
loaded = [name for name in {HEAVY} if name in sys.modules]
print(json.dumps([status, loaded, "PREFECT_HOME" in os.environ]), file=sys.stderr)
"""


SAY = "import sys, flows.cli as c; c.app.command('say')(lambda: print(sys.argv[1] * int(sys.argv[2]))); sys.exit(c.main(['say']))"
CALL = "import sys, flows.cli; sys.exit(flows.cli.main(sys.argv[1:]))"


def run(code: str, *words: str, cwd: Path, stdout: int = subprocess.PIPE, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in another folder, without these tests' Prefect settings."""
    mine = {name: value for name, value in os.environ.items() if name != "PREFECT_HOME"}
    path = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
    command = [sys.executable, "-c", code, *words]
    both = {**mine, "PYTHONPATH": path, "COLUMNS": "100", **environ}
    return subprocess.run(command, env=both, cwd=cwd, stdout=stdout, stderr=subprocess.PIPE, text=True)


def pages(command: Any, *words: str) -> Iterator[list[str]]:
    """The words of every help page, except those of commands from the core."""
    yield [*words, "--help"]
    for name, inner in getattr(command, "commands", {}).items():
        if words != ("describe",):
            yield from pages(inner, *words, name)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a data set that has not been run."""
    (tmp_path / "params.yaml").write_text("datasets: [pets]\n")
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    return tmp_path


def test_help_lists_and_wrong_words_load_nothing_heavy_and_ask_no_server(project: Path) -> None:
    helps = list(pages(typer.main.get_command(cli.app)))
    assert ["inspect", "contact-sheet", "--help"] in helps and ["describe", "--help"] in helps
    fine = [
        [],
        ["--version"],
        ["inspect"],
        ["describe"],
        ["catalog"],
        ["catalog", "--json"],
        ["backbones", "--json"],
        ["completion", "bash"],
        ["config"],
        *helps,
    ]
    usage = [["runn"], ["run", "--max-workers", "0"], ["inspect", "similar"], ["add", "pets"], ["inspect", "features", "--rows"]]
    wrong = [
        ["run", "--dataset", "pts"],
        ["run", "--dataset", "pets", "--dataset", "pts"],
        ["publish", "--dataset", "pts"],
        ["status", "pts"],
        ["inspect", "features", "pets"],
        ["catalog", "check", "dtt", "."],
        ["backbones", "papr"],
    ]
    done = run(DRIVER, json.dumps(fine + usage + wrong), cwd=project)
    status, loaded, configured = json.loads(done.stderr.splitlines()[-1])
    assert status == [0] * len(fine) + [2] * len(usage) + [1] * len(wrong)
    assert loaded == [] and not configured
    assert done.stdout.count("Example: nola ") >= len(helps)


def test_every_command_but_a_few_says_at_once_that_there_is_no_project(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").touch()
    need = [
        ["run"],
        ["publish"],
        ["server"],
        ["add", "a", "."],
        ["remove", "a"],
        ["config"],
        ["inspect", "features", "a"],
        ["clean"],
        ["status"],
    ]
    done = run(DRIVER, json.dumps(need), cwd=tmp_path)
    *errors, last = done.stderr.splitlines()
    status, loaded, configured = json.loads(last)
    assert status == [1] * len(need) and loaded == [] and not configured
    assert len(errors) == len(need) and len(set(errors)) == 1
    assert errors[0].startswith(f"error: {tmp_path} is not inside a NoLA project: ")


def test_what_imports_prefect_has_set_it_up_before(project: Path) -> None:
    (project / "below").mkdir()
    code = "import flows.{}, prefect.settings as s; print(s.PREFECT_HOME.value(), s.PREFECT_SERVER_ANALYTICS_ENABLED.value())"
    for module in ("pipeline", "publish"):
        done = run(code.format(module), cwd=project / "below")
        assert done.stdout == f"{project / '.prefect'} False\n"


@pytest.mark.parametrize("lines", [1, 10_000], ids=["at the end", "while it writes"])
def test_a_reader_that_leaves_is_no_traceback(tmp_path: Path, lines: int) -> None:
    read, write = os.pipe()
    os.close(read)
    done = run(SAY, "a reader has gone\n", str(lines), cwd=tmp_path, stdout=write)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


def test_letters_that_the_terminal_does_not_know(tmp_path: Path) -> None:
    done = run(SAY, "größe", "1", cwd=tmp_path, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert (done.returncode, done.stdout, done.stderr) == (0, "gr\\xf6\\xdfe\n", "")


def test_what_the_system_refuses_is_one_sentence(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long = "a" * 300
    assert cli.main(["catalog", "prepare", "imagenet", str(project / long)]) == 1
    assert capsys.readouterr().err == f"error: {project / long}: File name too long; use a shorter name, then run this again.\n"


def test_an_interruption_is_quiet(tmp_path: Path) -> None:
    code = """
import os, signal, sys, flows.cli, nola_core.datasets.catalog as catalog
catalog.names = lambda: os.kill(os.getpid(), signal.SIGINT)
sys.exit(flows.cli.main(["catalog"]))
"""
    done = run(code, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_words_that_are_wrong_name_the_page_of_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["inspect", "similar", "digits", "3", "--count", "0"]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("error: Invalid value for '--count': ") and second == "help: nola inspect similar --help"


@pytest.mark.parametrize(
    ("typed", "position", "wanted"),
    [("nola inspect features p", 3, "pets"), ("nola run --dataset ", 3, "pets"), ("nola ins", 1, "inspect")],
)
def test_the_shell_completes_names(project: Path, typed: str, position: int, wanted: str) -> None:
    done = run(CALL, cwd=project, _NOLA_COMPLETE="complete_bash", COMP_WORDS=typed, COMP_CWORD=str(position))
    assert done.stdout.split() == [wanted], done.stderr


def test_describe_passes_its_words_on(capsys: pytest.CaptureFixture[str], project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    assert cli.main(["describe", "prompts"]) == 0
    assert capsys.readouterr().out.startswith("actions/")


def test_defaults_leave_what_the_user_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "params.yaml").write_text("datasets: []\n")
    for folder in (tmp_path, tmp_path / "data"):  # which has a dvc.yaml, and is no project for that
        folder.mkdir(exist_ok=True)
        (folder / "dvc.yaml").write_text("stages: {}\n")
    monkeypatch.chdir(tmp_path / "data")
    monkeypatch.setenv("PREFECT_API_URL", "")
    monkeypatch.delenv("PREFECT_HOME")
    monkeypatch.setenv("DO_NOT_TRACK", "0")
    environment.configure()
    assert os.environ["PREFECT_HOME"] == str(tmp_path / ".prefect")
    assert os.environ["DO_NOT_TRACK"] == "0"
    assert os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert "PREFECT_API_URL" not in os.environ


def test_a_server_of_the_project_is_found_wherever_its_home_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    monkeypatch.setattr(environment, "running_server", lambda home: f"http://there/{home.name}/api")
    environment.configure()
    assert os.environ["PREFECT_API_URL"] == f"http://there/{tmp_path.name}/api"
    monkeypatch.setenv("PREFECT_API_URL", "http://mine/api")
    environment.configure()
    assert os.environ["PREFECT_API_URL"] == "http://mine/api"


def test_a_server_noted_but_gone_is_not_used(tmp_path: Path) -> None:
    assert environment.running_server(tmp_path) is None
    environment.server_file(tmp_path).write_text("http://127.0.0.1:9/api\n")
    assert environment.running_server(tmp_path) is None


def test_the_server_noted_is_used_while_it_answers(tmp_path: Path, prefect_server: str) -> None:
    environment.server_file(tmp_path).write_text(f"{prefect_server}\n")
    assert environment.running_server(tmp_path) == prefect_server


@pytest.mark.parametrize(("device", "visible", "used"), [("cpu", "0", False), ("cuda:1", "", True), ("auto", "", False)])
def test_device(monkeypatch: pytest.MonkeyPatch, device: str, visible: str, used: bool) -> None:
    monkeypatch.setenv("NOLA_DEVICE", device)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert environment.gpu_in_use() is used
