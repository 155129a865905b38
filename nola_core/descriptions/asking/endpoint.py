"""One OpenAI-compatible endpoint: address, key and limits, a connection, and reading its replies."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from nola_core.config import Describe
from nola_core.descriptions.asking.request import Answer, Manner, Request, counted, judged
from nola_core.errors import NolaError
from nola_core.http_response import BODY_BYTES, BodyError, bound

if TYPE_CHECKING:
    import openai  # imported where it is needed: it takes seconds

PATHS = {"chat": "/chat/completions", "completion": "/completions"}
TOKEN_LETTERS = 100  # a text with more letters than this for each token that was allowed is malformed
NAME_LETTERS = 200  # kept of the name a model gives itself
NO_ANSWER = (ValueError, TypeError, AttributeError, KeyError, RecursionError)
"""What reading a reply raises that is no JSON or no completion."""


@dataclass(frozen=True)
class Endpoint:
    """An OpenAI-compatible server and its limits; from the environment alone, so that no file has the key."""

    base_url: str = field(default="https://api.openai.com/v1", repr=False)
    key: str = field(default="", repr=False)
    concurrency: int = 8  # requests in flight
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    timeout: float = 60.0  # seconds a request may take
    tries: int = 8  # HTTP requests for one answer, at most
    backoff: float = 0.5  # seconds before the second try; twice as long before each further one

    @classmethod
    def from_environment(cls) -> Endpoint | None:
        """None where neither a key nor a server is configured; docs/descriptions.md lists the variables.

        Raises:
            NolaError: a limit is no number, or the URL or the key is malformed.
        """
        key = (os.environ.get("NOLA_LLM_KEY") or os.environ.get("OPENAI_API_KEY") or "").strip()
        base_url = (os.environ.get("NOLA_LLM_BASE_URL") or os.environ.get("OPENAI_BASE_URL") or "").strip()
        if not key and not base_url:
            return None
        concurrency, rpm, tpm, timeout = (_number(f"NOLA_LLM_{name}") for name in ("CONCURRENCY", "RPM", "TPM", "TIMEOUT"))
        found = cls(base_url or cls.base_url, key, concurrency or cls.concurrency, rpm, tpm, timeout or cls.timeout)
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
        """`text` without the key and without the password, user and query of the URL.

        Anything shorter than eight characters is no secret but a placeholder such as `none`, which a text may well contain.
        """
        parts = urlsplit(self.base_url)
        for secret in (self.key, parts.password, parts.username, parts.query):
            if secret and len(secret) >= 8:
                text = text.replace(secret, "***")
        return text

    def explain(self, error: Exception) -> str:
        """What went wrong with a request, in a few words without any secret."""
        import openai

        cause = error.__cause__ or error  # some versions of the SDK wrap it
        if isinstance(cause, BodyError):
            said = str(cause)
        elif isinstance(error, openai.APIStatusError):
            message = error.body.get("message") if isinstance(error.body, dict) else None
            said = f"{error.status_code}: {message}" if isinstance(message, str) else f"status {error.status_code}"
        elif isinstance(error, (openai.APITimeoutError, TimeoutError)):
            said = f"no answer within {self.timeout:g} s"
        elif isinstance(error, openai.APIConnectionError):
            said = f"the connection failed ({type(cause).__name__})"
        else:
            said = "an answer that is not in OpenAI's format"
        return self.redact(" ".join(said.split())[:200])

    def connect(self, *, most: int = BODY_BYTES, max_retries: int = 0) -> openai.AsyncOpenAI:
        """The SDK's client, for bodies of at most `most` bytes; by default without its own retries, which no budget books."""
        import openai

        hooks: Any = {"response": [partial(bound, most=most)]}
        http = openai.DefaultAsyncHttpxClient(headers={"Accept-Encoding": "gzip"}, event_hooks=hooks)
        options: Any = {"max_retries": max_retries, "timeout": self.timeout, "http_client": http}
        return openai.AsyncOpenAI(api_key=self.key or "none", base_url=self.base_url, **options)

    def read(self, reply: Any, group: Sequence[Request], settings: Describe, manner: Manner) -> list[Answer]:
        """The answers in the JSON of a reply; one of `NO_ANSWER` is raised where it holds none."""
        choices = reply["choices"][: len(group)]
        if not choices:
            raise ValueError("no choices")
        form, completion = group[0].question.form, settings.style == "completion"
        tokens = counted(reply.get("usage"), group, settings)
        model = self.redact(_whole(str(reply.get("model") or "")))[:NAME_LETTERS]
        longest = TOKEN_LETTERS * settings.max_tokens
        answers = []
        for number, choice in enumerate(choices):
            message = {"content": choice["text"]} if completion else choice["message"]
            refused = message.get("refusal")
            text = _whole(refused or message["content"] or "")
            if len(text) > longest:
                text, reason = text[:longest], "malformed"
            elif refused or choice.get("finish_reason") in ("length", "content_filter"):
                reason = "refusal" if refused else choice["finish_reason"]
            elif completion and form == "sentences":
                text, reason = judged(" ".join(text.split()), form=form, structure="lines")
            else:
                text, reason = judged(text, form=form, structure=manner.structure)
            tokens_in, tokens_out = (None if count is None else (count + number) // len(choices) for count in tokens)
            answers.append(Answer(self.redact(text), reason, tokens_in, tokens_out, model))
        return answers


def _whole(text: str) -> str:
    """`text` with a sign for each half of a character, as the token limit leaves them."""
    return text.encode(errors="replace").decode()


def _number(name: str) -> int | None:
    text = os.environ.get(name, "").strip()
    if text and (not text.isdecimal() or int(text) < 1):
        raise NolaError(f"{name}={text} must be a whole number from 1.")
    return int(text) if text else None
