"""Requests and tokens a minute, on a clock of our own."""

from __future__ import annotations

import asyncio

from nola_core.descriptions.limits import Bucket


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


def times(bucket: Bucket, clock: Clock, amounts: list[float]) -> list[float]:
    async def take() -> list[float]:
        found = []
        for amount in amounts:
            await bucket.take(amount)
            found.append(round(clock.now, 6))
        return found

    return asyncio.run(take())


def test_takers_are_spaced_by_what_was_taken_before_them() -> None:
    clock = Clock()
    bucket = Bucket(60, clock=clock, sleep=clock.sleep)
    assert times(bucket, clock, [1, 1, 10, 1]) == [0, 1, 2, 12]
    bucket.give_back(0.5)
    assert times(bucket, clock, [1]) == [12.5]
    clock.now = 100.0
    assert times(bucket, clock, [1, 1]) == [100, 101], "an idle time saves nothing up"
    assert times(Bucket(None, clock=clock, sleep=clock.sleep), clock, [1e9, 1e9]) == [101, 101]
