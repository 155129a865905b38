"""Prefect servers for this project, on this machine only: `nola server`, and a temporary one for a run without a server."""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from flows import tether
from flows.environment import running_server, server_file
from nola_core.errors import NolaError

SERVER = ["prefect", "server", "start"]
STARTUP_SECONDS = 300.0
STOP_SECONDS = 10.0

RECORD_SECONDS = 30.0
TEMPORARY = {
    "PREFECT_UI_ENABLED": "0",
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",  # fewer transactions: nobody is watching
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
}

_temporary: list[str] = []
"""The API address of this process's temporary server, if it has one."""
_expected: dict[str, int] = {}
"""Expected number of task runs by flow run."""


def serve(port: int = 4200) -> None:
    """Run `prefect server start` on 127.0.0.1 with its data in `PREFECT_HOME` until it is stopped.

    Runs of this project use it as soon as it answers.

    Raises:
        NolaError: the port is taken, or the server does not start.
    """
    home = Path(os.environ["PREFECT_HOME"]).expanduser()
    url = running_server(home)
    if url:
        print(f"already running: {url.removesuffix('/api')}")
        return
    if not _is_free(port):
        raise NolaError(f"port {port} is in use by another program; choose another one: nola server --port {port + 1}")
    url = f"http://127.0.0.1:{port}/api"
    home.mkdir(parents=True, exist_ok=True)
    note = server_file(home)
    environment = {**os.environ, "PREFECT_API_URL": url, "PREFECT_CLI_PROMPT": "false"}  # there is no terminal for prompts
    arguments = [*SERVER, "--host", "127.0.0.1", "--port", str(port)]
    with _signals_as_interrupts(), _child(arguments, environment) as child:
        try:
            _await_health(child, url)
            note.write_text(f"{url}\n")
            if child.wait():
                raise NolaError(f"the Prefect server ended with exit status {child.returncode}; the lines above say why.")
        finally:
            with suppress(OSError):
                if note.read_text().strip() == url:
                    note.unlink()


def use_server() -> None:
    """Make Prefect report to the configured server, or else to a temporary one. Call this before a flow.

    Raises:
        NolaError: the temporary server does not start.
    """
    from prefect.context import refresh_global_settings_context
    from prefect.settings import PREFECT_API_URL

    if PREFECT_API_URL.value() is None:
        os.environ["PREFECT_API_URL"] = temporary_server()
        refresh_global_settings_context()


def temporary_server() -> str:
    """The API address of a server without interface for this process only; it ends with the process, even after a kill.

    It uses the database of `nola server`, so the run can be viewed there later.

    Raises:
        NolaError: it does not start.
    """
    if not _temporary:
        port = _free_port()
        url = f"http://127.0.0.1:{port}/api"
        arguments = ["uvicorn", "--factory", "prefect.server.api.server:create_app", "--host", "127.0.0.1"]
        running = _child([*arguments, "--port", str(port), "--log-level", "error", "--lifespan", "on"], os.environ | TEMPORARY)
        child = running.__enter__()
        # Runs after Prefect's own threads have ended, which send data until then.
        atexit.register(running.__exit__, None, None, None)
        atexit.register(_await_records, url)
        _await_health(child, url)
        _temporary.append(url)
    return _temporary[0]


def expect_records(flow_run_id: str, task_runs: int) -> None:
    """Keep a temporary server until it has stored this many ended task runs: what is only in memory is lost when it stops."""
    _expected[flow_run_id] = task_runs


def _await_records(url: str) -> None:
    deadline = time.monotonic() + RECORD_SECONDS
    ended = {"state": {"type": {"any_": ["COMPLETED", "FAILED", "CANCELLED", "CRASHED"]}}}
    with suppress(OSError, ValueError, KeyboardInterrupt):
        for flow_run_id, task_runs in _expected.items():
            body = json.dumps({"flow_runs": {"id": {"any_": [flow_run_id]}}, "task_runs": ended}).encode()
            request = urllib.request.Request(f"{url}/task_runs/count", body, {"Content-Type": "application/json"})
            while time.monotonic() < deadline:
                with urllib.request.urlopen(request, timeout=STOP_SECONDS) as reply:
                    if json.load(reply) >= task_runs:
                        break
                time.sleep(0.2)


@contextmanager
def _child(arguments: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Python module in a child process that does not receive Ctrl-C and ends with this process."""
    child = subprocess.Popen(
        [sys.executable, "-P", tether.__file__, *arguments], env=environment, stdin=subprocess.PIPE, start_new_session=True
    )
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _await_health(child: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + STARTUP_SECONDS
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise NolaError(f"the Prefect server ended with exit status {child.returncode}; the lines above say why.")
        with suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=2) as reply:
            if reply.status == 200 and child.poll() is None:  # not another program that has taken the port
                return
        time.sleep(0.1)
    raise NolaError(f"the Prefect server did not answer at {url} within {STARTUP_SECONDS:.0f} s; try again")


@contextmanager
def _signals_as_interrupts() -> Iterator[None]:
    """Handle SIGTERM and SIGHUP like Ctrl-C, so that cleanup runs."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
