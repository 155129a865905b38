"""One OpenAI-compatible endpoint: address and key, limits, back-off, and the strictest structure of answers it is capable of."""

from __future__ import annotations

import asyncio
import email.utils
import importlib
import math
import os
import random
import time
import zlib
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from aiolimiter import AsyncLimiter

from nola_core.descriptions.cost import counted, tokens_likely
from nola_core.descriptions.request import GOOD, STRUCTURES, Answer, ImageLoader, Request, Sampling, Structure, body, judged
from nola_core.errors import NolaError

if TYPE_CHECKING:
    import openai  # imported where it is needed: it takes seconds

PATHS = {"chat": "/chat/completions", "completion": "/completions"}
LONGEST_WAIT = 300.0  # seconds; an endpoint that asks for a longer pause is given up
ANSWER_BYTES = 8_000_000  # of a reply, unpacked; a larger one is not read to its end
TOKEN_LETTERS = 100  # a text of more letters for each token that was allowed is no answer
NAME_LETTERS = 200  # kept of the name a model gives itself
MALFORMED = 3  # malformed answers without a well-formed one, and an endpoint is taken not to heed that structure
PARAMETERS = ("temperature", "reasoning_effort")  # of the settings, what some models do not know
NO_ANSWER = (ValueError, TypeError, AttributeError, KeyError, RecursionError)
"""What reading a reply raises that is no JSON or no completion."""


@dataclass(frozen=True)
class Endpoint:
    """An OpenAI-compatible server and how hard it may be pressed; from the environment alone, so that no file has the key."""

    base_url: str = field(default="https://api.openai.com/v1", repr=False)
    key: str = field(default="", repr=False)
    concurrency: int = 8  # requests in flight
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    timeout: float = 60.0  # seconds a request may take

    @classmethod
    def from_environment(cls) -> Endpoint | None:
        """None where neither a key nor a server of one's own is configured; docs/descriptions.md lists the variables.

        Raises:
            NolaError: a number is none, or the URL or the key is none.
        """
        key = (os.environ.get("NOLA_LLM_KEY") or os.environ.get("OPENAI_API_KEY") or "").strip()
        base_url = (os.environ.get("NOLA_LLM_BASE_URL") or os.environ.get("OPENAI_BASE_URL") or "").strip()
        if not key and not base_url:
            return None
        numbers = [_number(f"NOLA_LLM_{name}") for name in ("CONCURRENCY", "RPM", "TPM", "TIMEOUT")]
        found = cls(base_url or cls.base_url, key, numbers[0] or 8, numbers[1], numbers[2], float(numbers[3] or 60))
        if not found.base_url.startswith(("http://", "https://")) or not found.host:
            raise NolaError("the base URL of the language model must look like http://localhost:8000/v1 (NOLA_LLM_BASE_URL).")
        if not key.isascii() or not key.isprintable():
            raise NolaError("the language model's key holds characters no key has; set NOLA_LLM_KEY or OPENAI_API_KEY again.")
        return found

    @property
    def host(self) -> str:
        """What may be shown of the URL."""
        with suppress(ValueError):  # half a bracket
            return urlsplit(self.base_url).hostname or ""
        return ""

    def redact(self, text: str) -> str:
        """`text` without the key and without what stands in the URL beside the host.

        What is shorter than eight characters is no secret but a placeholder such as `none`, which may well be in a text.
        """
        parts = urlsplit(self.base_url)
        for secret in (self.key, parts.password, parts.username, parts.query):
            if secret and len(secret) >= 8:
                text = text.replace(secret, "***")
        return text


class RequestFailedError(Exception):
    """One request got no answer; others may."""


class EndpointFailedError(NolaError):
    """No request will get an answer: a sentence for the user."""


