"""Asking a language model over real HTTP: faults, fall-backs, limits, money, and what is never asked twice."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from nola_core.config import Describe
from nola_core.descriptions import Responses
from nola_core.descriptions.asking import answers
from nola_core.descriptions.asking.endpoint import Endpoint
from nola_core.descriptions.asking.request import GOOD, Price, requests
from nola_core.descriptions.texts.prompts import Question
from nola_core.errors import NolaError
from tests.descriptions.llm_server import LLMServer, prompt_of

ROOT = Path(__file__).parents[3]
KEY = "sk-canary-0123456789abcdef"


def settings_of(**changes: Any) -> Describe:
    values = yaml.safe_load((ROOT / "params.yaml").read_text())["describe"]
    return Describe.model_validate({**values, "provider": "llm", "price": [1.0, 2.0], **changes})


def questions_of(*names: str, samples: int = 1, form: Any = "sentences", prompts: int = 2) -> list[Question]:
    return [
        Question(name, f"Prompt {number} about {name}", "test/1", samples, form) for name in names for number in range(prompts)
    ]


def classes_of(*names: str) -> pd.DataFrame:
    return pd.DataFrame({"class_id": range(len(names)), "name": names, "display_name": names})


def most_of(questions: list[Question], **changes: Any) -> float:
    """Dollars that the questions can cost at most, one request each."""
    settings = settings_of(**changes)
    price = Price.of(settings)
    assert price is not None
    return sum(price.most([request], settings) for request in requests(questions, settings))


class Run:
    """One data set's cache, asked again and again."""

    def __init__(self, folder: Path) -> None:
        self.responses = Responses(folder)

    def __call__(self, server: LLMServer | None, questions: list[Question], **changes: Any) -> pd.DataFrame:
        limits = {name: changes.pop(name) for name in ("concurrency", "timeout", "tries") if name in changes}
        endpoint = Endpoint(base_url=server.url, key=KEY, backoff=0.01, **limits) if server else None
        return answers.collect(questions, settings_of(**changes), self.responses, endpoint=endpoint, poll=0.01)


def test_keys_are_those_of_every_earlier_version() -> None:
    """They were paid for: a change here makes every answer in the users' caches unknown."""
    prompt = "Describe a cat"
    chat = settings_of(model="m", temperature=0.5, reasoning_effort=None, max_tokens=300)
    reasoning = settings_of(model="m", temperature=None, reasoning_effort="low", max_tokens=300)
    completion = settings_of(model="m", style="completion", temperature=1, max_tokens=50)
    asked = [
        *requests([Question("cat", prompt, "test/1", 2, "sentences"), Question("cat", prompt, "test/1", 1, "attributes")], chat),
        *requests([Question("cat", prompt, "test/1", 1, "plain", ("sha256:0",))], chat),
        *requests([Question("cat", prompt, "test/1", 1, "sentences")], reasoning),
        *requests([Question("cat", prompt, "test/1", 1, "plain")], completion),
    ]
    assert [request.key[:16] for request in asked] == [
        "6ded4876555ce349",
        "1f4afa79f8ab3b6f",
        "29fa8d2da36e95d5",
        "fa2e2e5d49246a2b",
        "c48c5ab28002188b",
        "2e6e4d736d8e051c",
    ]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "responses")


def test_each_sample_is_asked_once_and_a_new_class_alone_is_asked_for(run: Run) -> None:
    with LLMServer() as server:
        rows = run(server, questions_of("cat", "dog", samples=3))
        assert len(rows) == len(server.log) == 12 and rows["text"].is_unique
        assert rows["class"].tolist() == ["cat"] * 6 + ["dog"] * 6 and set(rows["finish_reason"]) == {GOOD}
        assert set(rows["returned_model"]) == {"gpt-6-luna-2026"} and (rows["cost"] > 0).all()
        again = run(server, questions_of("cat", "emu", "dog", samples=3))
        assert len(server.log) == 18 and {prompt.split()[-1] for prompt in server.prompts(since=12)} == {"emu"}
        assert again[again["class"] != "emu"]["text"].tolist() == rows["text"].tolist()
        run(server, questions_of("cat", samples=4))
        assert len(server.log) == 20, "more samples: those that are there stay"
        run(server, questions_of("cat"), temperature=0.5)
        assert len(server.log) == 22, "another temperature is another question"
        assert {entry["body"]["reasoning_effort"] for entry in server.log} == {"none"}
        run(server, questions_of("cat"), reasoning_effort=None)
        assert len(server.log) == 24 and "reasoning_effort" not in server.log[-1]["body"]


@pytest.mark.parametrize("fault", ["429", "500", "drop", "garbage", "truncated", "refusal", "malformed", "empty", "400"])
def test_a_fault_here_and_there_is_got_over(run: Run, fault: str) -> None:
    with LLMServer(faults=[None, fault, None, fault]) as server:  # type: ignore[list-item]
        if fault == "400":  # refused for what it asks, so not asked again in this run
            with pytest.raises(NolaError, match=r"2 requests got no answer \(400: this prompt .*6 of 8 answers are kept"):
                run(server, questions_of("cat", "dog", samples=2), concurrency=1)
        rows = run(server, questions_of("cat", "dog", samples=2), concurrency=1)
        assert len(rows) == 8 and set(rows["finish_reason"]) == {GOOD} and rows["text"].is_unique
        assert len(server.log) == 10, "eight answers and two faults"
    kept = run.responses.read()
    assert len(kept) == (10 if fault in ("truncated", "refusal", "malformed", "empty") else 8), "what was paid for is on record"


