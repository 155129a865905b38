"""One OpenAI-compatible endpoint: limits, back-off, and the strictest structure of answers it is capable of."""

from __future__ import annotations

import asyncio
import email.utils
import math
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

from nola_core.descriptions.answers import GOOD, STRUCTURES, Structure, judged
from nola_core.descriptions.endpoint import Endpoint
from nola_core.descriptions.limits import Bucket
from nola_core.descriptions.prices import counted, tokens_likely
from nola_core.descriptions.request import ImageLoader, Request, Sampling, body
from nola_core.errors import NolaError

if TYPE_CHECKING:
    import openai  # imported where it is needed: it takes seconds

LONGEST_WAIT = 300.0
"""An endpoint that asks for a longer pause than this (seconds) is given up."""
ANSWER_BYTES = 8_000_000
"""Of a reply, unpacked; a larger one is not read to its end."""
TOKEN_LETTERS = 100
"""A text of more letters for each token that was allowed is no answer."""
NAME_LETTERS = 200
"""So much is kept of the name a model gives itself."""
MALFORMED = 3
"""So many malformed answers without a well-formed one, and an endpoint is taken not to heed that structure."""
PARAMETERS = ("temperature", "reasoning_effort")
"""Of the settings, what some models do not know."""


@dataclass(frozen=True)
class Answer:
    """One sample: the text that is kept (without any secret) and whether it is of use."""

    text: str
    finish_reason: str
    """`answers.GOOD`, else why it is of no use."""
    tokens_in: int | None
    tokens_out: int | None
    model: str
    """The model that answered, in the endpoint's own words."""


class RequestFailedError(Exception):
    """One request got no answer; others may."""


class EndpointFailedError(NolaError):
    """No request will get an answer: a sentence for the user."""


