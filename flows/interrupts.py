"""Handle Ctrl-C where the flow waits, and defer it while Prefect's engine is running."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupts:
    """Raises KeyboardInterrupt for the first SIGINT only inside `heard()`, and for every further SIGINT immediately.

    An exception inside Prefect's engine would leave the run Crashed, with tracebacks of its threads. Only the main thread uses an
    object of this class.
    """

    def __init__(self) -> None:
        self._listening = False
        self._count = 0

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Handle SIGINT; does nothing outside the main thread, where this is not possible."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._count = 0
        before = signal.signal(signal.SIGINT, self._handle)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    @contextmanager
    def heard(self) -> Iterator[None]:
        """A context in which KeyboardInterrupt is raised at once, also for an earlier SIGINT.

        Raises:
            KeyboardInterrupt: SIGINT was received.
        """
        self._listening = True
        try:
            if self._count:
                raise KeyboardInterrupt
            yield
        finally:
            self._listening = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._count += 1
        if self._listening or self._count > 1:
            self._listening = False
            raise KeyboardInterrupt


INTERRUPTS = Interrupts()
"""The interrupts of this process."""
