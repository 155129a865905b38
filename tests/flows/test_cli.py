from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from flows import cli, environment
from nola_core.errors import NolaError


def test_help_is_instant() -> None:
    code = "import sys, flows.cli; print([m for m in ('prefect', 'dvc', 'torch', 'pandas') if m in sys.modules])"
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    loaded = subprocess.run([sys.executable, "-c", code], env=environ, check=True, capture_output=True, text=True)
    assert loaded.stdout.strip() == "[]"


def test_inspect_gets_its_own_arguments(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[list[str]] = []
    monkeypatch.setitem(sys.modules, "nola_core.inspect", SimpleNamespace(main=lambda argv: seen.append(argv)))
    assert cli.main(["inspect", "features", "--dataset", "digits", "--help"]) == 0
    assert seen == [["features", "--dataset", "digits", "--help"]]

    def fail(argv: list[str]) -> None:
        raise NolaError("digits has no features yet; run `embed`.")

    monkeypatch.setitem(sys.modules, "nola_core.inspect", SimpleNamespace(main=fail))
    assert cli.main(["inspect"]) == 1
    assert capsys.readouterr().err == "error: digits has no features yet; run `embed`.\n"


def test_catalog_is_the_command_of_the_core(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["catalog", "check", "dtd", str(tmp_path)]) == 1
    assert "is not Describable Textures as it is distributed" in capsys.readouterr().err


def test_defaults_leave_what_the_user_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
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
