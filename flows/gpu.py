"""The server-wide limit on concurrent GPU stages, and a device for each of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from prefect import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectNotFound

from flows.locking import StoppedError

LIMIT = "gpu"
TURN_SECONDS = 20.0


def ensure_gpu_limit(devices: int) -> int:
    """The size of the limit `gpu`, created with one slot per device if it does not exist; it can be changed in the interface."""
    with get_client(sync_client=True) as client:
        try:
            return client.read_global_concurrency_limit_by_name(LIMIT).limit
        except ObjectNotFound:
            slots = max(1, devices)
            client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=LIMIT, limit=slots))
            return slots


class Devices:
    """Assigns each stage the device with the fewest users (on a tie, the first)."""

    def __init__(self, names: list[str]) -> None:
        self._users = dict.fromkeys(names, 0)
        self._lock = threading.Lock()

    @contextmanager
    def one(self) -> Iterator[dict[str, str]]:
        """Environment variables that restrict a stage to its device; empty if there is no choice."""
        if len(self._users) < 2:
            yield {}
            return
        with self._lock:
            name = min(self._users, key=lambda name: self._users[name])
            self._users[name] += 1
        try:
            yield {"CUDA_VISIBLE_DEVICES": name}
        finally:
            with self._lock:
                self._users[name] -= 1


@contextmanager
def gpu_slot(stopping: threading.Event, devices: Devices) -> Iterator[dict[str, str]]:
    """Hold one slot of `gpu` and a device; yields the environment of a stage that computes on it.

    It waits for the slot in short intervals, so that a cancelled run does not wait for another run's stage.

    If the server is unavailable for a while, the stage that holds the slot continues.

    Raises:
        StoppedError: `stopping` was set while waiting.
    """
    with ExitStack() as stack:
        while True:
            if stopping.is_set():
                raise StoppedError
            slot = concurrency(LIMIT, strict=True, timeout_seconds=TURN_SECONDS, raise_on_lease_renewal_failure=False)
            try:
                stack.enter_context(slot)
                break
            except TimeoutError:
                continue
        yield stack.enter_context(devices.one())
