"""What requests cost: a price table, the most that a request can cost, a likely guess, and an endpoint's own counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nola_core.config import Describe
from nola_core.descriptions.asking.request import INSTRUCTIONS, Request, schema
from nola_core.errors import NolaError
from nola_core.schema import read_yaml

PRICES = Path(__file__).parents[1] / "prices.yaml"
IMAGE_TOKENS = 8_500  # a guess at 512 x 512 pixels: what gpt-4o-mini counts (2,833 and 5,667 a tile); most count some hundred
MOST_IMAGE_TOKENS = 50_000  # the most that any known way of counting makes of a picture
FAR, SPARE = 10, 10_000  # a count of more than `FAR` times what was sent or allowed, and `SPARE`, is an error of the server
MESSAGE_TOKENS = 16  # what the frame of a message adds


@dataclass(frozen=True)
class Price:
    """Dollars a token, and how many tokens a picture counts at most (`describe.image_tokens`)."""

    tokens_in: float
    tokens_out: float
    image_tokens: int

    @classmethod
    def of(cls, settings: Describe, *, share: float = 1.0, capped: bool = False) -> Price | None:
        """`share` of the price in `describe.price`, else in prices.yaml; None if unknown.

        Raises:
            NolaError: it is unknown, is needed (`capped`), and there is a cap.
        """
        model, dollars = settings.model, settings.price
        if dollars is None:
            table = read_yaml(PRICES)
            known = [name for name in table if model == name or model.startswith(f"{name}-2")]  # gpt-4o-2024-08-06
            dollars = table[max(known, key=len)] if known else None
        if dollars is not None:
            return cls(share * dollars[0] / 1e6, share * dollars[1] / 1e6, settings.image_tokens)
        if capped and settings.max_cost is not None:
            raise NolaError(
                f"describe.max_cost cannot be kept: the price of {model} is unknown. Set describe.price to [dollars in, "
                "dollars out] for a million tokens ([0, 0] for a model of your own), or describe.max_cost to null."
            )
        return None

    def cost(self, tokens_in: int, tokens_out: int) -> float:
        """Dollars."""
        return tokens_in * self.tokens_in + tokens_out * self.tokens_out

    def most(self, group: Sequence[Request], settings: Describe) -> float:
        """Dollars that one HTTP request for the samples of one question can cost: no token is shorter than a byte."""
        return self.cost(_sent(group, self.image_tokens), settings.max_tokens * len(group))


def tokens_likely(group: Sequence[Request], settings: Describe) -> tuple[int, int]:
    """A guess at the tokens (in, out) of one HTTP request: four bytes a token, half of what may be answered."""
    return _sent(group, 4 * IMAGE_TOKENS) // 4, settings.max_tokens * len(group) // 2


def counted(usage: Any, group: Sequence[Request], settings: Describe) -> tuple[int | None, int | None]:
    """Tokens (in, out) by an endpoint's own count; None for what it does not say, or cannot mean (see `FAR`)."""
    said, sent = usage if isinstance(usage, dict) else {}, _sent(group, MOST_IMAGE_TOKENS)
    return _meant(said.get("prompt_tokens"), sent), _meant(said.get("completion_tokens"), settings.max_tokens * len(group))


def _meant(said: Any, most: int) -> int | None:
    return int(said) if type(said) in (int, float) and 1 <= said <= FAR * most + SPARE else None  # NaN is neither


def _sent(group: Sequence[Request], image_tokens: int) -> int:
    """Tokens in at most: one for each byte, and `image_tokens` for each picture."""
    question = group[0].question
    text = question.prompt + INSTRUCTIONS.get((question.form, "json"), "") + str(schema(question.form) or "")
    return len(text.encode()) + MESSAGE_TOKENS + image_tokens * len(question.images)
