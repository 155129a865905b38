"""Requests and tokens a minute; what a request can cost at most."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from nola_core.config import Describe
from nola_core.descriptions import Responses
from nola_core.descriptions.asking import answers
from nola_core.descriptions.asking.endpoint import Endpoint
from nola_core.descriptions.asking.request import Price, Request
from nola_core.descriptions.texts.prompts import Question
from tests.descriptions.llm_server import LLMServer
from tests.project import ROOT


def described(**changes: Any) -> Describe:
    values = yaml.safe_load((ROOT / "params.yaml").read_text())["describe"]
    return Describe.model_validate({**values, "provider": "llm", **changes})


@pytest.mark.parametrize(
    ("limits", "seconds"),
    [({"requests_per_minute": 600}, 1.4), ({"tokens_per_minute": 120_000}, 1.0)],
)  # ten requests a second, two thousand tokens a second at some two hundred a request, after a second's worth at once
def test_requests_and_tokens_are_spaced(tmp_path: Path, limits: dict[str, int], seconds: float) -> None:
    questions = [Question("cat", f"Prompt {number}", "test/1", 1, "sentences") for number in range(25)]
    settings = described(price=None)
    with LLMServer() as server:
        endpoint = Endpoint(base_url=server.url, concurrency=25, **limits)  # type: ignore[arg-type]
        assert len(answers.collect(questions, settings, Responses(tmp_path), endpoint=endpoint)) == 25
        assert server.log[-1]["time"] - server.log[0]["time"] >= seconds


@pytest.mark.parametrize(("base", "tile"), [(85, 170), (2833, 5667)])  # gpt-4o, gpt-4o-mini
def test_the_bound_of_a_picture_holds_for_the_dearest_way_of_counting(base: int, tile: int) -> None:
    """Tiles of 512 pixels after scaling to 768 on the short and at most 2,048 on the long side: eight at most."""
    settings = described(price=[1.0, 0.0], max_tokens=100)
    assert base + 8 * tile <= settings.image_tokens
    price = Price.of(settings)
    assert price is not None
    words, picture = (
        price.most([Request("k", Question("cat", "Describe it", "t/1", 1, "plain", images), 0)], settings)
        for images in ((), ("sha256:0",))
    )
    assert (picture - words) * 1e6 == pytest.approx(settings.image_tokens)


def test_a_price_is_that_of_the_settings_or_of_the_table() -> None:
    assert (Price.of(described(price=[1.0, 2.0])) or pytest.fail()).cost(10, 20) == pytest.approx(50e-6)
    dated = Price.of(described(model="gpt-4o-mini-2024-07-18", price=None))
    assert dated == Price.of(described(model="gpt-4o-mini", price=None)) and dated is not None
    assert dated.cost(1_000_000, 0) == pytest.approx(0.15)
    assert Price.of(described(model="llama", price=None)) is None
    for wrong in ([1.0, float("inf")], [1.0, -1.0], [1.0]):
        with pytest.raises(ValidationError, match="price"):
            described(price=wrong)
