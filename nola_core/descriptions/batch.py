"""Mode `batch`: the Batch API, half the price within a day. What was submitted is on the disk, so that any run can fetch it.

`responses/_batches.json` holds one entry a batch: `token` (ours, written before the batch is made and carried in its metadata),
`id` (the endpoint's, null until it is known), `sampling`, `requests`. It is there until the answers are in the cache.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nola_core.config import Describe
from nola_core.descriptions.client import NO_ANSWER, PATHS, BodyError, Client, Endpoint, connect
from nola_core.descriptions.cost import price_in
from nola_core.descriptions.request import STRUCTURES, Answer, ImageLoader, Question, Request, Sampling, body
from nola_core.descriptions.responses import Recorder, Responses
from nola_core.errors import NolaError
from nola_core.files import read_json, remove, write_json

REBATE = 0.5  # what a batch costs, as a share of the same requests one by one
MOST_REQUESTS = 20_000  # a batch; endpoints take 50,000
MOST_BYTES = 100_000_000  # of a batch's file; endpoints take 200 MB
MOST_ANSWERED = 300_000_000  # bytes of a file of answers; a batch has no more requests than can be answered in it
MOST_LISTED = 10_000  # batches that are looked through for one whose id was lost
OVER = ("completed", "expired", "cancelled", "failed")
"""States in which answers can be fetched, perhaps not all; the rest of the requests is submitted again."""


def submitted(responses: Responses) -> set[str]:
    """The keys of the requests that are under way in a batch."""
    return {request["key"] for entry in _entries(responses) for request in entry["requests"]}


@dataclass
class Job:
    """One visit to the Batch API, by whoever may write to the cache; `say` takes the sentences for the user."""

    recorder: Recorder
    settings: Describe
    endpoint: Endpoint
    load_image: ImageLoader | None = None
    say: Callable[[str], None] = print

    def __post_init__(self) -> None:
        self.sampling = Sampling.of(self.settings)
        price = price_in(self.settings, capped=True)
        self.price = price and price * REBATE
        self.file = self.recorder.responses.folder / "_batches.json"
        self.entries = _entries(self.recorder.responses)

    def run(self, wanted: Sequence[Request], *, poll: float = 30.0, wait: bool = True) -> None:
        """Submit what is missing of `wanted`, wait for all batches under way and bring their answers into the cache.

        They are looked at every `poll` seconds; without `wait` once: fetch what is ready, submit what is missing, and return.

        Raises:
            NolaError: the cap might be crossed, or the endpoint refuses (its reason is given).
        """
        import openai

        try:
            asyncio.run(self._run(wanted, poll=poll, wait=wait))
        except (openai.OpenAIError, BodyError, *NO_ANSWER) as error:
            status = f" ({error.status_code})" if isinstance(error, openai.APIStatusError) else ""
            said = "what it said is none of its answers" if isinstance(error, NO_ANSWER) else str(error.__cause__ or error)
            said = self.endpoint.redact(" ".join(said.split())[:200])
            raise NolaError(
                f"the Batch API of {self.endpoint.host} failed{status}: {said}. Run again: nothing is submitted twice."
            ) from None

    async def _run(self, wanted: Sequence[Request], *, poll: float, wait: bool) -> None:
        async with connect(self.endpoint, most=MOST_ANSWERED, max_retries=5) as self.api:
            await self._adopt()
            while True:
                for entry in list(self.entries):
                    await self._fetch(entry)
                under_way = submitted(self.recorder.responses)
                missing = self.recorder.known.lacking(wanted, attempts=self.settings.attempts)
                if missing := [request for request in missing if request.key not in under_way]:
                    self._check_cap([request for request in wanted if request.key in under_way] + missing)
                    for lines, part in self._files(missing):
                        await self._submit(lines, part)
                if not wait or not self.entries:
                    return
                await asyncio.sleep(poll)

    async def _adopt(self) -> None:
        """Find the ids of batches whose making was interrupted; drop those that were never made."""
        lost = {entry["token"]: entry for entry in self.entries if entry["id"] is None}
        if not lost:
            return
        seen = 0
        async for made in self.api.batches.list(limit=100):
            if entry := lost.pop((made.metadata or {}).get("nola", ""), None):
                entry["id"] = made.id
            seen += 1
            if not lost or seen == MOST_LISTED:
                break
        self._save([entry for entry in self.entries if entry["id"] is not None])

    def _save(self, entries: list[dict[str, Any]]) -> None:
        self.entries = entries
        if entries:
            write_json(self.file, entries)
        else:
            remove(self.file)

    def _check_cap(self, requests: Sequence[Request]) -> None:
        if self.price is None or self.settings.max_cost is None:
            return
        spent = self.recorder.responses.known().spent
        most = spent + sum(self.price.most([request], self.sampling) for request in requests)
        if most > self.settings.max_cost:
            raise NolaError(
                f"batches of {len(requests):,} requests may bring the cost to ${most:.4f}, above describe.max_cost = "
                f"${self.settings.max_cost:g} (${spent:.4f} spent so far); raise it or ask for less. Nothing more was submitted."
            )

    def _files(self, requests: Sequence[Request]) -> Iterator[tuple[list[bytes], list[Request]]]:
        """The lines of one file after another, and the requests in it."""
        answered = 4096 + 4 * 6 * self.sampling.max_tokens  # the frame, and four letters a token as \uXXXX
        room = max(1, min(MOST_REQUESTS, MOST_ANSWERED // answered))
        lines: list[bytes] = []
        part: list[Request] = []
        size = 0
        for request in requests:
            sent = body([request], self.sampling, structure=STRUCTURES[0], load_image=self.load_image)
            path = f"/v1{PATHS[self.sampling.style]}"
            line = json.dumps({"custom_id": request.key, "method": "POST", "url": path, "body": sent}).encode() + b"\n"
            if lines and (len(lines) == room or size + len(line) > MOST_BYTES):
                yield lines, part
                lines, part, size = [], [], 0
            lines.append(line)
            part.append(request)
            size += len(line)
        yield lines, part

    async def _submit(self, lines: Sequence[bytes], requests: Sequence[Request]) -> None:
        uploaded = await self.api.files.create(file=("nola.jsonl", b"".join(lines)), purpose="batch")
        entry: dict[str, Any] = {"token": uuid.uuid4().hex, "id": None, "sampling": asdict(self.sampling)}
        entry["requests"] = [asdict(request) for request in requests]
        self._save([*self.entries, entry])  # before the batch is made: a kill in between leaves a token to look for
        path: Any = f"/v1{PATHS[self.sampling.style]}"
        metadata = {"nola": entry["token"]}
        made = await self.api.batches.create(input_file_id=uploaded.id, endpoint=path, completion_window="24h", metadata=metadata)
        if not isinstance(made.id, str) or not made.id:
            raise NolaError(f"{self.endpoint.host} gave the batch no id; run again, which looks for it.")
        entry["id"] = made.id
        self._save(self.entries)
        self.say(f"submitted {len(requests):,} requests as batch {made.id}")

    async def _fetch(self, entry: dict[str, Any]) -> None:
        """Bring the answers of a batch into the cache if it is over, and forget it."""
        state = await self.api.batches.retrieve(entry["id"])
        if state.status not in OVER:
            return
        reasons = [str(error.message) for error in ((state.errors.data if state.errors else None) or [])]
        lines: list[bytes] = []
        for name in filter(None, (state.output_file_id, state.error_file_id)):
            lines += (await self.api.files.content(name)).content.split(b"\n")
        pairs = self._joined(lines, entry, reasons)
        self.recorder.keep(pairs, Sampling(**entry["sampling"]), self.price)  # also what the class list no longer asks for
        self._save([other for other in self.entries if other is not entry])
        self.say(f"batch {entry['id']} is {state.status}: {len(pairs):,} of {len(entry['requests']):,} answers")
        if not pairs:
            said = self.endpoint.redact(reasons[0][:300]) if reasons else "no reason given"
            raise NolaError(
                f"batch {entry['id']} is {state.status} without an answer ({said}); try again, or describe.mode live."
            )

    def _joined(self, lines: Sequence[bytes], entry: dict[str, Any], reasons: list[str]) -> list[tuple[Request, Answer]]:
        """Requests and their answers; why others have none is added to `reasons`."""
        reader = Client(self.endpoint, Sampling(**entry["sampling"]))
        requests = {made["key"]: _request(made) for made in entry["requests"]}
        pairs = []
        for line in filter(bytes.strip, lines):
            try:
                found = json.loads(line)
                response = found.get("response") or {}
                if response.get("status_code") != 200:
                    reasons.append(str(found.get("error") or response.get("body") or "no response"))
                    continue
                request = requests.pop(found["custom_id"])  # each is answered once
            except NO_ANSWER:
                reasons.append("a line that is no answer")
                continue
            try:
                pairs.append((request, reader.read(response["body"], [request], STRUCTURES[0])[0]))
            except NO_ANSWER:
                pairs.append((request, Answer("", "malformed")))  # and paid for
        return pairs


def _entries(responses: Responses) -> list[dict[str, Any]]:
    file = responses.folder / "_batches.json"
    return read_json(file) if file.exists() else []


def _request(made: dict[str, Any]) -> Request:
    question = Question(**{**made["question"], "images": tuple(made["question"]["images"])})
    return Request(key=made["key"], question=question, sample=made["sample"])
