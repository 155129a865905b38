"""A run killed at any moment: nothing that was answered is asked again, and nothing is lost."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pytest

from nola_core.descriptions import Responses
from nola_core.descriptions.asking import live
from nola_core.descriptions.asking.cache import COMPACT_PARTS
from nola_core.errors import NolaError
from tests.descriptions.asking.test_live import Run, questions_of
from tests.descriptions.llm_server import LLMServer

NAMES = tuple(f"class {number}" for number in range(100))


def ask(folder: Path, server_url: str, grace: float = live.GRACE_SECONDS) -> None:
    """What the killed process does."""
    live.GRACE_SECONDS = grace

    class Server:
        url = server_url

    try:
        Run(folder)(Server(), questions_of(*NAMES), concurrency=4)  # type: ignore[arg-type]
    except NolaError as error:
        (folder / "said").write_text(str(error))
        os._exit(1)


def start(folder: Path, server: LLMServer, *grace: float) -> multiprocessing.process.BaseProcess:
    context = multiprocessing.get_context("forkserver")  # a clean process that has imported everything, forked for each run
    context.set_forkserver_preload(["tests.descriptions.asking.test_kills", "openai"])
    process = context.Process(target=ask, args=(folder, server.url, *grace))
    process.start()
    return process


def wait_for(server: LLMServer, asked: int, process: multiprocessing.process.BaseProcess) -> None:
    while len(server.log) < asked and process.is_alive():
        time.sleep(0.002)


def test_over_twenty_kills_no_answered_request_is_sent_again(tmp_path: Path) -> None:
    folder = tmp_path / "responses"
    draw = random.Random(7)
    with LLMServer() as server:
        answered: set[str] = set()
        for _ in range(20):
            before = len(server.log)
            process = start(folder, server)
            wait_for(server, before + draw.randint(1, 12), process)
            time.sleep(draw.random() * 0.02)
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            assert not answered & set(server.prompts(since=before))
            kept = set(Responses(folder).read()["prompt"])
            assert answered <= kept
            answered = kept
        before = len(server.log)
        process = start(folder, server)
        process.join()
        assert process.exitcode == 0 and not answered & set(server.prompts(since=before))
        rows = Responses(folder).read()
        assert sorted(rows["prompt"]) == sorted(question.prompt for question in questions_of(*NAMES)) and rows["key"].is_unique
        assert len(server.log) <= 200 + 20 * 4, "what was in flight at a kill may be asked again, nothing else"
    assert not (folder / "_journal.jsonl").exists() and len(list(folder.glob("*.parquet"))) <= COMPACT_PARTS + 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_waits_for_the_answers_under_way(tmp_path: Path, number: signal.Signals) -> None:
    folder = tmp_path / "responses"
    with LLMServer(delay=0.05) as server:
        process = start(folder, server)
        wait_for(server, 6, process)
        assert process.pid is not None
        os.kill(process.pid, number)
        process.join()
        kept = Responses(folder).read()
        assert process.exitcode == 1 and len(kept) == len(server.log) < 200
        assert (folder / "said").read_text().startswith(f"stopped by {number.name}; {len(kept)} of 200 answers are kept")


def test_after_a_signal_no_request_begins(tmp_path: Path) -> None:
    """Tries that were to be repeated are not, and nobody waits for them: nothing is paid for any more."""
    with LLMServer(rule=lambda body: "429", retry_after="200", delay=0.05) as server:
        process = start(tmp_path / "responses", server, 600.0)
        wait_for(server, 4, process)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGTERM)
        process.join(60)
        ended = process.exitcode
        process.kill()
        assert ended == 1 and len(server.log) == 4
    assert (tmp_path / "responses" / "said").read_text().startswith("stopped by SIGTERM; 0 of 200 answers are kept")


def test_the_grace_ends(tmp_path: Path) -> None:
    with LLMServer(faults=[None, "slow", "slow", "slow", "slow"]) as server:  # type: ignore[list-item]
        process = start(tmp_path / "responses", server, 0.3)
        wait_for(server, 5, process)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGTERM)
        process.join(60)
        assert process.exitcode == 1 and len(server.log) == 5
    said = (tmp_path / "responses" / "said").read_text()
    assert said.startswith("stopped by SIGTERM, 4 requests under way got no answer within 0.3 s and may be charged; 1 of 200")


def test_two_runs_at_once_do_not_ask_twice(tmp_path: Path) -> None:
    with LLMServer(delay=0.005) as server:
        processes = [start(tmp_path / "responses", server) for _ in range(2)]
        for process in processes:
            process.join()
        assert [process.exitcode for process in processes] == [0, 0] and len(server.log) == 200
