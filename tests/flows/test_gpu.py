from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from prefect import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, GlobalConcurrencyLimitUpdate
from prefect.exceptions import ObjectNotFound

from flows import environment
from flows.gpu import LIMIT, Devices
from flows.pipeline import nola


def set_limit(slots: int) -> None:
    with get_client(sync_client=True) as client:
        try:
            client.read_global_concurrency_limit_by_name(LIMIT)
            client.update_global_concurrency_limit(LIMIT, GlobalConcurrencyLimitUpdate(limit=slots))
        except ObjectNotFound:
            client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=LIMIT, limit=slots))


@pytest.mark.usefixtures("prefect_server")
def test_stages_at_the_same_time_get_a_device_each(make_repo: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_repo(digits="device-embed")
    monkeypatch.setenv("NOLA_DEVICE", "cuda")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-8932f937")
    set_limit(2)
    try:
        results: Any = nola(targets=["embed"])
    finally:
        set_limit(1)
    assert results.tally() == "3 run"
    seen = sorted(path.read_text() for path in root.glob("device-*"))
    assert seen == ["4", "GPU-8932f937"]


def test_devices_are_shared_evenly_and_given_back() -> None:
    devices = Devices(["0", "1"])
    with devices.one() as first, ExitStack() as stack:
        assert first == {"CUDA_VISIBLE_DEVICES": "0"}
        given = [stack.enter_context(devices.one())["CUDA_VISIBLE_DEVICES"] for _ in range(3)]
        assert given == ["1", "0", "1"]
    with devices.one() as again:
        assert again == first
    for names in ([], ["3"]):
        with Devices(names).one() as only:
            assert only == {}, "what the user has set stays as it is"


@pytest.mark.parametrize(
    ("device", "visible", "names"),
    [
        ("auto", "2,3", ["2", "3"]),
        ("cuda", "GPU-1, GPU-2", ["GPU-1", "GPU-2"]),
        ("cuda:1", "2,3", []),
        ("cuda", "1,-1,0", ["1"]),
        ("auto", None, ["0", "1", "2"]),
    ],
)
def test_what_the_user_chose_is_respected(
    monkeypatch: pytest.MonkeyPatch, device: str, visible: str | None, names: list[str]
) -> None:
    monkeypatch.setenv("NOLA_DEVICE", device)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(environment, "installed_gpus", lambda: 3)
    assert environment.gpu_names() == names
