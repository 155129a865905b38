"""What requests cost: a price table, estimates, and a budget that is never exceeded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nola_core.config import read_yaml
from nola_core.descriptions.answers import INSTRUCTIONS, schema
from nola_core.descriptions.request import Request, Sampling

IMAGE_TOKENS = 1500
"""Taken for an image of 512 pixels: endpoints count 85 to about 1,500 tokens; a model that counts more needs a lower cap."""
MESSAGE_TOKENS = 16
"""What the frame of a message adds."""


@dataclass(frozen=True)
class Price:
    """Dollars a token."""

    tokens_in: float
    tokens_out: float

    def cost(self, tokens_in: int, tokens_out: int) -> float:
        """Dollars."""
        return tokens_in * self.tokens_in + tokens_out * self.tokens_out

    def __mul__(self, factor: float) -> Price:
        """A rebate."""
        return Price(self.tokens_in * factor, self.tokens_out * factor)


def price_of(model: str, given: Sequence[float] | None = None) -> Price | None:
    """The price of a model: `given` dollars for a million tokens [in, out], else that of prices.yaml; None if unknown."""
    if given is None:
        table = read_yaml(Path(__file__).with_name("prices.yaml"))
        names = [name for name in table if model == name or model.startswith(f"{name}-2")]  # gpt-4o-2024-08-06
        if not names:
            return None
        given = table[max(names, key=len)]
    return Price(given[0] / 1e6, given[1] / 1e6)


def tokens_bound(group: Sequence[Request], sampling: Sampling) -> tuple[int, int]:
    """At most so many tokens (in, out) go for one HTTP request: no token is shorter than a byte."""
    question = group[0].question
    text = question.prompt + INSTRUCTIONS.get((question.form, "json"), "") + str(schema(question.form) or "")
    return len(text.encode()) + MESSAGE_TOKENS + IMAGE_TOKENS * len(question.images), sampling.max_tokens * len(group)


def tokens_likely(group: Sequence[Request], sampling: Sampling) -> tuple[int, int]:
    """A guess at the same: four bytes a token, and half of the answer's limit used."""
    most_in, most_out = tokens_bound(group, sampling)
    pictures = IMAGE_TOKENS * len(group[0].question.images)
    return (most_in - pictures) // 4 + pictures, most_out // 2


class Budget:
    """Dollars: what a request can cost at most is set aside before it is sent, what it did cost is booked after."""

    def __init__(self, limit: float | None, *, spent: float = 0.0) -> None:
        self.limit = limit
        self.spent = spent
        self.reserved = 0.0

    def reserve(self, amount: float) -> bool:
        """Set `amount` aside; False, and nothing set aside, where spent and reserved money would exceed the limit."""
        if self.limit is not None and self.spent + self.reserved + amount > self.limit:
            return False
        self.reserved += amount
        return True

    def settle(self, reserved: float, cost: float) -> None:
        """Book what a request did cost in place of what was set aside for it."""
        self.reserved -= reserved
        self.spent += cost
