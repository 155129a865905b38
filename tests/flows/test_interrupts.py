from __future__ import annotations

import signal

import pytest

from flows.interrupts import Interrupts


def test_an_interrupt_is_kept_until_somebody_listens() -> None:
    interrupts = Interrupts()
    reached = []
    with interrupts.installed():
        with interrupts.heard():
            reached.append("quiet")
        signal.raise_signal(signal.SIGINT)
        reached.append("kept")
        with pytest.raises(KeyboardInterrupt), interrupts.heard():
            reached.append("never")
    assert reached == ["quiet", "kept"]


def test_the_first_is_heard_at_once_where_somebody_listens_and_the_second_everywhere() -> None:
    interrupts = Interrupts()
    with interrupts.installed():
        with pytest.raises(KeyboardInterrupt), interrupts.heard():
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
