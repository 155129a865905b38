"""The SDK's connections: no body larger than it may be, whatever the server sends and however it is packed."""

from __future__ import annotations

import importlib
import zlib
from functools import partial
from typing import Any

import openai

from nola_core.descriptions.endpoint import Endpoint


class BodyError(openai.OpenAIError):
    """What came is too large or cannot be unpacked; a few words for the user."""


def connect(endpoint: Endpoint, *, most: int, max_retries: int = 0) -> openai.AsyncOpenAI:
    """The SDK's client.

    Args:
        endpoint: the server.
        most: bytes a body may have, unpacked.
        max_retries: tries of the SDK's own; none by default, because those of `Client` keep to the limits.
    """
    http = openai.DefaultAsyncHttpxClient(
        headers={"Accept-Encoding": "gzip"}, event_hooks={"response": [partial(_bounded, most=most)]}
    )
    return openai.AsyncOpenAI(
        api_key=endpoint.key or "none",
        base_url=endpoint.base_url,
        max_retries=max_retries,
        timeout=endpoint.timeout,
        http_client=http,
    )


async def _bounded(response: Any, *, most: int) -> None:
    """Read a body before the SDK does, which would read and unpack all of it; that of a redirect or an error as well."""
    packing = response.headers.pop("content-encoding", "identity").lower()
    if packing not in ("identity", "gzip"):
        raise BodyError(f"an answer packed as {packing[:20]}, which was not asked for")
    unpack = zlib.decompressobj(zlib.MAX_WBITS | 16)
    body = bytearray()
    try:
        async for chunk in response.stream:
            body += chunk if packing == "identity" else unpack.decompress(chunk, most + 1 - len(body))
            if len(body) > most:
                raise BodyError(f"an answer of more than {most / 1e6:g} MB")
    except zlib.error:
        raise BodyError("an answer that cannot be unpacked") from None
    finally:
        await response.stream.aclose()
    library = importlib.import_module(type(response).__module__.partition(".")[0])  # httpx, or httpx2 with newer SDKs
    response.stream = library.ByteStream(bytes(body))
