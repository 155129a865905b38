"""What requests cost: a price table, estimates, an endpoint's own counts, and a budget that is never exceeded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nola_core.config import Describe, read_yaml
from nola_core.descriptions.request import INSTRUCTIONS, Request, Sampling, schema
from nola_core.errors import NolaError

IMAGE_TOKENS = 8_500  # a guess at 512 x 512 pixels: what gpt-4o-mini counts (2,833 and 5,667 a tile); most count some hundred
MOST_IMAGE_TOKENS = 50_000  # what the dearest way of counting makes of a picture
FAR, SPARE = 10, 10_000  # no server can mean a count of more than `FAR` times what was sent or allowed, and `SPARE`
MESSAGE_TOKENS = 16  # what the frame of a message adds


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
        sent = _bytes(group) + self.image_tokens * len(group[0].question.images)
        return self.cost(sent, sampling.max_tokens * len(group))

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


def price_in(settings: Describe, *, capped: bool = False) -> Price | None:
    """The price by the settings; None if unknown.

    Raises:
        NolaError: it is unknown, though it is to be watched (`capped`) and there is a cap.
    """
    price = price_of(settings.model, settings.price, image_tokens=settings.image_tokens)
    if capped and price is None and settings.max_cost is not None:
        raise NolaError(
            f"describe.max_cost cannot be kept: the price of {settings.model} is unknown. Set describe.price to "
            "[dollars in, dollars out] for a million tokens ([0, 0] for a model of your own), or describe.max_cost to null."
        )
    return price


def tokens_likely(group: Sequence[Request], sampling: Sampling) -> tuple[int, int]:
    """A guess at the tokens (in, out) of one HTTP request: four bytes a token, half of what may be answered."""
    pictures = IMAGE_TOKENS * len(group[0].question.images)
    return _bytes(group) // 4 + pictures, sampling.max_tokens * len(group) // 2


def counted(usage: Any, group: Sequence[Request], sampling: Sampling) -> tuple[int | None, int | None]:
    """Tokens (in, out) by an endpoint's own count; None for what it does not say, or cannot mean (see `FAR`)."""
    sent = _bytes(group) + MOST_IMAGE_TOKENS * len(group[0].question.images)
    said = usage if isinstance(usage, dict) else {}
    allowed = sampling.max_tokens * len(group)
    return _meant(said.get("prompt_tokens"), sent), _meant(said.get("completion_tokens"), allowed)


@dataclass
class Budget:
    """Dollars: what a request can cost at most is set aside before it is sent, what it did cost is booked after."""

    limit: float | None
    spent: float = 0.0
    reserved: float = 0.0

    def reserve(self, amount: float) -> bool:
        """Set `amount` aside; False, and nothing set aside, where spent and reserved money would exceed the limit."""
        fits = self.limit is None or self.spent + self.reserved + amount <= self.limit
        self.reserved += amount if fits else 0.0
        return fits

    def settle(self, reserved: float, cost: float) -> None:
        """Book what a request did cost in place of what was set aside for it."""
        self.reserved, self.spent = self.reserved - reserved, self.spent + cost


def _meant(said: Any, most: int) -> int | None:
    return int(said) if type(said) in (int, float) and 1 <= said <= FAR * most + SPARE else None  # NaN is neither


def _bytes(group: Sequence[Request]) -> int:
    question = group[0].question
    text = question.prompt + INSTRUCTIONS.get((question.form, "json"), "") + str(schema(question.form) or "")
    return len(text.encode()) + MESSAGE_TOKENS