class BodyError(Exception):
    """What came is too large or cannot be unpacked: a few words for the user."""


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
        self.endpoint, self.sampling, self.load_image = endpoint, sampling, load_image
        self.tries, self.backoff, self.clock, self.sleep = tries, backoff, clock, sleep
        self.structure: Structure = STRUCTURES[0]
        self.limit = "max_tokens"
        self.in_flight = self.cut_off = 0
        self._answered = self._well_formed = False
        self._malformed = self._exhausted = 0
        self._resume_at = 0.0
        self._pace = [_limiter(limit) for limit in (endpoint.requests_per_minute, endpoint.tokens_per_minute)]

    async def __aenter__(self) -> Client:
        self.api = connect(self.endpoint, most=ANSWER_BYTES)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.api.close()

    async def ask(
        self, group: Sequence[Request], *, lost: Callable[[], bool] = lambda: True, go: Callable[[], bool] = lambda: True
    ) -> list[Answer]:
        """The answers to samples of one question; fewer than asked for where the endpoint sends fewer.

        Args:
            group: the samples.
            lost: called after each try that may have been charged without an answer arriving; whether to try again.
            go: asked before anything is sent; whether it may be.

        Raises:
            RequestFailedError: no answer after `tries` tries, the endpoint refuses this very request, or `go` does.
            EndpointFailedError: the endpoint refuses key or model, is not there, or has nothing left to give.
        """
        import openai

        reason, tried = "", 0
        while tried < self.tries:
            if tried and go():
                await self.sleep(min(self.backoff * 2 ** (tried - 1), 30.0) * random.uniform(0.75, 1.0))
            manner, arrived = (self.structure, self.limit), False
            try:
                return await self._once(group, manner, go)
            except openai.APIStatusError as error:
                if self._adapt(error, group, manner):
                    continue
                arrived, reason = True, self._said(error)
                self._give_up(error, reason)
            except (openai.APITimeoutError, TimeoutError):
                reason = f"no answer within {self.endpoint.timeout:g} s"
            except (openai.APIConnectionError, BodyError) as error:
                cause = error.__cause__ or error
                reason = str(cause) if isinstance(cause, BodyError) else f"the connection failed ({type(cause).__name__})"
            except (openai.APIError, *NO_ANSWER):
                reason = "an answer that is no completion"
            tried += 1
            if not arrived and tried < self.tries and not lost():
                raise RequestFailedError(reason)
        self._exhausted += 1
        if self._exhausted > 1:  # two in a row: it is not the request
            raise EndpointFailedError(f"{self.endpoint.host} does not answer ({reason}, {self.tries} times in a row)")
        raise RequestFailedError(reason)

    async def _once(self, group: Sequence[Request], manner: tuple[Structure, str], go: Callable[[], bool]) -> list[Answer]:
        make = partial(body, group, self.sampling, structure=manner[0], limit=manner[1], load_image=self.load_image)
        sent = await asyncio.to_thread(make) if group[0].question.images else make()
        for limiter, amount in zip(self._pace, (1, sum(tokens_likely(group, self.sampling))), strict=True):
            while limiter and amount > 0 and go():
                await limiter.acquire(min(limiter.max_rate, amount))
                amount -= int(limiter.max_rate)
        while go() and (pause := self._resume_at - self.clock()) > 0:
            await self.sleep(pause)
        if not go():
            raise RequestFailedError("not sent")
        self.in_flight += 1
        try:
            async with asyncio.timeout(self.endpoint.timeout):
                reply = await self.api.post(PATHS[self.sampling.style], cast_to=object, body=sent)
        except asyncio.CancelledError:
            self.cut_off += 1
            raise
        finally:
            self.in_flight -= 1
        answers = self.read(reply, group, manner[0])
        if group[0].question.form != "plain" and manner[0] == self.structure:
            self._well_formed = self._well_formed or any(answer.finish_reason == GOOD for answer in answers)
            self._malformed += sum(answer.finish_reason == "malformed" for answer in answers)
            if not self._well_formed and self._malformed >= MALFORMED:
                self._lower()
        self._answered, self._exhausted = True, 0
        return answers

    def read(self, reply: Any, group: Sequence[Request], structure: Structure) -> list[Answer]:
        """The answers in the JSON of a reply; one of `NO_ANSWER` is raised where it holds none."""
        choices = reply["choices"][: len(group)]
        if not choices:
            raise ValueError("no choices")
        form, completion = group[0].question.form, self.sampling.style == "completion"
        tokens = counted(reply.get("usage"), group, self.sampling)
        model = self.endpoint.redact(_whole(str(reply.get("model") or "")))[:NAME_LETTERS]
        answers = []
        for number, choice in enumerate(choices):
            message = {"content": choice["text"]} if completion else choice["message"]
            refused = message.get("refusal")
            text = _whole(refused or message["content"] or "")
            if len(text) > (longest := TOKEN_LETTERS * self.sampling.max_tokens):
                text, reason = text[:longest], "malformed"
            elif refused or choice.get("finish_reason") in ("length", "content_filter"):
                reason = "refusal" if refused else choice["finish_reason"]
            elif completion and form == "sentences":
                text, reason = judged(" ".join(text.split()), form=form, structure="lines")
            else:
                text, reason = judged(text, form=form, structure=structure)
            tokens_in, tokens_out = (None if n is None else n // len(choices) + (number < n % len(choices)) for n in tokens)
            answers.append(Answer(self.endpoint.redact(text), reason, tokens_in, tokens_out, model))
        return answers

    def _lower(self) -> None:
        self.structure = STRUCTURES[min(STRUCTURES.index(self.structure) + 1, len(STRUCTURES) - 1)]
        self._well_formed, self._malformed = False, 0

    def _adapt(self, error: openai.APIStatusError, group: Sequence[Request], manner: tuple[Structure, str]) -> bool:
        """Whether the request should be sent again in another manner, because the endpoint does not know this one."""
        words, status = str(error.message).lower(), error.status_code
        if status not in (400, 404, 422, 500, 501) or error.code == "content_filter":
            return False
        if manner != (self.structure, self.limit):
            return True  # another request has found out already
        if status != 404 and "max_completion_tokens" in words and self.limit == "max_tokens":
            self.limit = "max_completion_tokens"
            return True
        structured = self.sampling.style == "chat" and group[0].question.form != "plain"
        if not structured or self._well_formed or self.structure == STRUCTURES[-1] or any(name in words for name in PARAMETERS):
            return False  # a parameter is part of the request's key: left out, it would be another request
        if status in (400, 422) or any(word in words for word in ("response_format", "json_", "schema", "structured", "guided")):
            self._lower()
            return True
        return False

    def _give_up(self, error: openai.APIStatusError, said: str) -> None:
        """Raise where trying again is in vain; after a 429 let nothing out before the time it names: it speaks for all."""
        host, status, failed = self.endpoint.host, error.status_code, ""
        wait = retry_after(error.response.headers) if status == 429 else 0.0
        self._resume_at = max(self._resume_at, self.clock() + wait)
        if status in (401, 403):
            failed = f"{host} refuses the key; set NOLA_LLM_KEY or OPENAI_API_KEY ({said})"
        elif status == 404:
            failed = f"{host} has no model '{self.sampling.model}', or its base URL is wrong ({said})"
        elif status == 429 and error.code == "insufficient_quota":
            failed = f"the quota at {host} is used up ({said})"
        elif wait > LONGEST_WAIT:
            failed = f"{host} asks to come back in {wait:.0f} s; run again then"
        elif status not in (408, 409, 429) and status < 500:
            if self._answered or error.code == "content_filter":
                raise RequestFailedError(said) from None
            refused = [name for name in PARAMETERS if name in said]
            failed = f"{host} refuses the request ({said})" + (f"; set describe.{refused[0]} to null" if refused else "")
        if failed:
            raise EndpointFailedError(failed) from None

    def _said(self, error: openai.APIStatusError) -> str:
        message = error.body.get("message") if isinstance(error.body, dict) else None
        words = " ".join(message.split())[:200] if isinstance(message, str) else ""
        return self.endpoint.redact(f"{error.status_code}: {words}" if words else f"status {error.status_code}")


def connect(endpoint: Endpoint, *, most: int, max_retries: int = 0) -> openai.AsyncOpenAI:
    """The SDK's client, for bodies of at most `most` bytes; by default without tries of its own, which keep to no limits."""
    import openai

    hooks: Any = {"response": [partial(_bounded, most=most)]}
    http = openai.DefaultAsyncHttpxClient(headers={"Accept-Encoding": "gzip"}, event_hooks=hooks)
    options: Any = {"max_retries": max_retries, "timeout": endpoint.timeout, "http_client": http}
    return openai.AsyncOpenAI(api_key=endpoint.key or "none", base_url=endpoint.base_url, **options)


async def _bounded(response: Any, *, most: int) -> None:
    """Read a body before the SDK does, which would read and unpack all of it; that of a redirect or an error as well."""
    packing = response.headers.pop("content-encoding", "identity").lower()
    if packing not in ("identity", "gzip"):
        raise BodyError(f"an answer packed as {packing[:20]}, which was not asked for")
    unpack = zlib.decompressobj(zlib.MAX_WBITS | 16)
    content = bytearray()
    try:
        async for chunk in response.stream:
            content += chunk if packing == "identity" else unpack.decompress(chunk, most + 1 - len(content))
            if len(content) > most:
                raise BodyError(f"an answer of more than {most / 1e6:g} MB")
    except zlib.error:
        raise BodyError("an answer that cannot be unpacked") from None
    finally:
        await response.stream.aclose()
    library = importlib.import_module(type(response).__module__.partition(".")[0])  # httpx, or httpx2 with newer SDKs
    response.stream = library.ByteStream(bytes(content))


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


def _limiter(per_minute: int | None) -> AsyncLimiter | None:
    """At most so many a minute, in helpings of a second's worth."""
    return AsyncLimiter(max(per_minute // 60, 1), max(60 / per_minute, 1)) if per_minute else None


def _whole(text: str) -> str:
    """`text` with a sign for each half of a character, as the token limit leaves them."""
    return text.encode(errors="replace").decode()


def _number(name: str) -> int | None:
    text = os.environ.get(name, "").strip()
    if text and (not text.isdecimal() or int(text) < 1):
        raise NolaError(f"{name}={text} must be a number from 1.")
    return int(text) if text else None
