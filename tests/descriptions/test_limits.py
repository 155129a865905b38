"""Requests and tokens a minute, on a clock of our own; what a request can cost at most."""

from __future__ import annotations

import asyncio

import pytest
import yaml

from nola_core.descriptions.limits import Bucket
from nola_core.descriptions.prices import price_of
from nola_core.descriptions.question import Question
from nola_core.descriptions.request import Request, Sampling
from nola_core.errors import NolaError
from tests.project import ROOT


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


@pytest.mark.parametrize(("base", "tile"), [(85, 170), (2833, 5667)])  # gpt-4o, gpt-4o-mini
def test_the_bound_of_a_picture_holds_for_the_dearest_way_of_counting(base: int, tile: int) -> None:
    """Tiles of 512 pixels after scaling to 768 on the short and at most 2,048 on the long side: eight at most."""
    allowed = yaml.safe_load((ROOT / "params.yaml").read_text())["describe"]["image_tokens"]
    assert base + 8 * tile <= allowed
    sampling = Sampling(model="m", max_tokens=100)
    words, picture = (
        price_of("m", [1.0, 0.0], image_tokens=allowed).most(  # type: ignore[union-attr]
            [Request("k", Question("cat", "Describe it", "t/1", 1, "plain", images), 0)], sampling
        )
        for images in ((), ("sha256:0",))
    )
    assert (picture - words) * 1e6 == pytest.approx(allowed)
    with pytest.raises(NolaError, match=r"the price of m must be \[dollars in, dollars out\] .* not \[1.0, inf\]"):
        price_of("m", [1.0, float("inf")], image_tokens=9)
    assert (price_of("m", [1.0, 2.0], image_tokens=9) or pytest.fail()).cost(10, 20) == pytest.approx(50e-6)
