"""What requests cost: a price table, estimates, and a budget that is never exceeded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nola_core.config import read_yaml
from nola_core.descriptions.answers import INSTRUCTIONS, schema
from nola_core.descriptions.question import Question
from nola_core.descriptions.request import Request, Sampling
from nola_core.errors import NolaError

IMAGE_TOKENS = 8500
"""A guess at a picture of 512 x 512 pixels: what gpt-4o-mini counts (2,833 and 5,667 a tile). Most models count some hundred."""
MOST_IMAGE_TOKENS = 50_000
"""What the dearest way of counting makes of a picture."""
FAR, SPARE = 10, 10_000
MESSAGE_TOKENS = 16
"""What the frame of a message adds."""


@dataclass(frozen=True)
class Price:
    """Dollars a token, and how many tokens a picture counts at most (`describe.image_tokens`)."""

    tokens_in: float
    tokens_out: float
    image_tokens: int

    def cost(self, tokens_in: int, tokens_out: int) -> float:
        """Dollars."""
        return tokens_in * self.tokens_in + tokens_out * self.tokens_out

    def most(self, group: Sequence[Request], sampling: Sampling) -> float:
        """Dollars that one HTTP request for the samples of one question can cost: no token is shorter than a byte."""
        question = group[0].question
        tokens_in = _bytes(question) + self.image_tokens * len(question.images)
        return self.cost(tokens_in, sampling.max_tokens * len(group))

    def __mul__(self, factor: float) -> Price:
        """A rebate."""
        return Price(self.tokens_in * factor, self.tokens_out * factor, self.image_tokens)


def price_of(model: str, given: Sequence[float] | None = None, *, image_tokens: int) -> Price | None:
    """The price of a model: `given` dollars for a million tokens [in, out], else that of prices.yaml; None if unknown."""
    if given is None:
        table = read_yaml(Path(__file__).with_name("prices.yaml"))
        names = [name for name in table if model == name or model.startswith(f"{name}-2")]  # gpt-4o-2024-08-06
        if not names:
            return None
        given = table[max(names, key=len)]
    if len(given) != 2 or not all(isinstance(dollars, (int, float)) and 0 <= dollars < math.inf for dollars in given):
        raise NolaError(f"the price of {model} must be [dollars in, dollars out] for a million tokens, not {given}.")
    return Price(given[0] / 1e6, given[1] / 1e6, image_tokens)


def tokens_likely(group: Sequence[Request], sampling: Sampling) -> tuple[int, int]:
    """A guess at the tokens (in, out) of one HTTP request: four bytes a token, half of what may be answered."""
    question = group[0].question
    return _bytes(question) // 4 + IMAGE_TOKENS * len(question.images), sampling.max_tokens * len(group) // 2


def counted(usage: Any, group: Sequence[Request], sampling: Sampling) -> tuple[int | None, int | None]:
    """Tokens (in, out) by an endpoint's own count; None for what it does not say, or cannot mean.

    It cannot mean a count that is no number, none at all, or `FAR` times what was sent or allowed (and `SPARE` more).
    """
    question = group[0].question
    sent = _bytes(question) + MOST_IMAGE_TOKENS * len(question.images)
    allowed = sampling.max_tokens * len(group)
    return _meant(getattr(usage, "prompt_tokens", None), sent), _meant(getattr(usage, "completion_tokens", None), allowed)


def _meant(said: Any, most: int) -> int | None:
    return int(said) if isinstance(said, (int, float)) and 1 <= said <= FAR * most + SPARE else None  # NaN is neither


def _bytes(question: Question) -> int:
    text = question.prompt + INSTRUCTIONS.get((question.form, "json"), "") + str(schema(question.form) or "")
    return len(text.encode()) + MESSAGE_TOKENS


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
