"""Ctrl-C, heard where the flow waits and kept for later where Prefect's engine is at work."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupts:
    """Turns the first SIGINT into a KeyboardInterrupt inside `heard()` alone, and any further one into one at once.

    An exception in the middle of Prefect's engine would leave the run Crashed, with tracebacks of its threads. Only one
    thread uses an object of this class: the main one.
    """

    def __init__(self) -> None:
        self._listening = False
        self._count = 0

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Handle SIGINT; outside the main thread, where that cannot be done, all stays as it is."""
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
        """Raise KeyboardInterrupt at once, for what came before too.

        Raises:
            KeyboardInterrupt: SIGINT came.
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
"""Those of this process."""
