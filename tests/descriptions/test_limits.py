"""Requests and tokens a minute; what a request can cost at most."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from nola_core.config import Describe
from nola_core.descriptions import Responses, asking
from nola_core.descriptions.client import Endpoint
from nola_core.descriptions.cost import price_of
from nola_core.descriptions.request import Question, Request, Sampling
from nola_core.errors import NolaError
from tests.descriptions.llm_server import LLMServer
from tests.project import ROOT


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize(
    ("limits", "seconds"),
    [({"requests_per_minute": 600}, 1.4), ({"tokens_per_minute": 120_000}, 1.0)],
)  # ten requests a second, two thousand tokens a second at some two hundred a request, after a second's worth at once
def test_requests_and_tokens_are_spaced(tmp_path: Path, limits: dict[str, int], seconds: float) -> None:
    questions = [Question("cat", f"Prompt {number}", "test/1", 1, "sentences") for number in range(25)]
    values = yaml.safe_load((ROOT / "params.yaml").read_text())["describe"]
    settings = Describe.model_validate({**values, "provider": "llm"})
    with LLMServer() as server:
        endpoint = Endpoint(base_url=server.url, concurrency=25, **limits)  # type: ignore[arg-type]
        assert len(asking.collect(questions, settings, Responses(tmp_path), endpoint=endpoint)) == 25
        assert server.log[-1]["time"] - server.log[0]["time"] >= seconds


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
