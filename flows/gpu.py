"""The server-wide limit of stages that compute on a GPU at the same time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from prefect import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectNotFound

from flows.runner import StoppedError

LIMIT = "gpu"
TURN_SECONDS = 20.0


def ensure_gpu_limit() -> int:
    """The size of the limit `gpu`, made with one slot if the server has none; it may be changed in the interface."""
    with get_client(sync_client=True) as client:
        try:
            return client.read_global_concurrency_limit_by_name(LIMIT).limit
        except ObjectNotFound:
            client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=LIMIT, limit=1))
            return 1


@contextmanager
def gpu_slot(stopping: threading.Event) -> Iterator[None]:
    """Hold one slot of `gpu`; wait for it in turns, so that a cancelled run does not wait for somebody else's stage.

    A server that goes away for a while does not end the stage that holds the slot.

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
        yield
