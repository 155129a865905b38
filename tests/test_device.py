"""Environment variables: defaults if one is missing or empty, clear messages if it is wrong."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nola_core.device import cache_root, device, one_thread, workers
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
    with pytest.raises(NolaError, match=f"NOLA_DEVICE={text} is not a device; use auto, cpu, cuda or cuda:0"):
        device()


@pytest.mark.parametrize("text", ["cuda:99", "cuda:4711"])
def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("NOLA_DEVICE", text)
    with pytest.raises(NolaError, match=rf"NOLA_DEVICE={text}, but torch finds \d+ GPUs"):
        device()


def test_one_thread_is_undone_also_by_an_error() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with pytest.raises(ZeroDivisionError), one_thread():
            assert torch.get_num_threads() == 1
            raise ZeroDivisionError
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="elsewhere it does nothing")
def test_memory_that_torch_gives_back_is_kept() -> None:
    faults = """
import resource, torch
from nola_core.device import keep_memory
{}
passes = []
layers = torch.nn.Sequential(*[torch.nn.Sequential(torch.nn.Conv2d(8, 8, 1), torch.nn.ReLU()) for _ in range(4)])
with torch.inference_mode():
    for _ in range(8):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        layers(torch.rand(16, 8, 256, 256))
        passes.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(min(passes))  # the first ones still take memory from the system, more of them on a busy machine
"""
    runs = [[sys.executable, "-c", faults.format(call)] for call in ("", "keep_memory()")]
    lost, kept = (int(subprocess.run(run, capture_output=True, text=True, check=True).stdout) for run in runs)
    assert kept < lost / 4, "page faults of a pass"


def test_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOLA_WORKERS", raising=False)
    for cores, threads in ((1, 1), (3, 3), (64, 16)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, cores=cores: set(range(cores)), raising=False)
        assert workers() == threads
    monkeypatch.setenv("NOLA_WORKERS", "")
    assert workers() == 16
    monkeypatch.setenv("NOLA_WORKERS", "40")
    assert workers() == 40
    for text in ("0", "-2", "many", "1.5", "²"):
        monkeypatch.setenv("NOLA_WORKERS", text)
        with pytest.raises(NolaError, match=f"NOLA_WORKERS={text} is not valid; use a whole number of at least 1"):
            workers()


@pytest.mark.parametrize(("text", "folder"), [(None, ".nola"), ("", ".nola"), ("/var/cache/nola", "/var/cache/nola")])
def test_cache_root(monkeypatch: pytest.MonkeyPatch, text: str | None, folder: str) -> None:
    monkeypatch.delenv("NOLA_CACHE", raising=False)
    if text is not None:
        monkeypatch.setenv("NOLA_CACHE", text)
    assert cache_root() == Path(folder)
