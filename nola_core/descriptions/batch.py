"""Mode `batch`: the Batch API, half the price within a day. What was submitted is on the disk, so that any run can fetch it.

`responses/_batches.json` holds one entry a batch: `token` (ours, written before the batch is made and carried in its metadata),
`id` (the endpoint's, null until it is known), `sampling`, `requests`. It is there until the answers are in the cache.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from nola_core.descriptions.answers import GOOD, STRUCTURES
from nola_core.descriptions.asking import row, unanswered
from nola_core.descriptions.client import Answer, Client
from nola_core.descriptions.endpoint import Endpoint
from nola_core.descriptions.prices import Price
from nola_core.descriptions.question import Question
from nola_core.descriptions.request import ImageLoader, Request, Sampling, body
from nola_core.descriptions.responses import Known, Recorder, Responses
from nola_core.errors import NolaError
from nola_core.files import read_json, remove, write_json

REBATE = 0.5
"""What a batch costs, as a share of the same requests one by one."""
MOST_REQUESTS = 20_000
"""Requests a batch; endpoints take 50,000."""
MOST_BYTES = 100_000_000
"""Of a batch's file; endpoints take 200 MB."""
MOST_ANSWERED = 300_000_000
"""Bytes of a file of answers; a batch has no more requests than `_most_requests` can be answered in it."""
MOST_LISTED = 10_000
"""Batches that are looked through for one whose id was lost."""
PATHS = {"chat": "/v1/chat/completions", "completion": "/v1/completions"}
OVER = {"completed", "expired", "cancelled"}
"""States in which answers can be fetched, perhaps not all; the rest of the requests is submitted again."""


class Batches:
    """The batches of one data set that are under way."""

    def __init__(self, responses: Responses) -> None:
        self.file = responses.folder / "_batches.json"
        self.entries: list[dict[str, Any]] = read_json(self.file) if self.file.exists() else []

    def keys(self) -> set[str]:
        """The requests that have been submitted."""
        return {request["key"] for entry in self.entries for request in entry["requests"]}

    def save(self) -> None:
        """Write the entries; without any the file goes."""
        if self.entries:
            write_json(self.file, self.entries)
        else:
            remove(self.file)


def fetch(
    wanted: Sequence[Request],
    responses: Responses,
    *,
    sampling: Sampling,
    endpoint: Endpoint,
    price: Price | None,
    attempts: int,
    max_cost: float | None,
    load_image: ImageLoader | None = None,
    say: Callable[[str], None] = print,
    poll: float = 30.0,
    wait: bool = True,
) -> None:
    """Submit what is missing of `wanted`, wait for all batches under way and bring their answers into the cache.

    Args:
        price: what a token costs, before the rebate of batches; None if unknown.
        poll: seconds between two looks at the batches.
        wait: False: fetch what is ready, submit what is missing, and return.

    Raises:
        NolaError: the cap might be crossed, or the endpoint refuses (its reason is given).
    """
    import openai

    with responses.recording() as recorder:
        job = _Job(responses, recorder, sampling, endpoint, price and price * REBATE, load_image, say)
        try:
            asyncio.run(job.run(wanted, attempts=attempts, max_cost=max_cost, poll=poll, wait=wait))
        except (openai.OpenAIError, RecursionError) as error:
            status = f" ({error.status_code})" if isinstance(error, openai.APIStatusError) else ""
            said = endpoint.redact(" ".join(str(getattr(error, "message", error)).split())[:200])
            raise NolaError(
                f"the Batch API of {endpoint.host} failed{status}: {said}. Run again: nothing is submitted twice."
            ) from None


