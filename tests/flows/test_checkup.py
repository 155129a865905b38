"""Each check says ok, warn or fail for a machine or project that is made so."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from flows import checkup
from flows.checkup import GIB, Finding
from flows.environment import server_file
from nola_core.config import parse
from tests.project import ROOT, change, write_definition

KEYS = ("NOLA_LLM_KEY", "OPENAI_API_KEY", "HF_TOKEN", "PREFECT_API_KEY", "NOLA_LLM_BASE_URL", "OPENAI_BASE_URL")
SMI = """#!/bin/sh
echo "NVIDIA H200, 143771 MiB"
echo "NVIDIA T4,  15360 MiB"
"""


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment in which nothing is set."""
    for name in (*KEYS, *checkup.TRACKING, "NOLA_DEVICE", "NOLA_WORKERS", "NOLA_CACHE", "PREFECT_API_URL", "PREFECT_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A sound project of the demo's digits, in a git and DVC repository."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    (tmp_path / "data").mkdir()
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    (tmp_path / "data" / "digits.yaml").write_text((ROOT / "data" / "digits.yaml").read_text())
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    for folder in (".git", ".dvc"):
        (tmp_path / folder).mkdir()
    return tmp_path


def level(finding: Finding) -> str:
    assert bool(finding.fix) == (finding.level != "ok"), f"a fix where something is wrong, and nowhere else: {finding}"
    return finding.level


def test_a_sound_project_has_one_line_a_thing(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = SimpleNamespace(available=8 * GIB, total=16 * GIB)
    monkeypatch.setattr("psutil.virtual_memory", lambda: memory)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=50 * GIB))
    monkeypatch.setenv("PATH", f"{project}:/usr/bin:/bin")
    found = list(checkup.quick(project))
    assert [level(one) for one in found] == ["ok"] * len(found)
    names = "machine memory gpu versions images project cache disk server telemetry repository settings keys data"
    assert [one.name for one in found] == names.split()
    assert found[-1].found == "digits: images are there"
    assert list(project.glob(".nola")) == [], "a check leaves nothing behind"


def test_outside_a_project(tmp_path: Path) -> None:
    found = {one.name: one for one in checkup.quick(tmp_path)}
    assert level(found["project"]) == "warn" and "nola init" in found["project"].fix
    assert "settings" not in found and "repository" not in found and "keys" in found


@pytest.mark.parametrize(
    ("device", "listed", "wanted", "says"),
    [
        ("auto", False, "ok", "none; stages compute on the CPU"),
        ("auto", True, "ok", "NVIDIA H200, 143771 MiB, NVIDIA T4, 15360 MiB"),
        ("cpu", True, "ok", "not used"),
        ("cuda:1", True, "ok", "T4"),
        ("cuda:2", True, "fail", "NOLA_DEVICE=cuda:2"),
        ("cuda", False, "fail", "none, but NOLA_DEVICE=cuda"),
        ("gpu", True, "fail", "NOLA_DEVICE=gpu is not a device"),
    ],
)
def test_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, listed: bool, wanted: str, says: str) -> None:
    if listed:
        (tmp_path / "nvidia-smi").write_text(SMI)
        (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin" if listed else str(tmp_path))
    monkeypatch.setenv("NOLA_DEVICE", device)
    finding = checkup.gpu()
    assert level(finding) == wanted and says in finding.found


def test_a_torch_for_cpus_beside_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "gpu_models", lambda: ["NVIDIA T4, 15360 MiB"])
    monkeypatch.setattr(checkup, "_version", lambda _: "2.9.0+cpu")
    assert level(checkup.gpu()) == "warn"


def test_machine_memory_and_disk_by_their_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert level(checkup.machine()) == "ok"
    monkeypatch.setenv("NOLA_WORKERS", "none")
    assert level(checkup.machine()) == "fail"
    for free, wanted in ((checkup.MEMORY + 1, "ok"), (checkup.MEMORY - 1, "warn")):
        memory = SimpleNamespace(available=free * GIB, total=64 * GIB)
        monkeypatch.setattr("psutil.virtual_memory", lambda memory=memory: memory)
        assert level(checkup.memory()) == wanted
    for free, wanted in ((50, "ok"), (1, "warn"), (0.1, "fail")):
        monkeypatch.setattr("shutil.disk_usage", lambda _, free=free: SimpleNamespace(free=free * GIB))
        assert level(checkup.disk(tmp_path / "gone")) == wanted


