"""Run one stage: `dvc repro -s ADDRESS` in a child process. Its lines are passed on and its process group can be stopped."""

from __future__ import annotations

import codecs
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from pathlib import Path

import psutil

from flows.dvc_locks import Patience, await_repository, blocking_pids
from flows.environment import child_environment
from flows.locking import StoppedError
from nola_core.durations import record
from nola_core.errors import NolaError

GRACE_SECONDS = 20.0
"""Longer than the grace period of any stage: `describe` waits 10 s for answers that are already paid for."""
REDRAW_SECONDS = 5.0
TAIL_LINES = 20

_CHATTER = re.compile(
    r"\s*$|To track the changes with git|\tgit add |To enable auto staging|\tdvc config core\.autostage|Use `dvc push`"
    r"|(Generating|Updating) lock file '|Data and pipelines are up to date"
)
_DVC_ERROR = re.compile(r"ERROR: (failed to reproduce '[^']*': )?(?P<reason>.*)")
_BUSY = re.compile(r".* is busy, it is being blocked by:$|Unable to acquire lock\. Most likely another DVC process is running")


class Outcome(Enum):
    """The outcome of a stage."""

    RUN = "run"
    RESTORED = "restored"  # from DVC's run cache: not computed, but its outputs changed on disk
    UNCHANGED = "unchanged"
    FAILED = "failed"
    SKIPPED = "skipped"


class StageError(NolaError):
    """A stage failed; the message is its error message and `tail` contains its last lines."""

    def __init__(self, address: str, sentence: str, tail: list[str]) -> None:
        super().__init__(sentence)
        self.address = address
        self.tail = tail


class StageRunner:
    """Runs stages of the DVC repository at `root`, several threads at a time, until `stop`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._children: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self.stopping = threading.Event()

    def run(self, address: str, on_line: Callable[[str], None], environment: Mapping[str, str] | None = None) -> Outcome:
        """Bring one stage up to date, passing each line it prints to `on_line`.

        Waits for other DVC commands that use the same files.

        Args:
            address: address of the stage, e.g. `embed@digits-clip`.
            on_line: called with every line, and with a message when the stage waits.
            environment: environment variables of the stage, in addition to those of this process.

        Raises:
            StageError: the stage or DVC failed.
            StoppedError: `stop` was called.
        """
        patience = Patience(self._root, self.stopping, on_line)
        while True:
            await_repository(self._root, self.stopping, on_line)
            report = _Report(address)
            begun = time.monotonic()
            code = self._attempt(address, report, on_line, environment or {})
            if self.stopping.is_set() and code != 0:
                raise StoppedError(address)
            if code == 0:
                if report.outcome is Outcome.RUN:
                    record(self._root, address, time.monotonic() - begun)
                return report.outcome
            if not report.busy:
                raise StageError(address, report.sentence(code), list(report.tail))
            patience.wait(report.blockers)

    def _attempt(self, address: str, report: _Report, on_line: Callable[[str], None], environment: Mapping[str, str]) -> int:
        child = self._start(address, environment)
        assert child.stdout is not None
        try:
            for line in _lines(child.stdout.fileno()):
                if report.add(line):
                    on_line(line)
            return child.wait()
        except BaseException:
            _end([child])
            raise
        finally:
            with self._lock:
                self._children.discard(child)
            child.stdout.close()

    def stop(self) -> None:
        """Stop every running stage with all its processes, and refuse new ones."""
        with self._lock:
            self.stopping.set()
            children = list(self._children)
        _end(children)

    def _start(self, address: str, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        with self._lock:
            if self.stopping.is_set():
                raise StoppedError(address)
            child = subprocess.Popen(
                [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "-s", address],
                cwd=self._root,
                env={**child_environment(), **environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._children.add(child)
            return child


class _Report:
    """Parses DVC's output: the outcome, and the reason for a failure."""

    def __init__(self, address: str) -> None:
        self._marks = {
            f"Running stage '{address}':": Outcome.RUN,
            f"Stage '{address}' is cached - skipping run, checking out outputs": Outcome.RESTORED,
            f"Stage '{address}' didn't change, skipping": Outcome.UNCHANGED,
        }
        self.outcome = Outcome.RESTORED  # unless DVC says otherwise, assume that the outputs changed
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._stage_error = ""
        self._dvc_error = ""
        self.busy = False
        self.blockers: frozenset[int] = frozenset()

    def add(self, line: str) -> bool:
        """Process a line; False if it is one of DVC's routine messages."""
        if _CHATTER.match(line):
            return False
        self.outcome = self._marks.get(line, self.outcome)
        dvc_error = _DVC_ERROR.match(line)
        if dvc_error:
            self._dvc_error = dvc_error["reason"]
            self.busy = self.busy or _BUSY.match(self._dvc_error) is not None
            return not self.busy
        if self.busy:  # the runner reports what it waits for
            self.blockers |= blocking_pids(line)
            return False
        if line.startswith("error: "):
            self._stage_error = line.removeprefix("error: ")
        self.tail.append(line)
        return True

    def sentence(self, code: int) -> str:
        """The stage's own `error: ...`; otherwise DVC's reason, with the stage's last line if the stage was running."""
        if self._stage_error:
            return self._stage_error
        if self.outcome is Outcome.RUN and self.tail:
            return f"{self.tail[-1]} ({self._dvc_error or f'exit status {code}'})"
        return self._dvc_error or f"dvc ended with exit status {code}"


def _lines(descriptor: int) -> Iterator[str]:
    """Lines as they arrive; for a progress bar redrawn with carriage returns, one line every few seconds."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    rest = ""
    shown = time.monotonic()
    while block := os.read(descriptor, 65536):
        *pieces, rest = re.split(r"(?<=\n)|(?<=\r)(?!\n)", rest + decoder.decode(block))
        for piece in pieces:
            redrawn = piece.endswith("\r")
            if redrawn and time.monotonic() - shown < REDRAW_SECONDS:
                continue
            shown = time.monotonic()
            yield piece.rstrip("\r\n")
    if rest:
        yield rest


def _end(children: list[subprocess.Popen[bytes]]) -> None:
    """Send SIGTERM to each child's process group, and SIGKILL to those still running after a grace period."""
    alive = [child for child in children if _signal(child, signal.SIGTERM)]
    deadline = time.monotonic() + GRACE_SECONDS
    try:
        while alive and time.monotonic() < deadline:
            time.sleep(0.1)
            alive = [child for child in alive if _alive(child)]
    finally:  # also after a second Ctrl-C
        for child in alive:
            _signal(child, signal.SIGKILL)
            child.wait()


def _signal(child: subprocess.Popen[bytes], number: int) -> bool:
    """Signal a child's process group; False if it no longer exists."""
    child.poll()  # an unreaped leader would keep its group alive
    try:
        os.killpg(child.pid, number)
    except ProcessLookupError:
        return False
    return True


def _alive(child: subprocess.Popen[bytes]) -> bool:
    """Whether any process of a child's group is running; zombies, as in a container without init, do not count."""
    return _signal(child, 0) and any(_runs_in(child.pid, pid) for pid in psutil.pids())


def _runs_in(group: int, pid: int) -> bool:
    try:
        return os.getpgid(pid) == group and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except (OSError, psutil.Error):
        return False