class _Job:
    def __init__(
        self,
        responses: Responses,
        recorder: Recorder,
        sampling: Sampling,
        endpoint: Endpoint,
        price: Price | None,
        load_image: ImageLoader | None,
        say: Callable[[str], None],
    ) -> None:
        self.responses = responses
        self.recorder = recorder
        self.sampling = sampling
        self.endpoint = endpoint
        self.price = price
        self.load_image = load_image
        self.say = say
        self.batches = Batches(responses)

    async def run(self, wanted: Sequence[Request], *, attempts: int, max_cost: float | None, poll: float, wait: bool) -> None:
        from nola_core.descriptions.connection import connect

        async with connect(self.endpoint, most=MOST_ANSWERED, max_retries=5) as self.api:
            await self._adopt()
            while True:
                known = self.responses.known()
                for entry in list(self.batches.entries):
                    await self._fetch(entry, known)
                under_way = self.batches.keys()
                missing = [r for r in unanswered(wanted, known, attempts=attempts) if r.key not in under_way]
                if missing:
                    self._check_cap([r for r in wanted if r.key in under_way] + missing, known.spent, max_cost)
                    for lines, part in self._files(missing):
                        await self._submit(lines, part)
                if not wait or not self.batches.entries:
                    return
                await asyncio.sleep(poll)

    async def _adopt(self) -> None:
        """Find the ids of batches whose making was interrupted; drop those that were never made."""
        lost = {entry["token"]: entry for entry in self.batches.entries if entry["id"] is None}
        if lost:
            seen = 0
            async for made in self.api.batches.list(limit=100):
                seen += 1
                token = (made.metadata or {}).get("nola", "")
                if token in lost:
                    lost.pop(token)["id"] = made.id
                if not lost or seen == MOST_LISTED:
                    break
            self.batches.entries = [entry for entry in self.batches.entries if entry["id"] is not None]
            self.batches.save()

    def _check_cap(self, requests: Sequence[Request], spent: float, max_cost: float | None) -> None:
        if self.price is None or max_cost is None:
            return
        price = self.price
        most = spent + sum(price.most([request], self.sampling) for request in requests)
        if most > max_cost:
            raise NolaError(
                f"batches of {len(requests):,} requests may bring the cost to ${most:.4f}, above describe.max_cost = "
                f"${max_cost:g} (${spent:.4f} spent so far); raise it or ask for less. Nothing more was submitted."
            )

    def _files(self, requests: Sequence[Request]) -> Iterator[tuple[list[bytes], list[Request]]]:
        """The lines of one file after another, and the requests in it."""
        lines: list[bytes] = []
        part: list[Request] = []
        size = 0
        for request in requests:
            sent = body([request], self.sampling, structure=STRUCTURES[0], load_image=self.load_image)
            path = PATHS[self.sampling.style]
            line = json.dumps({"custom_id": request.key, "method": "POST", "url": path, "body": sent}).encode() + b"\n"
            if lines and (len(lines) == self._most_requests() or size + len(line) > MOST_BYTES):
                yield lines, part
                lines, part, size = [], [], 0
            lines.append(line)
            part.append(request)
            size += len(line)
        yield lines, part

    def _most_requests(self) -> int:
        """As many as have room in one file of answers: four bytes a token as JSON writes them, and the frame around."""
        return max(1, min(MOST_REQUESTS, MOST_ANSWERED // (4 * 6 * self.sampling.max_tokens + 4096)))

    async def _submit(self, lines: Sequence[bytes], requests: Sequence[Request]) -> None:
        uploaded = await self.api.files.create(file=("nola.jsonl", b"".join(lines)), purpose="batch")
        entry: dict[str, Any] = {
            "token": uuid.uuid4().hex,
            "id": None,
            "sampling": asdict(self.sampling),
            "requests": [asdict(request) for request in requests],
        }
        self.batches.entries.append(entry)
        self.batches.save()  # before the batch is made: a kill in between leaves a token to look for
        path: Any = PATHS[self.sampling.style]
        made = await self.api.batches.create(
            input_file_id=uploaded.id, endpoint=path, completion_window="24h", metadata={"nola": entry["token"]}
        )
        if not isinstance(made.id, str) or not made.id:
            raise NolaError(f"{self.endpoint.host} gave the batch no id; run again, which looks for it.")
        entry["id"] = made.id
        self.batches.save()
        self.say(f"submitted {len(requests):,} requests as batch {made.id}")

    async def _fetch(self, entry: dict[str, Any], known: Known) -> None:
        """Bring the answers of a batch into the cache if it is over, and forget it."""
        state = await self.api.batches.retrieve(entry["id"])
        if state.status != "failed" and state.status not in OVER:
            return
        reasons = [str(error.message) for error in ((state.errors.data if state.errors else None) or [])]
        lines: list[bytes] = []
        for name in filter(None, (state.output_file_id, state.error_file_id)):
            lines += (await self.api.files.content(name)).content.split(b"\n")
        got = self._join(lines, entry, known, reasons)
        self.batches.entries.remove(entry)
        self.batches.save()
        self.say(f"batch {entry['id']} is {state.status}: {got:,} of {len(entry['requests']):,} answers")
        if not got:
            said = self.endpoint.redact(reasons[0][:300]) if reasons else "no reason given"
            raise NolaError(
                f"batch {entry['id']} is {state.status} without an answer ({said}); try again, or describe.mode live."
            )

    def _join(self, lines: Sequence[bytes], entry: dict[str, Any], known: Known, reasons: list[str]) -> int:
        """Record the answers; how many there were. They are kept whether or not the class list still asks for them."""
        from openai.types import Completion
        from openai.types.chat import ChatCompletion

        sampling = Sampling(**entry["sampling"])
        kind = Completion if sampling.style == "completion" else ChatCompletion
        reader = Client(self.endpoint, sampling)
        requests = {made["key"]: _request(made) for made in entry["requests"]}
        rows = []
        for line in filter(bytes.strip, lines):
            try:
                found = json.loads(line)
                response = found.get("response") or {}
                if response.get("status_code") != 200:
                    reasons.append(str(found.get("error") or response.get("body") or "no response"))
                    continue
                request = requests.pop(found["custom_id"])  # each is answered once
            except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
                reasons.append("a line that is no answer")
                continue
            try:
                answer = reader.read(kind.construct(**response["body"]), [request], STRUCTURES[0])[0]
            except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
                answer = Answer("", "malformed", None, None, "")  # and paid for
            failures = known.failures[request.key]
            most = self.price.most([request], sampling) if self.price else 0.0
            attempt = len(failures) + 1
            rows.append(row(request, answer, attempt=attempt, price=self.price, fallback=most, sampling=sampling))
            known.spent += rows[-1]["cost"] or 0.0
            if answer.finish_reason == GOOD:
                known.good.add(request.key)
            else:
                failures.append(answer.finish_reason)
        self.recorder.record(rows)
        return len(rows)


def _request(made: dict[str, Any]) -> Request:
    question = Question(**{**made["question"], "images": tuple(made["question"]["images"])})
    return Request(key=made["key"], question=question, sample=made["sample"])
