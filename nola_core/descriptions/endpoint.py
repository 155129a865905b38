"""Where a model is asked, and with what key: from the environment alone, so that neither ever reaches a file."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from nola_core.errors import NolaError

OPENAI = "https://api.openai.com/v1"


@dataclass(frozen=True)
class Endpoint:
    """An OpenAI-compatible server and how hard it may be pressed."""

    base_url: str = field(default=OPENAI, repr=False)
    key: str = field(default="", repr=False)
    concurrency: int = 8
    """Requests in flight."""
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    timeout: float = 60.0
    """Seconds a request may take."""

    @classmethod
    def from_environment(cls) -> Endpoint | None:
        """None where neither a key nor a server of one's own is configured.

        `NOLA_LLM_KEY` (else `OPENAI_API_KEY`), `NOLA_LLM_BASE_URL` (else `OPENAI_BASE_URL`), `NOLA_LLM_CONCURRENCY`,
        `NOLA_LLM_RPM`, `NOLA_LLM_TPM`, `NOLA_LLM_TIMEOUT`.

        Raises:
            NolaError: a number is none, or the URL is none.
        """
        key = (os.environ.get("NOLA_LLM_KEY") or os.environ.get("OPENAI_API_KEY") or "").strip()
        base_url = (os.environ.get("NOLA_LLM_BASE_URL") or os.environ.get("OPENAI_BASE_URL") or "").strip()
        if not key and not base_url:
            return None
        if base_url and not _is_url(base_url):
            raise NolaError("the base URL of the language model must look like http://localhost:8000/v1 (NOLA_LLM_BASE_URL).")
        if not key.isascii() or not key.isprintable():
            raise NolaError(
                "the key of the language model holds characters no key has; set NOLA_LLM_KEY or OPENAI_API_KEY again."
            )
        return cls(
            base_url=base_url or OPENAI,
            key=key,
            concurrency=_number("NOLA_LLM_CONCURRENCY") or 8,
            requests_per_minute=_number("NOLA_LLM_RPM"),
            tokens_per_minute=_number("NOLA_LLM_TPM"),
            timeout=float(_number("NOLA_LLM_TIMEOUT") or 60),
        )

    @property
    def host(self) -> str:
        """What may be shown of the URL."""
        return urlsplit(self.base_url).hostname or "the endpoint"

    def redact(self, text: str) -> str:
        """`text` without the key and without what stands in the URL beside the host.

        What is shorter than eight characters is no secret but a placeholder such as `none`, which may well be in a text.
        """
        parts = urlsplit(self.base_url)
        for secret in (self.key, parts.password, parts.username, parts.query):
            if secret and len(secret) >= 8:
                text = text.replace(secret, "***")
        return text


def _is_url(text: str) -> bool:
    try:
        return text.startswith(("http://", "https://")) and bool(urlsplit(text).hostname)
    except ValueError:  # half a bracket
        return False


def _number(name: str) -> int | None:
    text = os.environ.get(name, "").strip()
    if not text:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise NolaError(f"{name}={text} must be a number from 1.")
    return int(text)
