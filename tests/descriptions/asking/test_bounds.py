"""What a server says is bounded: counts, sizes, depths, waits. It damages no cache, lifts no cap and fills no memory."""

from __future__ import annotations

import json
import math
import re
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nola_core.descriptions import Responses
from nola_core.descriptions.asking.endpoint import NO_ANSWER, Endpoint
from nola_core.descriptions.asking.request import Manner, Price, Request
from nola_core.descriptions.texts.prompts import Question
from nola_core.errors import NolaError
from tests.descriptions.asking.test_cache import answer
from tests.descriptions.asking.test_live import Run, most_of, questions_of, settings_of
from tests.descriptions.llm_server import LLMServer, bomb


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "responses")


@pytest.mark.parametrize("said", [1e12, 10**12, math.nan, math.inf, -(10**9), 0, "many", None, [1], 2**31])
@pytest.mark.parametrize("name", ["prompt_tokens", "completion_tokens"])
def test_counts_no_server_can_mean_are_booked_as_the_most_it_can_cost(run: Run, name: str, said: Any) -> None:
    question = questions_of("cat", prompts=1)
    most = most_of(question)
    with LLMServer(twist=lambda made: made["usage"].update({name: said})) as server:
        assert len(run(server, question)) == 1
    row = run.responses.read().iloc[0]
    assert pd.isna(row["tokens_in" if name == "prompt_tokens" else "tokens_out"]) and row["cost"] == pytest.approx(most)
    assert run.responses.known().spent == pytest.approx(most)


def test_the_cap_holds_against_a_server_that_counts_backwards(run: Run) -> None:
    backwards = {"prompt_tokens": -(10**9), "completion_tokens": -(10**9)}
    with LLMServer(twist=lambda made: made["usage"].update(backwards)) as server:
        questions = questions_of("cat", samples=20, prompts=1)
        most = most_of(questions)
        with pytest.raises(NolaError, match=r"stopped before describe.max_cost"):
            run(server, questions, max_cost=most / 4)
        assert len(server.log) == 5, "a quarter of twenty"


@pytest.mark.parametrize("style", ["chat", "completion"])
def test_an_answer_longer_than_it_may_be_is_malformed(run: Run, style: str) -> None:
    def longer(made: dict[str, Any]) -> None:
        for choice in made["choices"]:
            choice.get("message", choice)["content" if style == "chat" else "text"] = "word " * 200_000

    with LLMServer(twist=longer) as server, pytest.raises(NolaError, match="malformed 1"):
        run(server, questions_of("cat", prompts=1, form="plain"), style=style)
    assert run.responses.read()["text"].str.len().max() < 100_000


def test_half_a_character_is_kept_as_a_sign(run: Run) -> None:
    def cut(made: dict[str, Any]) -> None:
        made["choices"][0]["message"]["content"] = "a smile \ud83d"
        made["model"] = "m\ud83d" * 10_000

    with LLMServer(twist=cut) as server:
        assert run(server, questions_of("cat", prompts=1, form="plain"))["text"].tolist() == ["a smile ?"]
    assert len(run.responses.read()["returned_model"][0]) <= 200


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("nested", "an answer that is not in OpenAI's format"),
        ("bomb", "an answer of more than 8 MB"),
        ("error bomb", "an answer of more than 8 MB"),
        ("flood", "an answer of more than 8 MB"),
    ],
)
def test_bodies_too_large_or_too_deep(run: Run, fault: str, sentence: str) -> None:
    import openai.types.chat  # noqa: F401  (its memory is not what is measured, nor the server's)

    bomb()
    with LLMServer(faults=[fault, fault, fault]) as server:
        questions = questions_of("cat", prompts=1)
        tracemalloc.start()
        try:
            with pytest.raises(NolaError, match=sentence):
                run(server, questions, tries=2)
            assert tracemalloc.get_traced_memory()[1] < 60_000_000
        finally:
            tracemalloc.stop()
        assert len(run(server, questions)) == 1, "and the next one is taken"


def test_an_answer_nested_too_deep_is_malformed(run: Run) -> None:
    def deep(made: dict[str, Any]) -> None:
        made["choices"][0]["message"]["content"] = '{"sentences": ' + "[" * 20_000 + "]" * 20_000 + "}"

    with LLMServer(twist=deep) as server, pytest.raises(NolaError, match="malformed 1"):
        run(server, questions_of("cat", prompts=1))


def test_a_journal_with_counts_that_do_not_fit_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    responses = Responses(tmp_path)
    with responses.recording() as recorder:
        recorder.record([answer(0, tokens_in=5, tokens_out=5, cost=0.25)])
        good = json.loads(responses.journal.read_text())
    for part in tmp_path.glob("*.parquet"):
        part.unlink()
    bad = [
        {"key": "k1", "tokens_in": 10**12, "cost": 1e6},
        {"key": "k2", "tokens_out": -(10**9), "cost": -18_000.0},
        {"key": "k3", "tokens_in": math.nan, "cost": math.nan},
        {"key": "k4", "tokens_in": math.inf, "cost": math.inf},
    ]
    lines = [json.dumps(good | changes) for changes in [{}, *bad]]
    responses.journal.write_text("\n".join(lines) + "\n")
    for _ in range(2):
        rows = responses.read()
        assert sorted(rows["key"]) == ["k0", "k1", "k2", "k3", "k4"] and responses.known().spent == 0.25
        assert rows["text"].nunique() == 1 and len(responses.known().good) == 5
    assert re.findall(r"line (\d) has an impossible count", capsys.readouterr().err)[:4] == ["2", "3", "4", "5"]
    with responses.recording():
        pass
    assert len(responses.read()) == 5 and responses.known().spent == 0.25 and not responses.journal.exists()


def test_costs_below_nothing_in_an_older_part_lift_no_cap(tmp_path: Path) -> None:
    responses = Responses(tmp_path)
    with responses.recording() as recorder:
        recorder.record([answer(0, cost=-18_000.0), answer(1, cost=1.0)])
    assert responses.known().spent == 1.0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["prompt_tokens", "completion_tokens"]), inner),
    max_leaves=5,
)


@given(JSON, JSON, JSON)
@settings(max_examples=60, deadline=None)
def test_whatever_a_server_says_the_cache_stays_readable(usage: Any, text: Any, model: Any) -> None:
    request = Request("k", Question("cat", "Describe a cat", "test/1", 1, "plain"), 0)
    asked = settings_of(model="m")
    reply = {"choices": [{"message": {"content": text}}], "usage": usage, "model": model}
    with tempfile.TemporaryDirectory() as folder:
        responses = Responses(Path(folder))
        with responses.recording() as recorder:
            try:
                (found,) = Endpoint().read(reply, [request], asked, Manner())
            except NO_ANSWER:
                return
            recorder.keep([(request, found)], asked, Price.of(asked))
            assert len(responses.read()) == 1, "from the journal"
        assert len(responses.read()) == 1 and 0 <= responses.known().spent < 1