class Client:
    """Asks one model; `async with` opens and closes the connections."""

    def __init__(
        self,
        endpoint: Endpoint,
        sampling: Sampling,
        *,
        load_image: ImageLoader | None = None,
        tries: int = 8,
        backoff: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`tries` HTTP requests at most for one call; `backoff` seconds before the second, then twice as long each time."""
        self.endpoint = endpoint
        self.sampling = sampling
        self.load_image = load_image
        self.tries = tries
        self.backoff = backoff
        self.clock = clock
        self.sleep = sleep
        self.structure: Structure = STRUCTURES[0]
        self.limit = "max_tokens"
        self.answered = 0
        self.in_flight = 0
        self._well_formed = False
        self._malformed = 0
        self._exhausted = 0
        self._resume_at = 0.0
        self._requests = Bucket(endpoint.requests_per_minute, clock=clock, sleep=sleep)
        self._tokens = Bucket(endpoint.tokens_per_minute, clock=clock, sleep=sleep)

    async def __aenter__(self) -> Client:
        from nola_core.descriptions.connection import connect

        self.api = connect(self.endpoint, most=ANSWER_BYTES)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.api.close()

    async def ask(
        self, group: Sequence[Request], *, lost: Callable[[], bool] = lambda: True, go: Callable[[], bool] = lambda: True
    ) -> list[Answer]:
        """The answers to samples of one question; fewer than asked for where the endpoint sends fewer.

        Args:
            group: the samples.
            lost: called after each try that may have been answered, and charged, without an answer arriving; whether to
                try again.
            go: asked right before anything is sent; whether it may be.

        Raises:
            RequestFailedError: no answer after `tries` tries, the endpoint refuses this very request, or `go` does.
            EndpointFailedError: the endpoint refuses key or model, is not there, or has nothing left to give.
        """
        import openai

        from nola_core.descriptions.connection import BodyError

        reason, tried = "", 0
        while tried < self.tries:
            if tried:
                await self.sleep(min(self.backoff * 2 ** (tried - 1), 30.0) * random.uniform(0.75, 1.0))
            structure, limit = self.structure, self.limit
            arrived = False
            try:
                return await self._once(group, structure, limit, go)
            except openai.APIStatusError as error:
                arrived = True
                if self._adapt(error, group, structure, limit):
                    continue
                self._give_up(error)
                reason = self._said(error)
                if error.status_code == 429:
                    self._hold(error)
            except (openai.APITimeoutError, TimeoutError):
                reason = f"no answer within {self.endpoint.timeout:g} s"
            except openai.APIConnectionError as error:
                reason = f"the connection failed ({type(error.__cause__).__name__})"
            except BodyError as error:
                reason = str(error)
            except (openai.APIError, ValueError, TypeError, AttributeError, RecursionError):  # no JSON, or no answer
                reason = "an answer that is no completion"
            tried += 1
            if not arrived and tried < self.tries and not lost():
                raise RequestFailedError(reason)
        self._exhausted += 1
        if self._exhausted > 1:  # two in a row: it is not the request
            raise EndpointFailedError(f"{self.endpoint.host} does not answer ({reason}, {self.tries} times in a row)")
        raise RequestFailedError(reason)

    async def _once(self, group: Sequence[Request], structure: Structure, limit: str, go: Callable[[], bool]) -> list[Answer]:
        make = partial(body, group, self.sampling, structure=structure, limit=limit, load_image=self.load_image)
        sent = await asyncio.to_thread(make) if group[0].question.images else make()
        expected = sum(tokens_likely(group, self.sampling))
        await self._requests.take()
        await self._tokens.take(expected)
        while (pause := self._resume_at - self.clock()) > 0:
            await self.sleep(pause)
        if not go():
            raise RequestFailedError("not sent")
        self.in_flight += 1
        try:
            async with asyncio.timeout(self.endpoint.timeout):
                if self.sampling.style == "completion":
                    reply: Any = await self.api.completions.create(**sent)
                else:
                    reply = await self.api.chat.completions.create(**sent)
        finally:
            self.in_flight -= 1
        answers = self.read(reply, group, structure)
        if answers[0].tokens_in is not None:
            self._tokens.give_back(expected - sum((answer.tokens_in or 0) + (answer.tokens_out or 0) for answer in answers))
        self._learn(answers, group, structure)
        self.answered += 1
        self._exhausted = 0
        return answers

    def read(self, reply: Any, group: Sequence[Request], structure: Structure) -> list[Answer]:
        """The answers in a reply of the SDK.

        Raises:
            ValueError, TypeError, AttributeError: it holds none.
        """
        choices = list(reply.choices)[: len(group)]
        if not choices:
            raise ValueError("no choices")
        longest = TOKEN_LETTERS * self.sampling.max_tokens
        tokens_in, tokens_out = counted(reply.usage, group, self.sampling)
        answers = []
        for number, choice in enumerate(choices):
            message = choice.text if self.sampling.style == "completion" else choice.message
            refused = getattr(message, "refusal", None)
            text = refused or (message if isinstance(message, str) else message.content) or ""
            text = text.encode(errors="replace").decode()  # half a character, where the token limit cut one in two
            if len(text) > longest:
                text, reason = text[:longest], "malformed"
            elif refused:
                reason = "refusal"
            elif choice.finish_reason in ("length", "content_filter"):
                reason = choice.finish_reason
            else:
                form = group[0].question.form
                if self.sampling.style == "completion" and form == "sentences":
                    text, reason = judged(" ".join(text.split()), form=form, structure="lines")
                else:
                    text, reason = judged(text, form=form, structure=structure)
            answers.append(
                Answer(
                    text=self.endpoint.redact(text),
                    finish_reason=reason,
                    tokens_in=_share(tokens_in, number, len(choices)),
                    tokens_out=_share(tokens_out, number, len(choices)),
                    model=self.endpoint.redact(str(reply.model or "").encode(errors="replace").decode())[:NAME_LETTERS],
                )
            )
        return answers

    def _learn(self, answers: Sequence[Answer], group: Sequence[Request], structure: Structure) -> None:
        if group[0].question.form == "plain" or structure != self.structure:
            return
        self._well_formed = self._well_formed or any(answer.finish_reason == GOOD for answer in answers)
        self._malformed += sum(answer.finish_reason == "malformed" for answer in answers)
        if not self._well_formed and self._malformed >= MALFORMED:
            self._lower()

    def _lower(self) -> None:
        self.structure = STRUCTURES[min(STRUCTURES.index(self.structure) + 1, len(STRUCTURES) - 1)]
        self._well_formed, self._malformed = False, 0

    def _adapt(self, error: openai.APIStatusError, group: Sequence[Request], structure: Structure, limit: str) -> bool:
        """Whether the request should be sent again in another manner, because the endpoint does not know this one."""
        if error.status_code not in (400, 404, 422, 500, 501) or error.code == "content_filter":
            return False
        if (structure, limit) != (self.structure, self.limit):
            return True  # another request has found out already
        words = str(error.message).lower()
        if error.status_code != 404 and "max_completion_tokens" in words and self.limit == "max_tokens":
            self.limit = "max_completion_tokens"
            return True
        if any(name in words for name in PARAMETERS):
            return False  # part of the request's key: left out, it would be another request
        about = any(word in words for word in ("response_format", "json_schema", "json_object", "schema", "structured", "guided"))
        structured = self.sampling.style == "chat" and group[0].question.form != "plain"
        if not structured or self._well_formed or self.structure == STRUCTURES[-1]:
            return False
        if about or error.status_code in (400, 422):
            self._lower()
            return True
        return False

    def _give_up(self, error: openai.APIStatusError) -> None:
        """Raise where trying again is in vain."""
        host, said = self.endpoint.host, self._said(error)
        if error.status_code in (401, 403):
            raise EndpointFailedError(f"{host} refuses the key; set NOLA_LLM_KEY or OPENAI_API_KEY ({said})") from None
        if error.status_code == 404:
            raise EndpointFailedError(f"{host} has no model '{self.sampling.model}', or its base URL is wrong ({said})") from None
        if error.status_code == 429 and error.code == "insufficient_quota":
            raise EndpointFailedError(f"the quota at {host} is used up ({said})") from None
        if error.status_code not in (408, 409, 429) and error.status_code < 500:
            if not self.answered and error.code != "content_filter":
                refused = [name for name in PARAMETERS if name in said]
                hint = f"; set describe.{refused[0]} to null" if refused else ""
                raise EndpointFailedError(f"{host} refuses the request ({said}){hint}") from None
            raise RequestFailedError(said) from None

    def _hold(self, error: openai.APIStatusError) -> None:
        """Let nothing out before the time the endpoint names: one 429 speaks for all."""
        wait = retry_after(error.response.headers)
        if wait > LONGEST_WAIT:
            raise EndpointFailedError(f"{self.endpoint.host} asks to come back in {wait:.0f} s; run again then") from None
        self._resume_at = max(self._resume_at, self.clock() + wait)

    def _said(self, error: openai.APIStatusError) -> str:
        message = error.body.get("message") if isinstance(error.body, dict) else None
        words = " ".join(message.split())[:200] if isinstance(message, str) else ""
        return self.endpoint.redact(f"{error.status_code}: {words}" if words else f"status {error.status_code}")


def retry_after(headers: Any) -> float:
    """Seconds, 0 to 1e9, that `Retry-After-Ms` or `Retry-After` (seconds or a date) ask to wait; 0 without either."""
    wait = math.nan
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        with suppress(KeyError, ValueError):
            wait = float(headers[name]) / unit
            break
    else:
        with suppress(KeyError, ValueError, TypeError, OverflowError):
            wait = email.utils.parsedate_to_datetime(headers["retry-after"]).timestamp() - time.time()
    return 0.0 if math.isnan(wait) else min(max(wait, 0.0), 1e9)


def _share(total: int | None, number: int, count: int) -> int | None:
    """The part of a sum that falls to item `number` of `count`, so that the parts add up."""
    return None if total is None else total // count + (number < total % count)
