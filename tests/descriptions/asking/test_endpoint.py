"""An endpoint: what the environment says of it, and what of it may be shown."""

from __future__ import annotations

import pytest

from nola_core.descriptions.asking.endpoint import Endpoint
from nola_core.errors import NolaError

KEY = "sk-canary-4f7a1c9e2b"


def test_an_endpoint_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NOLA_LLM_KEY", "OPENAI_API_KEY", "NOLA_LLM_BASE_URL", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    assert Endpoint.from_environment() is None
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    found = Endpoint.from_environment()
    assert found is not None and found.host == "api.openai.com" and KEY not in repr(found)
    for name, value in (
        ("NOLA_LLM_BASE_URL", "http://me:a-password@gpu.local:8000/v1"),
        ("NOLA_LLM_RPM", "500"),
        ("NOLA_LLM_KEY", "none"),
    ):
        monkeypatch.setenv(name, value)
    found = Endpoint.from_environment()
    assert found is not None and (found.host, found.requests_per_minute, found.key) == ("gpu.local", 500, "none")
    assert found.redact("none of http://me:a-password@gpu.local") == "none of http://me:***@gpu.local"
    for name, value in (
        ("NOLA_LLM_RPM", "many"),
        ("NOLA_LLM_BASE_URL", "localhost:8000"),
        ("NOLA_LLM_BASE_URL", "http://[::1"),
        ("NOLA_LLM_KEY", "sk-ü"),
    ):
        with monkeypatch.context() as changed, pytest.raises(NolaError, match=name):
            changed.setenv(name, value)
            Endpoint.from_environment()
