"""Runs the commands of a page of the documentation in a copy of the home folder: `nola` by its own entry point, in this process;
its stages by DVC, and its servers until a visitor was there.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from flows.cli import main
from tests import prefect_home
from tests.docs.preparations import after, answer, before
from tests.docs.programs import Programs, read, unrun

UNCOMPARED = {
    "nola doctor": "it describes the machine",
}
"""Commands that run but whose output is not held against the page, and why."""
STANDS_FOR = {"0003": "003.png", "8070": "0"}
"""A word of the docs -> what stands for it here: the image ids of the whole digits are others, and a port may be taken."""
INCOMPLETE = "nola catalog check", "nola catalog prepare"
"""Commands whose status is 1, for the data set that is here has three images alone."""


class Sandbox:
    """A copy of the home folder for one page; the working directory is the project, or the folder that the page starts in."""

    def __init__(self, home: Path, python: Path) -> None:
        self.home, self.python = home, python
        self.programs = Programs(home)
        self.names: dict[str, Any] = {}
        """What the Python of the page has defined."""
        self.processes: list[subprocess.Popen[bytes]] = []
        """Servers that run until the end of the page."""

    def execute(self, command: str, shown: list[str] | None = None) -> str | None:
        """Run a command; its output with the folder called /home/me, or None if its words were read alone.

        Args:
            command: as the page has it.
            shown: the lines that the page shows as its output.
        """
        words = [_at_home(STANDS_FOR.get(word, word)) for word in shlex.split(command.partition(" | ")[0])]
        if unrun(words):
            read(words)
            return None
        if words[0] == "ssh" and "nola" in words:
            self.programs.run(words)
            words = words[words.index("nola") :]
        if words[0] == "export":
            self._export(*words[1:])
            return ""
        if words[0] == "cd":
            os.chdir(words[1])
            return ""
        output = io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            if words[:2] == ["python", "-c"]:
                exec(words[2], {"__name__": "__main__"})
            elif words[0] == "nola":
                done = self._nola(words[1:], output, shown or [])
                expected = any(line.startswith("error: ") for line in shown or []) or command.startswith(INCOMPLETE)
                assert done == expected or command.startswith("nola doctor"), (
                    f"`{command}` ended with {done}:\n{output.getvalue()}"
                )
            else:
                output.write(self.programs.run(words))
        return output.getvalue().replace(str(self.home), "/home/me")

    def close(self) -> None:
        """Stop the servers, as Ctrl-C does."""
        for process in self.processes:
            process.send_signal(signal.SIGINT)
            process.wait(60)

    def _nola(self, words: list[str], output: io.StringIO, shown: list[str]) -> int:
        if words[0] == "server":
            return self._server(output)
        words = before(words, self.home, shown)
        if words[0] == "explore" or (words[0] == "audit" and "--table" not in words):
            return _served(words, output)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "executable", str(self.python))  # that of a run's children
            status = main(words)
        if status and "--answers" in words:  # it has written what is to be answered
            answer(Path(words[words.index("--answers") + 1]))
            status = main(words)
        if not status:
            after(words, self.home)
        return status

    def _server(self, output: io.StringIO) -> int:
        """Start `nola server` and see it answer."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [
            sys.executable,
            "-c",
            "import sys; from flows.cli import main; sys.exit(main())",
            "server",
            "--port",
            str(port),
        ]
        environment = {
            **os.environ,
            "PREFECT_HOME": str(prefect_home.fill(self.home / "prefect")),
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.processes.append(process)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(OSError):
                _get(f"http://127.0.0.1:{port}/api/health")
                return 0
            time.sleep(0.2)
        assert process.stdout is not None
        output.write(process.stdout.read().decode())
        return 1

    def _export(self, assignment: str) -> None:
        """Set a variable; servers are those of the tests, whose addresses are set already."""
        name, _, value = assignment.partition("=")
        if not name.endswith(("BASE_URL", "API_URL")):
            os.environ[name] = "a-key" if value == "..." else value


def _at_home(word: str) -> str:
    """A word as the shell passes it on."""
    return str(Path(word).expanduser()) if word.startswith("~/") else word


def _served(words: list[str], output: io.StringIO) -> int:
    """Run a command that serves a page, and be its visitor: an audit is answered, an explorer gets Ctrl-C once it was read."""
    problems: list[str] = []
    ended = threading.Event()

    def visit() -> None:
        while not (found := re.search(r"http://127\.0\.0\.1:\S+", output.getvalue())) and not ended.wait(0.02):
            pass
        if found is None:
            return  # the command has ended by itself
        try:
            _get(found[0])
            if words[0] == "audit":
                _answer(found[0])
        except Exception as error:
            problems.append(repr(error))
        if problems or words[0] != "audit":
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    visitor = threading.Thread(target=visit)
    visitor.start()
    try:
        status = main([*words, "--no-browser"])
    finally:
        ended.set()
        visitor.join()
        signal.signal(signal.SIGINT, before)
    assert not problems, problems
    return status


def _answer(address: str) -> None:
    """Judge every image of an audit to be of the first of its five classes."""
    while question := json.loads(_get(f"{address}state")).get("question"):
        _post(f"{address}answer", {"place": question["place"], "verdict": "class", "class": question["options"][0][0]})
    _post(f"{address}answer", {"finish": True})


def _get(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=60) as reply:
        return bytes(reply.read())


def _post(address: str, said: dict[str, Any]) -> None:
    request = urllib.request.Request(address, json.dumps(said).encode(), {"Content-Type": "application/json"})
    urllib.request.urlopen(request, timeout=60).close()
