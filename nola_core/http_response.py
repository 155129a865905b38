"""What a server's HTTP response may cost the client: bytes of its body, and seconds to wait."""

from __future__ import annotations

import email.utils
import importlib
import math
import time
import zlib
from contextlib import suppress
from typing import Any

BODY_BYTES = 8_000_000  # of a body, unpacked; a larger one is not read to its end


class BodyError(Exception):
    """The body is too large or cannot be unpacked: a few words for the user."""


async def bound(response: Any, *, most: int) -> None:
    """Read a body before the HTTP client does, which would read and unpack all of it; that of a redirect or an error as well.

    For `event_hooks` of an async httpx client that accepts no packing but gzip.

    Raises:
        BodyError: the body has more than `most` bytes unpacked, is packed other than by gzip, or cannot be unpacked.
    """
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
    with suppress(KeyError, ValueError, TypeError, OverflowError):
        wait = email.utils.parsedate_to_datetime(headers["retry-after"]).timestamp() - time.time()
    for name, unit in (("retry-after", 1.0), ("retry-after-ms", 1000.0)):
        with suppress(KeyError, ValueError):
            wait = float(headers[name]) / unit
    return 0.0 if math.isnan(wait) else min(max(wait, 0.0), 1e9)
