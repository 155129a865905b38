"""The Batch API: submitted once, fetched once, whatever is interrupted in between."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nola_core.descriptions import Responses
from nola_core.descriptions.asking import answers
from nola_core.descriptions.asking.endpoint import Endpoint
from nola_core.errors import NolaError
from tests.descriptions.asking.test_live import KEY, Run, most_of, questions_of, settings_of
from tests.descriptions.llm_server import LLMServer

QUESTIONS = questions_of("cat", "dog", samples=2)


def submit(folder: Path, server: LLMServer, *, names: tuple[str, ...] = ("cat", "dog")) -> int:
    """One visit that does not wait; the answers there are."""
    return len(
        answers.collect(
            questions_of(*names, samples=2),
            settings_of(mode="batch"),
            Responses(folder),
            endpoint=Endpoint(base_url=server.url, key=KEY),
            poll=None,
        )
    )


def test_a_batch_is_submitted_and_joined_with_what_failed_asked_again(tmp_path: Path) -> None:
    run = Run(tmp_path)
    with LLMServer(faults=["500", "truncated"]) as server:
        rows = run(server, QUESTIONS, mode="batch")
        assert len(rows) == 8 and len(server.batches) == 2 and len(server.log) == 10
        assert rows["cost"].sum() == pytest.approx((rows["tokens_in"] * 1e-6 + rows["tokens_out"] * 2e-6).sum() / 2), "half price"
        assert run(server, QUESTIONS)["text"].tolist() == rows["text"].tolist() and len(server.log) == 10, "live finds them"
    assert not (tmp_path / "_batches.json").exists()


def test_a_batch_survives_restarts(tmp_path: Path) -> None:
    with LLMServer() as server:
        server.polls_until_done = 3
        for _ in range(3):
            assert submit(tmp_path, server) == 0 and len(server.batches) == 1
        with pytest.raises(NolaError, match="on their way in a batch"):
            Run(tmp_path)(server, QUESTIONS)
        state = tmp_path / "_batches.json"
        assert KEY not in state.read_text()
        entries = json.loads(state.read_text())
        entries[0]["id"] = None  # a kill between making the batch and writing its id
        state.write_text(json.dumps(entries))
        assert submit(tmp_path, server, names=("dog",)) == 4 and len(server.batches) == 1
        assert len(Responses(tmp_path).read()) == 8, "answers about a class no longer asked for are kept too"


def test_a_batch_that_might_cross_the_cap_or_gets_no_answer(tmp_path: Path) -> None:
    run = Run(tmp_path)
    with LLMServer(rule=lambda body: "400") as server:
        with pytest.raises(NolaError, match=r"8 requests may bring the cost to .* Nothing more was submitted"):
            run(server, QUESTIONS, mode="batch", max_cost=0.001)
        assert not server.files
        with pytest.raises(NolaError, match=r"batch batch-0 is completed without an answer \(.*out of order"):
            run(server, QUESTIONS, mode="batch")


def test_what_a_batch_says_is_bounded(tmp_path: Path) -> None:
    """Counts, a line sent twice, nested too deep or of no completion: each request is booked once, what was paid is kept."""
    run = Run(tmp_path)
    most = most_of(QUESTIONS)
    counted = {"prompt_tokens": float("nan"), "completion_tokens": -(10**9)}
    with LLMServer(twist=lambda made: made["usage"].update(counted)) as server:
        assert submit(tmp_path, server) == 0
        server.advance(server.batches["batch-0"])
        lines = server.files["batch-0-output"].split(b"\n")
        broken = json.loads(lines[0])
        broken["response"]["body"] = {"choices": []}
        lines[0] = json.dumps(broken).encode()
        server.files["batch-0-output"] = b"\n".join([*lines, lines[1], b"[" * 100_000, b"7", b'{"custom_id": ["x"]}'])
        assert submit(tmp_path, server) == 7 and len(server.batches) == 2, "the broken one is asked again"
        assert run.responses.known().spent == pytest.approx(most / 2) and len(run.responses.read()) == 8


def test_a_batch_file_too_large_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nola_core.descriptions.asking.batch.MOST_ANSWERED", 100_000)
    with LLMServer() as server:
        assert submit(tmp_path, server) == 0
        server.advance(server.batches["batch-0"])
        server.files["batch-0-output"] = b" " * 200_000
        with pytest.raises(NolaError, match=r"the Batch API of 127.0.0.1 failed: an answer of more than 0.1 MB"):
            submit(tmp_path, server)
        assert (tmp_path / "_batches.json").exists()


def test_a_batch_without_an_id_is_not_taken_for_made(tmp_path: Path) -> None:
    with LLMServer() as server:
        server.batches_without_id = True
        with pytest.raises(NolaError, match="gave the batch no id"):
            submit(tmp_path, server)
        assert json.loads((tmp_path / "_batches.json").read_text())[0]["id"] is None
        server.batches_without_id = False
        assert submit(tmp_path, server) == 8 and len(server.batches) == 1, "found again by its token"


@pytest.mark.parametrize("said", [{"errors": "x"}, {"output_file_id": {"a": 1}}])
def test_a_state_that_is_none_is_one_sentence(tmp_path: Path, said: dict[str, object]) -> None:
    with LLMServer() as server:
        assert submit(tmp_path, server) == 0
        server.advance(server.batches["batch-0"])
        server.batches["batch-0"] |= said
        with pytest.raises(NolaError, match=r"the Batch API of 127.0.0.1 failed"):
            submit(tmp_path, server)
        assert (tmp_path / "_batches.json").exists()
