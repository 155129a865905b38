"""Mode `live`: many requests at once, within the limits and the budget; each answer is kept the moment it arrives."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import tenacity
from aiolimiter import AsyncLimiter

from nola_core.config import Describe
from nola_core.descriptions.asking.cache import Recorder
from nola_core.descriptions.asking.endpoint import NO_ANSWER, PATHS, Endpoint
from nola_core.descriptions.asking.request import GOOD, Answer, ImageLoader, Manner, Price, Request, body, grouped, tokens_likely
from nola_core.errors import NolaError
from nola_core.http_response import BodyError, retry_after
from nola_core.progress import progress

if TYPE_CHECKING:
    import openai

GRACE_SECONDS = 10.0
"""After a signal, answers under way are waited for: they are charged either way. Whoever ends a run must give it longer."""
LONGEST_WAIT = 300.0  # seconds; a run ends where the endpoint asks for a longer pause
MALFORMED = 3  # so many malformed answers without a well-formed one: the endpoint ignores that structure
SETTINGS = ("temperature", "reasoning_effort")  # those that some models do not know
STRUCTURE_WORDS = ("response_format", "json_", "schema", "structured", "guided")  # an error about one of them


class NoAnswerError(Exception):
    """One try got no answer: why, whether it may be charged all the same, and whether to try again."""

    def __init__(self, reason: str, *, charged: bool = False, again: bool = True) -> None:
        super().__init__(reason)
        self.charged, self.again = charged, again


class Live:
    """One run that asks a model; what its requests share."""

    def __init__(self, recorder: Recorder, settings: Describe, endpoint: Endpoint, load_image: ImageLoader | None) -> None:
        self.recorder, self.settings, self.endpoint, self.load_image = recorder, settings, endpoint, load_image
        self.price = Price.of(settings, capped=True)
        self.spent = recorder.known.spent  # dollars; for what is under way, the most it can cost
        limits = (endpoint.requests_per_minute, endpoint.tokens_per_minute)  # in portions of a second's worth
        self.pace = [AsyncLimiter(max(limit // 60, 1), max(60 / limit, 1)) if limit else None for limit in limits]
        self.resume_at = 0.0  # on the loop's clock: no request is sent before
        self.manner = Manner()
        self.answered = self.well_formed = False  # whether anything was, in this manner
        self.stopped = ""  # why the run ended before its time
        self.failed: Counter[str] = Counter()  # why requests got no answer at all
        self.under_way = self.in_flight = self.malformed = self.exhausted = 0

    def run(self, wanted: Sequence[Request]) -> None:
        """Ask for what is missing of `wanted`. SIGTERM and SIGINT end the run after the answers under way.

        Raises:
            NolaError: not everything could be asked; says why and how much is kept.
        """
        asyncio.run(self._ask_all(self._lacking(wanted)))
        if left := self._lacking(wanted):
            for reason, count in self.failed.most_common(1):
                self._stop(f"{count} requests got no answer ({reason})")
            kept = f"{len(wanted) - len(left):,} of {len(wanted):,} answers are kept"
            raise NolaError(f"{self.stopped}; {kept}. Run again to ask for the rest.")

    async def _ask_all(self, missing: Sequence[Request]) -> None:
        slots, loop = asyncio.Semaphore(self.endpoint.concurrency), asyncio.get_running_loop()
        with suppress(TimeoutError), progress(total=len(missing), what="describe", unit="answers") as self.advance:
            async with self.endpoint.connect() as self.api, asyncio.timeout(None) as grace:

                def end(name: str) -> None:
                    self._stop(f"stopped by {name}")
                    if grace.when() is None:
                        grace.reschedule(loop.time() + (GRACE_SECONDS if self.in_flight else 0.0))

                for number in (signal.SIGTERM, signal.SIGINT):
                    with suppress(ValueError, RuntimeError):  # only the main thread gets signals
                        loop.add_signal_handler(number, end, number.name)
                await asyncio.gather(*(self._ask(group, slots) for group in grouped(missing, self.settings)))
        if self.in_flight:
            left = f"{self.in_flight} requests under way got no answer within {GRACE_SECONDS:g} s"
            self.stopped += f", {left} and may be charged"

    async def _ask(self, group: Sequence[Request], slots: asyncio.Semaphore) -> None:
        """Ask until the samples of `group` are answered or given up, or the run is stopped."""
        retry = tenacity.AsyncRetrying(  # the SDK's own retries are off: here each try is reserved, paced and booked
            retry=tenacity.retry_if_exception(lambda e: isinstance(e, NoAnswerError) and e.again and not self.stopped),
            stop=tenacity.stop_after_attempt(self.endpoint.tries),
            wait=tenacity.wait_random_exponential(self.endpoint.backoff, max=30.0),
            reraise=True,
        )
        try:
            async with slots:
                while group and not self.stopped:
                    group = await retry(self._once, group)
        except NoAnswerError as error:
            self.failed[str(error)] += len(group)
            self.exhausted += error.again
            if self.exhausted > 1:  # two in a row: it is not the request
                self._stop(f"{self.endpoint.host} does not answer ({error}, {self.endpoint.tries} times in a row)")

    async def _once(self, group: Sequence[Request]) -> Sequence[Request]:
        """Ask once and keep the answers: the samples that are still lacking."""
        most = self.price.most(group, self.settings) if self.price else 0.0
        limit = self.settings.max_cost
        while limit is not None and self.spent + most > limit:
            if not self.under_way:
                said = f"${self.spent:.4f} spent; raise it to go on"
                self._stop(f"stopped before describe.max_cost = ${limit:g} is crossed ({said})")
            if self.stopped:
                raise NoAnswerError("not sent", again=False)
            await asyncio.sleep(0.01)  # what is under way may cost less than was reserved for it
        self.under_way += 1
        self.spent += most
        try:
            pairs = list(zip(group, await self._answers(group), strict=False))
            self.spent += self.recorder.keep(pairs, self.settings, self.price, fallback=most / len(group)) - most
        except NoAnswerError as error:
            self.spent -= 0.0 if error.charged else most
            raise
        finally:
            self.under_way -= 1
        lacking = self._lacking(group)
        self.advance(len(group) - len(lacking), note=f"${self.spent:.2f}" if self.price else "")
        return lacking

    async def _answers(self, group: Sequence[Request]) -> list[Answer]:
        """The answers of one request."""
        import openai

        manner = self.manner
        try:
            answers = self.endpoint.read(await self._post(group, manner), group, self.settings, manner)
        except openai.APIStatusError as error:
            if self._adapt(error, group, manner):
                raise NoAnswerError(self.endpoint.explain(error)) from None
            raise self._failure(error) from None
        except (openai.APIError, TimeoutError, BodyError, *NO_ANSWER) as error:  # a try that gets lost may be charged
            raise NoAnswerError(self.endpoint.explain(error), charged=True) from None
        self.answered, self.exhausted = True, 0
        if group[0].question.form != "plain" and manner == self.manner:
            self.well_formed = self.well_formed or any(answer.finish_reason == GOOD for answer in answers)
            self.malformed += sum(answer.finish_reason == "malformed" for answer in answers)
            if not self.well_formed and self.malformed >= MALFORMED:
                self._lower()
        return answers

    async def _post(self, group: Sequence[Request], manner: Manner) -> Any:
        """The JSON of a reply, asked for when the limits allow it and unless the run is stopped."""
        sent = await asyncio.to_thread(body, group, self.settings, manner, load_image=self.load_image)  # may load images
        for limiter, amount in zip(self.pace, (1, sum(tokens_likely(group, self.settings))), strict=True):
            while limiter and amount > 0 and not self.stopped:
                await limiter.acquire(min(limiter.max_rate, amount))
                amount -= int(limiter.max_rate)
        while not self.stopped and (pause := self.resume_at - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(pause)
        if self.stopped:
            raise NoAnswerError("not sent", again=False)
        self.in_flight += 1
        try:
            async with asyncio.timeout(self.endpoint.timeout):
                reply = await self.api.post(PATHS[self.settings.style], cast_to=object, body=sent)
        except Exception:
            self.in_flight -= 1
            raise  # one that is cancelled stays in flight: nobody knows what becomes of it
        self.in_flight -= 1
        return reply

    def _lacking(self, requests: Sequence[Request]) -> list[Request]:
        return self.recorder.known.lacking(requests, attempts=self.settings.attempts)

    def _stop(self, why: str) -> None:
        self.stopped = self.stopped or why

    def _lower(self) -> None:
        looser = self.manner._replace(structure="json" if self.manner.structure == "schema" else "lines")
        self.manner, self.well_formed, self.malformed = looser, False, 0

    def _adapt(self, error: openai.APIStatusError, group: Sequence[Request], sent: Manner) -> bool:
        """Whether to send the request again in another manner, because the endpoint does not know the one it was sent in."""
        words, status = str(error.message).lower(), error.status_code
        if status not in (400, 404, 422, 500, 501) or error.code == "content_filter":
            return False
        if sent != self.manner:
            return True  # another request has found out already
        structured = self.settings.style == "chat" and group[0].question.form != "plain" and not self.well_formed
        doubted = status in (400, 422) or any(word in words for word in STRUCTURE_WORDS)
        if status != 404 and "max_completion_tokens" in words and sent.limit == "max_tokens":
            self.manner = sent._replace(limit="max_completion_tokens")
        elif structured and doubted and not any(name in words for name in SETTINGS):  # without a setting it is another request
            self._lower()
        return sent != self.manner

    def _failure(self, error: openai.APIStatusError) -> NoAnswerError:
        """What a status means for its request; stops the run where it means the same for all."""
        host, status, said = self.endpoint.host, error.status_code, self.endpoint.explain(error)
        wait = retry_after(error.response.headers) if status == 429 else 0.0
        self.resume_at = max(self.resume_at, asyncio.get_running_loop().time() + wait)  # a 429 speaks for all requests
        if status in (401, 403):
            self._stop(f"{host} refuses the key; set NOLA_LLM_KEY or OPENAI_API_KEY ({said})")
        elif status == 404:
            self._stop(f"{host} has no model '{self.settings.model}', or its base URL is wrong ({said})")
        elif status == 429 and error.code == "insufficient_quota":
            self._stop(f"the quota at {host} is used up ({said})")
        elif wait > LONGEST_WAIT:
            self._stop(f"{host} asks to come back in {wait:.0f} s; run again then")
        elif status in (408, 409, 429) or status >= 500:
            return NoAnswerError(said)
        elif not self.answered and error.code != "content_filter":
            null = "".join(f"; set describe.{name} to null" for name in SETTINGS if name in said)
            self._stop(f"{host} refuses the request ({said}){null}")
        return NoAnswerError(said, again=False)
