"""Progress with a rate: a live bar in a terminal, a line every few seconds in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

T = TypeVar("T")
SECONDS_BETWEEN_LINES = 5.0


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{_number(task.speed or 0)} {task.fields['unit']}/s")


def _number(rate: float) -> str:
    """A whole number from ten up, otherwise two digits, so that a slow rate is not shown as 0."""
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


@contextmanager
def progress(*, total: int, what: str, unit: str, done: int = 0) -> Iterator[Callable[..., None]]:
    """Yield `advance(count=1, note="")`; `done` of `total` are already finished and do not count for the rate."""
    console = Console(file=sys.stderr)
    if console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
        with Progress(*columns, TextColumn("{task.fields[note]}"), console=console) as bar:
            task = bar.add_task(what, total=total, completed=done, unit=unit, note="")
            yield lambda count=1, note="": bar.update(task, advance=count, note=note)
        return
    start = last = time.monotonic()
    position, shown = done, -1

    def line(note: str) -> None:
        nonlocal shown
        rate = (position - done) / max(time.monotonic() - start, 1e-9)
        print(
            f"{what}: {position:,}/{total:,} {unit}, {_number(rate)}/s{', ' + note if note else ''}",
            file=sys.stderr,
            flush=True,
        )
        shown = position

    def advance(count: int = 1, note: str = "") -> None:
        nonlocal position, last
        position += count
        if position >= total or time.monotonic() - last >= SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            line(note)

    yield advance
    if shown < position:
        line("")


def track(items: Iterable[T], *, total: int, what: str, unit: str) -> Iterator[T]:
    """Yield the items and show progress."""
    with progress(total=total, what=what, unit=unit) as advance:
        for item in items:
            yield item
            advance()