def test_versions_against_what_nola_requires(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["torch>=2.6", "fastapi<0.1", "no-such-package>=3", "pytest>=99; extra == 'dev'", "dvc>=99; python_version < '3'"]
    monkeypatch.setattr(checkup.metadata, "requires", lambda _: lines)
    first, *others = checkup.versions()
    assert level(first) == "ok" and "torch 2." in first.found and "faiss missing" not in first.found
    assert [(level(one), one.fix) for one in others] == [
        ("warn", "pip install 'fastapi<0.1'"),
        ("fail", "pip install 'no-such-package>=3'"),
    ]


def test_a_codec_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert level(checkup.images()) == "ok"
    monkeypatch.setattr("PIL.features.check", lambda codec: codec != "webp")
    finding = checkup.images()
    assert level(finding) == "warn" and "cannot decode WebP;" in finding.found


def test_a_cache_that_cannot_be_written(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "file").touch()
    monkeypatch.setenv("NOLA_CACHE", "file/cache")
    found = {one.name: one for one in checkup.quick(project)}
    assert level(found["cache"]) == "fail" and level(found["project"]) == "ok"


def test_the_server_that_a_run_will_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert checkup.server(tmp_path).found.startswith("none; a run starts one")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        monkeypatch.setenv("PREFECT_API_URL", f"http://me:secret@127.0.0.1:{port}/api")  # nobody listens there
        finding = checkup.server(tmp_path)
    assert level(finding) == "fail" and f"http://127.0.0.1:{port} " in finding.found and "secret" not in str(finding)
    monkeypatch.setenv("PREFECT_API_URL", "nowhere")
    assert level(checkup.server(tmp_path)) == "fail"


class Health(BaseHTTPRequestHandler):
    """Answers as a Prefect server under /api does, and refuses under any other path."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/api/health" else 401)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_a_server_that_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with HTTPServer(("127.0.0.1", 0), Health) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        server_file(tmp_path / ".prefect").parent.mkdir()
        server_file(tmp_path / ".prefect").write_text(f"{url}/api")
        assert checkup.server(tmp_path) == Finding("server", "ok", f"{url} answers")
        monkeypatch.setenv("PREFECT_API_URL", f"{url}/api/")
        assert checkup.server(tmp_path) == Finding("server", "ok", f"{url} answers (PREFECT_API_URL)")
        monkeypatch.setenv("PREFECT_API_URL", f"{url}/cloud")
        assert level(checkup.server(tmp_path)) == "warn"
        server.shutdown()


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("DO_NOT_TRACK", "0", "warn"),
        ("DO_NOT_TRACK", "true", "ok"),
        ("PREFECT_SERVER_ANALYTICS_ENABLED", "true", "warn"),
        ("PREFECT_SERVER_ANALYTICS_ENABLED", "0", "ok"),
    ],
)
def test_telemetry(monkeypatch: pytest.MonkeyPatch, name: str, value: str, wanted: str) -> None:
    assert level(checkup.telemetry()) == "ok"
    monkeypatch.setenv(name, value)
    assert level(checkup.telemetry()) == wanted


def test_a_repository_that_is_missing(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert level(checkup.repository(project)) == "ok"
    (project / ".git").rmdir()
    monkeypatch.setattr(checkup.Path, "parents", property(lambda path: ()))  # whatever lies above this test's folder
    assert level(checkup.repository(project)) == "fail"
    (project / ".dvc" / "config").write_text("[core]\n    no_scm = True\n")
    assert checkup.repository(project).found.startswith("DVC without git")
    (project / ".dvc" / "config").unlink()
    (project / ".dvc").rmdir()
    assert checkup.repository(project).fix == "nola init"


def test_keys_are_named_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    asks = parse({"datasets": [], "describe": {"provider": "llm"}})
    assert level(checkup.keys(None)) == "ok"
    finding = checkup.keys(asks)
    assert level(finding) == "warn" and "OPENAI_API_KEY" in finding.fix
    monkeypatch.setenv("OPENAI_API_KEY", "sk-abcdefgh")
    finding = checkup.keys(asks)
    assert (level(finding), finding.found) == ("ok", "set: OPENAI_API_KEY; descriptions come from api.openai.com")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-größe12")
    assert level(checkup.keys(asks)) == "fail" and "größe" not in str(checkup.keys(asks))
    assert level(checkup.keys(parse({"datasets": []}))) == "ok", "nobody will be asked"


def test_settings_and_data_sets_that_are_wrong(project: Path) -> None:
    params = yaml.safe_load((project / "params.yaml").read_text())
    (project / "params.yaml").write_text(yaml.safe_dump(params | {"datasets": ["digits", "pets", "birds"]}))
    write_definition(project, "pets", source="../gone")
    found = [one for one in checkup.quick(project) if one.name == "data"]
    assert [level(one) for one in found] == ["fail", "fail", "ok"]
    assert "gone does not exist" in found[0].found and "birds" in found[1].found and found[2].found.startswith("digits:")
    (project / "params.yaml").write_text("datasets: [digits]\nsede: 3\n")
    last = [one for one in checkup.quick(project) if one.name in ("settings", "data")]
    assert [level(one) for one in last] == ["fail"] and "sede" in last[0].found


def test_weights_here_or_out_of_reach(project: Path) -> None:
    (finding,) = checkup.weights(project)
    assert level(finding) == "ok" and finding.found.startswith("demo: on this machine, ")
    write_definition(project, "pets")
    change(project / "data" / "pets.yaml", "backbones", value="papr")
    params = yaml.safe_load((project / "params.yaml").read_text())
    (project / "params.yaml").write_text(yaml.safe_dump(params | {"datasets": ["digits", "pets"]}))
    _, finding = checkup.weights(project)
    assert level(finding) == "fail" and "did you mean 'paper'?" in finding.found


def test_the_quick_part_loads_nothing_heavy(project: Path) -> None:
    code = f"""
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from flows import checkup
list(checkup.quick(Path({str(project)!r})))
print(sorted({{"torch", "prefect", "pandas", "dvc", "open_clip", "timm"}} & set(sys.modules)))
"""
    path = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
    environment = {**os.environ, "PYTHONPATH": path}
    assert subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True).stdout == "[]\n"
