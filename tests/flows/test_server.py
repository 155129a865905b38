from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from flows.environment import running_server, server_file
from flows.server import serve
from nola_core.errors import NolaError

SLOW = """
import os, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

class Health(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

assert os.environ["PREFECT_CLI_PROMPT"] == "false", "nobody could answer a question"
print("starting", flush=True)
while not Path("go").exists():
    time.sleep(0.05)
if "broken" in Path("go").read_text():
    sys.exit(3)
HTTPServer(("127.0.0.1", int(sys.argv[-1])), Health).serve_forever()
"""
SERVE = """
import sys
from flows import server
from flows.arguments import guarded
server.SERVER = ["slow_server"]
sys.exit(guarded(lambda: server.serve(int(sys.argv[1]))))
"""


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[[int], subprocess.Popen[bytes]]]:
    """Starts `nola server` with a server that binds its port once the file `go` exists."""
    (tmp_path / "slow_server.py").write_text(SLOW)
    path = os.pathsep.join([str(tmp_path), *sys.path])
    processes: list[subprocess.Popen[bytes]] = []

    def start(port: int) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PYTHONPATH": path, "PREFECT_HOME": str(tmp_path / "home")}
        command = [sys.executable, "-c", SERVE, str(port)]
        processes.append(subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
        output = processes[-1].stdout
        assert output is not None and output.readline() == b"starting\n"
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def child_of(process: subprocess.Popen[bytes]) -> psutil.Process:
    (child,) = psutil.Process(process.pid).children()
    return child


def is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_server_is_noted_while_it_answers(
    tmp_path: Path, started: Callable[[int], subprocess.Popen[bytes]], number: signal.Signals
) -> None:
    home = tmp_path / "home"
    port = free_port()
    process = started(port)
    time.sleep(0.5)
    assert not server_file(home).exists()
    (tmp_path / "go").touch()
    until(server_file(home).exists)
    assert running_server(home) == f"http://127.0.0.1:{port}/api"
    child = child_of(process)
    process.send_signal(number)
    assert process.wait(30) == 130
    assert not server_file(home).exists() and is_gone(child)


def test_a_server_that_does_not_start_is_not_noted(tmp_path: Path, started: Callable[[int], subprocess.Popen[bytes]]) -> None:
    process = started(free_port())
    (tmp_path / "go").write_text("broken")
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1 and not server_file(tmp_path / "home").exists()
    assert errors.decode() == "error: the Prefect server ended with exit status 3; the lines above say why.\n"


def test_a_server_ends_with_the_process_that_started_it(
    tmp_path: Path, started: Callable[[int], subprocess.Popen[bytes]]
) -> None:
    (tmp_path / "go").touch()
    process = started(free_port())
    until(server_file(tmp_path / "home").exists)
    child = child_of(process)
    process.kill()  # SIGKILL: no cleanup
    until(lambda: is_gone(child))
    assert running_server(tmp_path / "home") is None


def test_a_port_that_is_taken_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(NolaError, match=f"^port {port} is in use by another program.*--port {port + 1}$"):
            serve(port)
    assert not server_file(tmp_path).exists()
