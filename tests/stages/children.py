"""Stages in child processes of one that has imported everything, so that they start at once; itself `python -m` this module."""

from __future__ import annotations

import importlib
import io
import json
import os
import resource
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from nola_core.fingerprint import Package
from nola_core.inputs import STAGES
from nola_core.stages.__main__ import stop_on_signals
from tests.project import ROOT, run


class Stages:
    """Starts stages, one at a time: `start`, then `end`."""

    def __enter__(self) -> Stages:
        command = [sys.executable, "-m", __name__]
        self._server = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.kill()
        self._server.communicate()

    def start(self, root: Path, stage: str, *, largest: int | None = None, die_after: str | None = None) -> int:
        """The process id of a stage that begins.

        Args:
            largest: the largest file it may write, in bytes; it stands for a full disk.
            die_after: `module:function`, whose end is that of the process, by SIGKILL.
        """
        assert self._server.stdin is not None
        request = {"root": str(root), "stage": stage, "largest": largest, "die_after": die_after}
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return int(self._read())

    def end(self) -> tuple[int, str]:
        """Exit status, negative after a signal, and stderr of the stage, when it has ended. After a kill stderr is empty."""
        status, said = self._read()
        return int(status), str(said)

    def run(self, root: Path, stage: str, **options: Any) -> tuple[int, str]:
        """Start, and wait for the end."""
        self.start(root, stage, **options)
        return self.end()

    def _read(self) -> Any:
        assert self._server.stdout is not None
        return json.loads(self._server.stdout.readline())


def serve(requests: TextIO, answers: TextIO) -> None:
    """Fork a child for every line; answer with its id, and with its status and stderr at its end."""
    for line in requests:
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(read)
            status, said = stage_status(**json.loads(line))
            with os.fdopen(write, "w") as stream:
                stream.write(said)
            os._exit(status)
        os.close(write)
        print(pid, file=answers, flush=True)
        with os.fdopen(read) as stream:
            said = stream.read()
        print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said]), file=answers, flush=True)


def stage_status(root: str, stage: str, largest: int | None, die_after: str | None) -> tuple[int, str]:
    if largest is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    if die_after is not None:
        module, name = die_after.split(":")
        real = getattr(importlib.import_module(module), name)

        def last(*arguments: Any, **options: Any) -> None:
            real(*arguments, **options)
            os.kill(os.getpid(), signal.SIGKILL)

        setattr(importlib.import_module(module), name, last)
    stop_on_signals()
    said = io.StringIO()
    with redirect_stderr(said), redirect_stdout(io.StringIO()):
        status = run(Path(root), stage)
    return status, said.getvalue()


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background has it ignored
    for name in STAGES:
        importlib.import_module(f"nola_core.stages.{name}")
    Package().code(f"nola_core.stages.{name}" for name in STAGES)  # parsed before the children ask for it
    with os.fdopen(os.dup(1), "w") as answers:
        serve(sys.stdin, answers)
