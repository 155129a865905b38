"""The page in a real browser, answered by keyboard; and what its server refuses."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from nola_core.trust.answers import FOLDER, read_answers
from nola_core.trust.judging import Judging, opened
from nola_core.trust.page import Page, served
from tests.browser import ENTER, Browser, browser, needs_browser, until
from tests.trust.example import write_predicted

ROOT = Path(__file__).parent.parent.parent
HOSTILE = (
    "<img src=x onerror=\"document.title='broken'\">",
    "</script><script>document.title='broken'</script>",
    'it\'s "quoted" & `ticked` ${1+1}',
    "\u202eright to left\u202c \u05e9\u05dc\u05d5\u05dd",
    "\U0001f426\u200d\U0001f525 phoenix",
    "long " * 2000,
    '=HYPERLINK("http://example.invalid")',
)


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    with browser() as found:
        yield found


def image_of(root: Path, image_id: str) -> Image.Image:
    return Image.open(root / "images" / image_id).convert("RGB")


@contextmanager
def page(root: Path, *, labels: int = 12) -> Iterator[tuple[str, Judging]]:
    with (
        opened(root, "toy", labels=labels, seed=1) as judging,
        served(Page(judging, "toy", lambda one: image_of(root, one))) as address,
    ):
        yield address, judging


def press(window: Browser, keys: str, judging: Judging) -> None:
    """Press keys, each after the page has shown the answer to the one before."""
    for key in keys:
        before = judging.progress.place
        window.press(key)
        until(lambda before=before: judging.progress.place != before, f"the answer to {key}")
        window.wait(f"return !busy && (!state.question || state.question.place === {judging.progress.place})")


@needs_browser
def test_a_person_answers_by_keyboard(tmp_path: Path, window: Browser) -> None:
    truth = write_predicted(tmp_path)
    window.requests()
    with page(tmp_path) as (address, judging):
        window.open(address)
        window.wait("return state && state.question && document.querySelector('#view img').naturalWidth > 0")
        first = judging.question
        assert first is not None
        shown = window.run("return [...document.querySelectorAll('#options .name')].map(one => one.textContent)")
        assert shown == list(first.options) == sorted(first.options)
        press(window, "2s", judging)
        answers = read_answers(judging.folder)
        assert (answers[first.image_id].verdict, answers[first.image_id].label) == ("class", first.options[1])
        assert [one.verdict for one in answers.values()] == ["class", "skip"]
        press(window, "uu", judging)
        assert judging.judged == 0 and [one.verdict for one in read_answers(judging.folder).values()] == ["withdrawn"] * 2
        window.press("n")
        window.wait("return document.activeElement.id === 'query'")
        window.press("zzz" + ENTER)  # a mistyped name says nothing
        assert window.run("return at('search').open") and judging.judged == 0
        window.run("at('query').value = ''")
        window.press("gn")
        window.press(ENTER)
        until(lambda: judging.judged == 1, "the class that was searched for")
        assert read_answers(judging.folder)[first.image_id].label == "gnu"
        window.wait("return !busy && state.judged === 1")
        window.press("n")
        window.wait("return document.activeElement.id === 'query'")
        window.press(ENTER)
        until(lambda: judging.judged == 2, "none of them")
        window.wait("return !busy && state.judged === 2")
        while (question := judging.question) is not None:
            right = truth[question.image_id]
            press(window, str(question.options.index(right) + 1) if right in question.options else "1", judging)
            assert "%" not in window.text("body")
        assert "last image" in window.text() and "%" not in window.text("#last")
        window.press(ENTER)
        window.wait("return state.figure")
        found = judging.estimate
        assert found is not None and f"measured on {found.labels} images" in window.text("#end")
    wild = [one for one in window.requests() if not one.startswith((address, "data:"))]
    assert not wild


@needs_browser
def test_hostile_names_are_text(tmp_path: Path, window: Browser) -> None:
    write_predicted(tmp_path, classes=HOSTILE)
    window.requests()
    with page(tmp_path) as (address, judging):
        window.open(address)
        window.wait("return state && state.question")
        window.press("n")
        window.wait("return document.querySelectorAll('#found li').length > 1")
        listed = window.run("return [...document.querySelectorAll('#found .name')].map(one => one.textContent)")
        assert sorted(listed) == sorted(HOSTILE)
        assert window.run("return document.querySelectorAll('img').length") == 1
        assert "broken" not in window.run("return document.title")
        assert window.run("return document.documentElement.scrollWidth <= window.innerWidth")
        assert judging.judged == 0
    assert not [one for one in window.requests() if not one.startswith((address, "data:"))]


@needs_browser
def test_two_classes_have_two_keys_and_another_tab_answers_nothing_twice(tmp_path: Path, window: Browser) -> None:
    write_predicted(tmp_path, classes=("left", "right"))
    with page(tmp_path) as (address, judging):
        window.open(address)
        window.wait("return state && state.question")
        window.press("3")
        press(window, "2", judging)
        assert judging.judged == 1
        post(address, {"place": 0, "verdict": "class", "class": 0})  # the tab that still shows the first image
        assert judging.judged == 1 and len((judging.folder / "answers.jsonl").read_text().splitlines()) == 1


@needs_browser
def test_a_kill_loses_nothing_and_the_command_goes_on(tmp_path: Path, window: Browser) -> None:
    write_predicted(tmp_path)
    folder = tmp_path / "data" / "toy" / FOLDER
    for turn, stop in enumerate((signal.SIGKILL, signal.SIGINT)):
        command = start(tmp_path)
        assert command.stdout is not None
        address = command.stdout.readline().strip()
        window.open(address)
        window.wait(f"return state && state.judged === {5 * turn}")
        for done in range(5 * turn, 5 * turn + 5):
            window.press("1")
            window.wait(f"return !busy && state.judged === {done + 1}")
        command.send_signal(stop)
        assert command.wait() == (-9 if stop is signal.SIGKILL else 130)
        assert len(read_answers(folder)) == 5 * turn + 5
        window.press("1")
        window.wait("return at('problem').textContent.includes('does not run any more')")
    with (folder / "answers.jsonl").open("a") as file:
        file.write('{"image_id": "half a li')  # as a power cut leaves it
    command = start(tmp_path)
    assert command.stdout is not None
    window.open(command.stdout.readline().strip())
    window.wait("return state && state.judged === 10")
    for done in (10, 11):
        window.press("1")
        window.wait(f"return !busy && state.judged === {done + 1}")
    window.wait("return !at('last').hidden")
    window.press(ENTER)
    out, _ = command.communicate()
    assert command.returncode == 0 and re.search(r"accuracy \d+\.\d%, 95 % interval .* measured on 12 images", out)
    assert len(read_answers(folder)) == 12


def start(root: Path) -> subprocess.Popen[str]:
    """`nola audit toy --labels 12` in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", "import sys; from flows.cli import main; sys.exit(main())", "audit", "toy", "--labels", "12"]
    return subprocess.Popen(
        [*command, "--no-browser"], cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def post(address: str, body: object, **headers: str) -> dict[str, object]:
    request = urllib.request.Request(
        address + "answer", json.dumps(body).encode(), {"Content-Type": "application/json", **headers}
    )
    with urllib.request.urlopen(request) as reply:
        return dict(json.load(reply))


def status(address: str, data: bytes | None = None, **headers: str) -> int:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with urllib.request.urlopen(urllib.request.Request(address, data, named)) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_only_who_has_the_address_is_answered(tmp_path: Path) -> None:
    write_predicted(tmp_path)
    with page(tmp_path) as (address, judging):
        origin = address.rsplit("/", 2)[0]
        said = json.dumps({"place": 0, "verdict": "skip"}).encode()
        assert status(address) == status(address + "state") == status(address + "image/0") == 200
        for wrong in (
            f"{origin}/",
            f"{origin}/wrong/",
            f"{origin}/wrong/state",
            f"{address}image/999",
            f"{address}../../params.yaml",
        ):
            assert status(wrong) == 404
        assert status(address + "state", Host="evil.invalid") == 404  # a name that was bound to this machine
        assert status(f"{origin}/wrong/answer", said, Content_Type="application/json") == 404
        assert status(address + "answer", said, Content_Type="text/plain") == 404  # as a form of another page could
        assert status(address + "answer", b"[]", Content_Type="application/json") == 400
        assert status(address + "answer", b"x" * 70_000, Content_Type="application/json") == 413
        assert (
            status(address + "answer", b'{"place": 0, "verdict": "class", "class": 99}', Content_Type="application/json") == 409
        )
        assert judging.progress.place == 0
        with urllib.request.urlopen(address) as reply:
            policy = reply.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "'unsafe" not in policy
        assert post(address, {"place": 0, "verdict": "skip"})["skipped"] == 1


def test_an_image_that_has_gone_says_so_and_can_be_skipped(tmp_path: Path) -> None:
    write_predicted(tmp_path)

    def gone(image_id: str) -> Image.Image:
        raise FileNotFoundError(2, "No such file", image_id)

    with opened(tmp_path, "toy", labels=12, seed=1) as judging, served(Page(judging, "toy", gone)) as address:
        assert status(address + "image/0") == 404
        assert post(address, {"place": 0, "verdict": "skip"})["skipped"] == 1
