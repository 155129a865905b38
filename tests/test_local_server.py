"""Who is answered, and with which headers."""

from __future__ import annotations

import socket
import struct
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from nola_core.errors import NolaError
from nola_core.local_server import Reply, as_json, served


def answer(path: list[str], query: Mapping[str, str]) -> Reply | None:
    if path == ["gone"]:
        raise NolaError("the image\n\x1b[31m is gone.")
    return as_json([path, dict(query)]) if path[0] in ("", "echo") else None


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served(answer) as found:
        yield found


def get(address: str, **headers: str) -> tuple[int, str, Mapping[str, Any]]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=named)) as reply:
            return reply.status, reply.read().decode(), reply.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), error.headers


def test_paths_and_queries_arrive_in_parts(address: str) -> None:
    assert get(address)[:2] == (200, '[[""], {}]')
    assert get(f"{address}echo/7?text=a%26b")[:2] == (200, '[["echo", "7"], {"text": "a&b"}]')


def test_nobody_is_answered_without_the_secret_or_from_another_page(address: str) -> None:
    origin = address.rsplit("/", 2)[0]
    for wrong in (f"{origin}/", f"{origin}/echo", f"{origin}/wrong/", f"{origin}/%C3%A4/", f"{address}nothing"):
        assert get(wrong)[0] == 404, wrong
    assert get(address, Host="evil.invalid")[0] == 404  # a name that was bound to this machine
    assert get(address, Sec_Fetch_Site="cross-site")[0] == 404
    assert get(address, Host=address.split("/")[2], Sec_Fetch_Site="same-origin")[0] == 200


def test_a_page_may_load_nothing_from_elsewhere(address: str) -> None:
    for found in (get(address), get(f"{address}nothing")):
        policy = found[2]["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'") and "unsafe" not in policy and "http" not in policy and "*" not in policy
        assert found[2]["Cache-Control"] == "no-store" and found[2]["X-Content-Type-Options"] == "nosniff"


def test_an_error_is_one_printable_line(address: str) -> None:
    assert get(f"{address}gone")[:2] == (404, r"the image\n\x1b[31m is gone.")


def test_the_address_is_of_this_machine_and_hard_to_guess(address: str) -> None:
    assert address.startswith("http://127.0.0.1:") and len(address.split("/")[3]) >= 32


def test_a_page_that_is_closed_while_it_loads_says_nothing(address: str, capfd: pytest.CaptureFixture[str]) -> None:
    host, port = address.split("/")[2].split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"GET / HT")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing resets the connection
    time.sleep(0.3)
    assert get(address)[0] == 200 and capfd.readouterr().err == ""
