"""The environment: defaults where a variable is absent or empty, sentences where it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nola_core.device import cache_root, device, workers
from nola_core.errors import NolaError

AUTO = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.mark.parametrize(("text", "kind"), [(None, AUTO), ("", AUTO), ("auto", AUTO), ("cpu", "cpu")])
def test_device(monkeypatch: pytest.MonkeyPatch, text: str | None, kind: str) -> None:
    monkeypatch.delenv("NOLA_DEVICE", raising=False)
    if text is not None:
        monkeypatch.setenv("NOLA_DEVICE", text)
    assert device().type == kind


@pytest.mark.parametrize("text", ["gpu", "cuda:x", "cuda:-1", "meta", "cuda:0\n", "CUDA"])
def test_a_device_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("NOLA_DEVICE", text)
    with pytest.raises(NolaError, match=f"NOLA_DEVICE={text} names no device; use auto, cpu, cuda or cuda:0"):
        device()


@pytest.mark.parametrize("text", ["cuda:99", "cuda:4711"])
def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("NOLA_DEVICE", text)
    with pytest.raises(NolaError, match=rf"NOLA_DEVICE={text}, but this machine shows \d+ GPUs"):
        device()


def test_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOLA_WORKERS", raising=False)
    assert 1 <= workers() <= 16
    monkeypatch.setenv("NOLA_WORKERS", "")
    assert 1 <= workers() <= 16
    monkeypatch.setenv("NOLA_WORKERS", "40")
    assert workers() == 40
    for text in ("0", "-2", "many", "1.5", "²"):
        monkeypatch.setenv("NOLA_WORKERS", text)
        with pytest.raises(NolaError, match=f"NOLA_WORKERS={text} must be a number from 1"):
            workers()


@pytest.mark.parametrize(("text", "folder"), [(None, ".nola"), ("", ".nola"), ("/var/cache/nola", "/var/cache/nola")])
def test_cache_root(monkeypatch: pytest.MonkeyPatch, text: str | None, folder: str) -> None:
    monkeypatch.delenv("NOLA_CACHE", raising=False)
    if text is not None:
        monkeypatch.setenv("NOLA_CACHE", text)
    assert cache_root() == Path(folder)
