"""Requests and tokens a minute: a token bucket that spaces what goes out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable


class Bucket:
    """At most `per_minute` units a minute, evenly spaced; None is no limit. Takers get their turns in the order they asked."""

    def __init__(
        self,
        per_minute: float | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.seconds = 60.0 / per_minute if per_minute else 0.0  # a unit's worth of time
        self.clock = clock
        self.sleep = sleep
        self.free_at = clock()

    async def take(self, amount: float = 1.0) -> None:
        """Wait until `amount` units may go."""
        if not self.seconds:
            return
        start = max(self.free_at, self.clock())
        self.free_at = start + amount * self.seconds
        if (wait := start - self.clock()) > 0:
            await self.sleep(wait)

    def give_back(self, amount: float) -> None:
        """Units taken and not used (negative: used beyond what was taken)."""
        self.free_at -= amount * self.seconds
