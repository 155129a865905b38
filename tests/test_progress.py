"""Without a terminal, progress is printed as lines: position, total, and a rate without the items done before."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from nola_core.progress import progress, track


class Clock:
    """A clock that advances only on request."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_a_line_every_few_seconds_and_one_at_the_end(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress(total=3000, what="embed clip", unit="images", done=1000) as advance:
        for _ in range(8):
            clock.now += 2
            advance(250, "loss 0.5")
    assert capsys.readouterr().err.splitlines() == [
        "embed clip: 1,750/3,000 images, 125/s, loss 0.5",
        "embed clip: 2,500/3,000 images, 125/s, loss 0.5",
        "embed clip: 3,000/3,000 images, 125/s, loss 0.5",
    ]


def test_what_was_all_done_before_is_one_line(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress(total=40, what="embed ssl", unit="images", done=40):
        pass
    assert capsys.readouterr().err == "embed ssl: 40/40 images, 0/s\n"


def test_an_early_end_shows_how_far_it_came(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress(total=40, what="read", unit="rows") as advance:
        clock.now += 1
        advance(10)
    assert capsys.readouterr().err == "read: 10/40 rows, 10/s\n"


def test_track_gives_the_items_and_counts_them(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    def items() -> Iterator[str]:
        for item in "abc":
            clock.now += 1
            yield item

    assert list(track(items(), total=3, what="prepare toy", unit="images")) == ["a", "b", "c"]
    assert capsys.readouterr().err == "prepare toy: 3/3 images, 1/s\n"


def test_a_slow_rate_does_not_read_as_nothing(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress(total=2, what="tune", unit="epochs") as advance:
        clock.now += 6
        advance()
    assert capsys.readouterr().err == "tune: 1/2 epochs, 0.17/s\n"
