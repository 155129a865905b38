"""Mode `batch`: the Batch API, half the price within a day. What was submitted is on the disk, so that any run can fetch it.

`responses/_batches.json` holds one entry a batch: `token` (ours, written before the batch is made and carried in its metadata),
`id` (the endpoint's, null until it is known), `sampling`, `requests`. It is there until the answers are in the cache.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from pydantic import TypeAdapter

from nola_core.config import Describe
from nola_core.descriptions.asking.cache import Recorder, Responses
from nola_core.descriptions.asking.endpoint import NO_ANSWER, PATHS, Endpoint
from nola_core.descriptions.asking.request import PARAMETERS, Answer, ImageLoader, Manner, Price, Request, body
from nola_core.errors import NolaError
from nola_core.files import read_json, remove, write_json
from nola_core.http_response import BodyError

REBATE = 0.5  # what a batch costs, as a share of the same requests one by one
POLL_SECONDS = 30.0
MOST_REQUESTS = 20_000  # a batch; endpoints take 50,000
MOST_BYTES = 100_000_000  # of a batch's file; endpoints take 200 MB
MOST_ANSWERED = 300_000_000  # bytes of a file of answers; a batch has no more requests than can be answered in it
MOST_LISTED = 10_000  # batches searched for one whose id was lost
OVER = ("completed", "expired", "cancelled", "failed")
"""States in which answers can be fetched, perhaps not all; the rest of the requests is submitted again."""
Entry = dict[str, Any]


def submitted(responses: Responses) -> set[str]:
    """The keys of the requests that are under way in a batch."""
    return {request["key"] for entry in _entries(responses) for request in entry["requests"]}


class Job:
    """One visit to the Batch API."""

    def __init__(self, recorder: Recorder, settings: Describe, endpoint: Endpoint, load_image: ImageLoader | None) -> None:
        self.recorder, self.settings, self.endpoint, self.load_image = recorder, settings, endpoint, load_image
        self.price = Price.of(settings, share=REBATE, capped=True)
        self.path: Any = f"/v1{PATHS[settings.style]}"
        self.entries = _entries(recorder.responses)

    def run(self, wanted: Sequence[Request], *, poll: float | None) -> None:
        """Submit what is missing of `wanted`, wait for all batches under way and bring their answers into the cache.

        They are looked at every `poll` seconds; None: once. Fetch what is ready, submit what is missing, and return.

        Raises:
            NolaError: the cap might be crossed, or the endpoint refuses (its reason is given).
        """
        import openai

        try:
            asyncio.run(self._run(wanted, poll=poll))
        except (openai.OpenAIError, BodyError, *NO_ANSWER) as error:
            said = f"failed: {self.endpoint.explain(error)}. Run again: nothing is submitted twice."
            raise NolaError(f"the Batch API of {self.endpoint.host} {said}") from None

    async def _run(self, wanted: Sequence[Request], *, poll: float | None) -> None:
        async with self.endpoint.connect(most=MOST_ANSWERED, max_retries=5) as self.api:
            await self._adopt()
            while True:
                for entry in list(self.entries):
                    await self._fetch(entry)
                under_way = submitted(self.recorder.responses)
                lacking = self.recorder.known.lacking(wanted, attempts=self.settings.attempts)
                if missing := [request for request in lacking if request.key not in under_way]:
                    self._check_cap([request for request in wanted if request.key in under_way] + missing)
                    for part in self._files(missing):
                        await self._submit(part)
                if poll is None or not self.entries:
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

    def _save(self, entries: list[Entry]) -> None:
        self.entries = entries
        file = self.recorder.responses.folder / "_batches.json"
        write_json(file, entries) if entries else remove(file)

    def _check_cap(self, requests: Sequence[Request]) -> None:
        if self.price is None or self.settings.max_cost is None:
            return
        spent = self.recorder.responses.known().spent
        most = spent + sum(self.price.most([request], self.settings) for request in requests)
        if most > self.settings.max_cost:
            raise NolaError(
                f"batches of {len(requests):,} requests may bring the cost to ${most:.4f}, above describe.max_cost = "
                f"${self.settings.max_cost:g} (${spent:.4f} spent so far); raise it or ask for less. Nothing more was submitted."
            )

    def _files(self, requests: Sequence[Request]) -> Iterator[dict[bytes, Request]]:
        """One file after another: its lines, and the request of each."""
        answered = 4096 + 4 * 6 * self.settings.max_tokens  # the frame, and four letters a token as \uXXXX
        room = max(1, min(MOST_REQUESTS, MOST_ANSWERED // answered))
        part: dict[bytes, Request] = {}
        size = 0
        for request in requests:
            sent = body([request], self.settings, Manner(), load_image=self.load_image)
            line = {"custom_id": request.key, "method": "POST", "url": self.path, "body": sent}
            data = json.dumps(line).encode() + b"\n"
            if part and (len(part) == room or size + len(data) > MOST_BYTES):
                yield part
                part, size = {}, 0
            part[data] = request
            size += len(data)
        yield part

    async def _submit(self, part: dict[bytes, Request]) -> None:
        uploaded = await self.api.files.create(file=("nola.jsonl", b"".join(part)), purpose="batch")
        token, requests = uuid.uuid4().hex, [asdict(request) for request in part.values()]
        sampling = self.settings.model_dump(include=PARAMETERS | {"model"})
        entry: Entry = {"token": token, "id": None, "sampling": sampling, "requests": requests}
        self._save([*self.entries, entry])  # before the batch is made: a kill in between leaves a token to look for
        made = await self.api.batches.create(
            input_file_id=uploaded.id, endpoint=self.path, completion_window="24h", metadata={"nola": token}
        )
        if not isinstance(made.id, str) or not made.id:
            raise NolaError(f"{self.endpoint.host} gave the batch no id; run again, and NoLA looks for it.")
        entry["id"] = made.id
        self._save(self.entries)
        print(f"submitted {len(part):,} requests as batch {made.id}")

    async def _fetch(self, entry: Entry) -> None:
        """Bring the answers of a batch into the cache if it is over, and forget it."""
        state = await self.api.batches.retrieve(entry["id"])
        if state.status not in OVER:
            return
        reasons = [str(error.message) for error in ((state.errors.data if state.errors else None) or [])]
        settings = self.settings.model_copy(update=entry["sampling"])
        requests = {request.key: request for request in TypeAdapter(list[Request]).validate_python(entry["requests"])}
        pairs: list[tuple[Request, Answer]] = []
        for name in filter(None, (state.output_file_id, state.error_file_id)):
            for line in filter(bytes.strip, (await self.api.files.content(name)).content.split(b"\n")):
                request = None
                try:
                    found = json.loads(line)
                    response = found.get("response") or {}
                    if response.get("status_code") == 200:
                        request = requests.pop(found["custom_id"])  # each is answered once
                        (answer,) = self.endpoint.read(response["body"], [request], settings, Manner())
                        pairs.append((request, answer))
                    else:
                        reasons.append(str(found.get("error") or response.get("body") or "no response"))
                except NO_ANSWER:
                    if request:
                        pairs.append((request, Answer("", "malformed")))  # and paid for
                    reasons.append("a line that is no answer")
        self.recorder.keep(pairs, settings, self.price)  # also what the class list no longer asks for
        self._save([other for other in self.entries if other is not entry])
        print(f"batch {entry['id']} is {state.status}: {len(pairs):,} of {len(entry['requests']):,} answers")
        if not pairs:
            said = self.endpoint.redact(reasons[0][:300]) if reasons else "no reason given"
            raise NolaError(
                f"batch {entry['id']} is {state.status} without an answer ({said}); try again, or set describe.mode to live."
            )


def _entries(responses: Responses) -> list[Entry]:
    file = responses.folder / "_batches.json"
    return read_json(file) if file.exists() else []