def test_an_answer_that_does_not_come_is_asked_for_again(run: Run) -> None:
    with LLMServer(faults=["slow"]) as server:  # which never answers, so that no machine is too slow for this test
        rows = run(server, questions_of("cat"), timeout=1.0, concurrency=1)
        assert len(rows) == 2 and server.prompts()[:2] == ["Prompt 0 about cat"] * 2 and "Prompt 1 about cat" in server.prompts()


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("429", "127.0.0.1 does not answer \\(429: slow down, 8 times in a row\\); 0 of 8 answers are kept"),
        ("500", "127.0.0.1 does not answer \\(500: out of order"),
        ("drop", "does not answer \\(the connection failed"),
        ("garbage", "does not answer \\(an answer that is not in OpenAI's format"),
        ("slow", "does not answer \\(no answer within 0.02 s"),
        ("401", "127.0.0.1 refuses the key; set NOLA_LLM_KEY or OPENAI_API_KEY \\(401: Incorrect API key provided: \\*\\*\\*\\)"),
        ("quota", "the quota at 127.0.0.1 is used up"),
        ("400", "127.0.0.1 refuses the request \\(400: this prompt is not to my taste"),
        ("temperature", "refuses the request \\(400: Unsupported value: 'temperature' .*set describe.temperature to null"),
        ("truncated", "gave no usable answer in 3 attempts each: length 8 \\(cat, dog\\)"),
        ("refusal", "gave no usable answer in 3 attempts each: refusal 8"),
        ("malformed", "gave no usable answer in 3 attempts each: malformed 8"),
    ],
)
def test_a_fault_for_ever_ends_with_one_sentence(run: Run, fault: str, sentence: str) -> None:
    with LLMServer(rule=lambda body: fault, retry_after="0.001") as server:
        timeout = 0.02 if fault == "slow" else 5.0
        with pytest.raises(NolaError, match=sentence) as error:
            run(server, questions_of("cat", "dog", samples=2), timeout=timeout)
        assert KEY not in str(error.value) and "\n" not in str(error.value)


