"""What of a response is taken: bodies that were asked for, whole; waits as numbers of seconds.

tests/descriptions/asking/test_bounds.py has large bodies from a real server.
"""

from __future__ import annotations

import asyncio
import gzip

import pytest

from nola_core.http_response import BodyError, bound, retry_after

httpx = pytest.importorskip("httpx")  # openai's; newer ones bring httpx2


def body(content: bytes, packing: str) -> bytes:
    """A body as `bound` leaves it, for at most 5 bytes."""
    response = httpx.Response(200, headers={"content-encoding": packing}, stream=httpx.ByteStream(content))
    asyncio.run(bound(response, most=5))
    return bytes(asyncio.run(response.aread()))


def test_bodies_are_read_to_the_limit_and_no_further() -> None:
    assert body(b"12345", "identity") == body(gzip.compress(b"12345"), "gzip") == b"12345"
    for content, packing, sentence in (
        (b"123456", "identity", "an answer of more than"),
        (gzip.compress(b"123456"), "gzip", "an answer of more than"),
        (b"12345", "gzip", "an answer that cannot be unpacked"),
        (b"12345", "br", "an answer packed as br, which was not asked for"),
    ):
        with pytest.raises(BodyError, match=sentence):
            body(content, packing)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("5", 5), ("1e9", 1e9), ("1e400", 1e9), ("-3", 0), ("nan", 0), ("soon", 0), ("Sat, 01 Jan 0001 00:00:00 -0000", 0)],
)
def test_waits_are_numbers_of_seconds(said: str, seconds: float) -> None:
    assert retry_after({"retry-after": said}) == seconds
    assert retry_after({"retry-after-ms": said, "retry-after": "7"}) in (7, seconds / 1000, 1e9)