def test_a_class_refused_for_ever_is_reported_and_not_paid_for_again(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    questions = questions_of("cat", "gun", "dog")
    with LLMServer(rule=lambda body: "refusal" if "0 about gun" in prompt_of(body) else None) as server:
        rows = run(server, questions)
        assert len(rows) == 5 and len(server.log) == 5 + 3
        assert capsys.readouterr().out == "no usable answer after 3 attempts: refusal 1 (gun)\n"
        run(server, questions)
        assert len(server.log) == 8
        assert len(answers.sentences(rows, classes_of("cat", "gun", "dog"))) == 10
        run(server, questions, attempts=4)
        assert len(server.log) == 9


def test_retry_after_is_kept_to_by_everybody(run: Run) -> None:
    with LLMServer(faults=["429"], retry_after="0.5") as server:
        run(server, questions_of("cat", "dog", samples=2), concurrency=1)
        first, *others = [entry["time"] for entry in server.log]
        assert len(others) == 8 and min(others) >= first + 0.5
    with LLMServer(faults=["429"], retry_after="4000") as server, pytest.raises(NolaError, match="asks to come back in 4000 s"):
        run(server, questions_of("emu"))


@pytest.mark.parametrize(("structures", "rejected"), [((), 2), (("json_object",), 1), (("json_schema",), 0)])
def test_structure_falls_back_once_and_is_remembered(run: Run, structures: tuple[str, ...], rejected: int) -> None:
    with LLMServer(structures=structures) as server:
        questions = questions_of("cat", "dog", samples=2) + questions_of("cat", form="attributes")
        rows = run(server, questions, concurrency=1)
        assert sum(entry["fault"] == "unsupported" for entry in server.log) == rejected
        assert len(rows) == 10 and len(server.log) == 10 + rejected
        table = answers.sentences(rows, classes_of("cat", "dog"))
        assert len(table) == 20 and not table["text"].str.contains("Here they are").any()
        assert table["text"].str.match(r"cat, which has answer [\d.]+ (one|two)$").sum() == 4


def test_an_endpoint_that_ignores_the_structure_is_found_out(run: Run) -> None:
    with LLMServer(rule=lambda body: "malformed" if "response_format" in body else None) as server:
        rows = run(server, questions_of("cat", "dog", samples=4), concurrency=1, attempts=9)
        assert len(rows) == 16 and len(server.log) == 16 + 6, "three malformed answers for each of two structures"


def test_completion_style_asks_for_samples_together(run: Run) -> None:
    with LLMServer() as server:
        questions = questions_of("cat", "dog", samples=5, form="plain")
        rows = run(server, questions, style="completion")
        assert len(server.log) == 4 and len(rows) == 20 and rows["text"].is_unique
        sent = server.log[0]["body"]
        assert server.log[0]["path"] == "/v1/completions" and (sent["n"], sent["stop"], sent["temperature"]) == (5, ".", 1.0)
        run(server, questions_of("cat", samples=7, form="plain"), style="completion")
        assert [entry["body"]["n"] for entry in server.log[4:]] == [2, 2]
        with pytest.raises(NolaError, match="style to chat"):
            run(server, questions_of("cat", form="attributes"), style="completion")


def test_no_more_requests_at_once_than_allowed(run: Run) -> None:
    with LLMServer(delay=0.1) as server:
        run(server, questions_of("cat", "dog", samples=3), concurrency=3)
        assert 1 < server.most_at_once <= 3


def test_the_cap_is_not_crossed_not_even_over_runs(run: Run) -> None:
    with LLMServer() as server:
        with pytest.raises(
            NolaError, match=r"stopped before describe.max_cost = \$0.01 is crossed .*of 80 answers are kept"
        ) as error:
            run(server, questions_of("cat", "dog", samples=20), price=[10.0, 100.0], max_tokens=20, max_cost=0.01)
        spent = run.responses.known().spent
        assert 0.005 < spent <= 0.01 and f"${spent:.4f} spent" in str(error.value)
        asked = len(server.log)
        with pytest.raises(NolaError, match="max_cost"):
            run(server, questions_of("cat", "dog", samples=20), price=[10.0, 100.0], max_tokens=20, max_cost=0.01)
        assert len(server.log) == asked
        with pytest.raises(NolaError, match=r"the price of llama is unknown\. Set describe.price"):
            run(server, questions_of("cat"), model="llama", price=None)
        assert len(run(server, questions_of("cat"), model="llama", price=None, max_cost=None)) == 2


def test_tries_that_got_lost_may_be_charged_and_count(run: Run) -> None:
    with LLMServer(rule=lambda body: "drop") as server:
        question = questions_of("cat", prompts=1)
        most = most_of(question)
        with pytest.raises(NolaError, match=r"stopped before describe.max_cost .* is crossed .*0 of 1 answers are kept"):
            run(server, question, max_cost=3.5 * most)
        assert len(server.log) == 3
    with LLMServer(faults=["drop", "garbage"]) as server:
        assert len(run(server, question, price=[0.0, 0.0], max_cost=0.0)) == 1, "a model of one's own costs nothing"


def test_replay_never_opens_a_socket(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with LLMServer() as server:
        rows = run(server, questions_of("cat", "dog", samples=2))

        def no(*_: object, **__: object) -> None:
            raise AssertionError("a socket")

        monkeypatch.setattr(socket, "socket", no)
        again = run(server, questions_of("cat", "dog", samples=2), mode="replay")
        assert again["text"].tolist() == rows["text"].tolist()
        with pytest.raises(NolaError, match=r"4 answers are not in the cache: cat \(1\), emu \(3\)") as error:
            run(
                server,
                questions_of("cat", "dog", samples=2)[1:] + questions_of("cat", prompts=3)[2:] + questions_of("emu", prompts=3),
                mode="replay",
            )
        assert "describe.mode is replay" in str(error.value)


def test_plan_counts_and_asks_nothing(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with LLMServer() as server:
        run(server, questions_of("cat"))
        with pytest.raises(NolaError, match="nothing was asked"):
            run(server, questions_of("cat", "dog", samples=2), mode="plan")
        assert len(server.log) == 2
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "8 answers of gpt-6-luna (chat): 2 in the cache, 0 given up, 6 to ask"
    assert said[-1] == "to ask: cat (2), dog (4)"
    likely, most, *_ = map(float, re.findall(r"\$([\d.]+)", said[2]))
    assert likely < most and 6 * 300 * 2e-6 < most < 3 * 6 * 300 * 2e-6
    assert said[2].endswith("spent so far, describe.max_cost = $5")


def test_without_a_model_and_without_a_cache_there_is_nothing(run: Run) -> None:
    assert run(None, questions_of("cat")).empty
    with LLMServer() as server:
        run(server, questions_of("cat"))
    assert len(run(None, questions_of("cat"))) == 2
    with pytest.raises(NolaError, match=r"2 answers are not in the cache: dog \(2\), and no language model is configured"):
        run(None, questions_of("cat", "dog"))


def test_answers_about_a_renamed_class_are_found(run: Run) -> None:
    old = [Question("sea_lion", "Describe a sea lion", "test/1", 2, "attributes")]
    new = [Question("sea lion", "Describe a sea lion", "test/1", 2, "attributes")]
    with LLMServer() as server:
        run(server, old)
        rows = run(server, new)
        assert len(server.log) == 2, "the same words: nothing is paid for twice"
    assert [question.class_name for question in rows["question"]] == ["sea lion"] * 2
    table = answers.sentences(rows, classes_of("sea lion"))
    assert set(table["class"]) == {"sea lion"} and table["text"].str.startswith("sea lion, which has").all() and len(table) == 4
