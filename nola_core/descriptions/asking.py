"""Mode `live`: ask for what is missing, within the budget, and keep every answer the moment it is there."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from nola_core.descriptions.answers import GOOD
from nola_core.descriptions.client import Answer, Client, EndpointFailedError, RequestFailedError
from nola_core.descriptions.prices import Budget, Price
from nola_core.descriptions.request import Request, Sampling
from nola_core.descriptions.responses import Known, Recorder
from nola_core.progress import progress

GRACE_SECONDS = 10.0
"""Answers under way are waited for after a signal: they will be charged either way. Who ends a run must give it longer."""
COMPLETION_SAMPLES = 20
"""Samples a request in completion style."""


@dataclass
class Outcome:
    """What became of a run."""

    failed: dict[str, str] = field(default_factory=dict)
    """Key -> why there was no answer at all; to be asked again."""
    stopped: str = ""
    """Why the run ended before its time."""


def row(
    request: Request, answer: Answer, *, attempt: int, price: Price | None, fallback: float, sampling: Sampling
) -> dict[str, Any]:
    """An answer as a row of the cache; where no tokens were counted, `fallback` dollars are booked."""
    cost = None
    if price is not None:
        counted = answer.tokens_in is not None and answer.tokens_out is not None
        cost = price.cost(answer.tokens_in or 0, answer.tokens_out or 0) if counted else fallback
    return {
        "key": request.key,
        "class": request.question.class_name,
        "prompt": request.question.prompt,
        "text": answer.text,
        "provider": "llm",
        "model": sampling.model,
        "time": pd.Timestamp.now("UTC").floor("ms").to_pydatetime(),
        "prompt_version": request.question.prompt_version,
        "sample": request.sample,
        "attempt": attempt,
        "finish_reason": answer.finish_reason,
        "tokens_in": answer.tokens_in,
        "tokens_out": answer.tokens_out,
        "cost": cost,
        "returned_model": answer.model,
    }


def unanswered(requests: Sequence[Request], known: Known, *, attempts: int) -> list[Request]:
    """The requests without an answer, those apart whose `attempts` are used up."""
    return [r for r in requests if r.key not in known.good and len(known.failures.get(r.key, ())) < attempts]


def grouped(requests: Sequence[Request], sampling: Sampling) -> Iterator[list[Request]]:
    """What goes into one HTTP request each: samples of one question in completion style, else a single one."""
    group: list[Request] = []
    for request in requests:
        full = sampling.style == "chat" or len(group) == COMPLETION_SAMPLES
        if group and (full or group[0].question != request.question):
            yield group
            group = []
        group.append(request)
    if group:
        yield group


class _Held:
    """The money set aside for one request, tries that got lost included."""

    def __init__(self, budget: Budget, amount: float) -> None:
        self.budget = budget
        self.amount = amount
        self.refused = False

    def again(self) -> bool:
        """Book the try that got lost as charged in full; whether there is as much for another."""
        self.budget.settle(self.amount, self.amount)
        self.refused = not self.budget.reserve(self.amount)
        return not self.refused


class _Run:
    """The state that the workers of one run share."""

    def __init__(
        self, client: Client, recorder: Recorder, budget: Budget, known: Known, *, price: Price | None, attempts: int
    ) -> None:
        self.client = client
        self.recorder = recorder
        self.budget = budget
        self.known = known
        self.price = price
        self.attempts = attempts
        self.outcome = Outcome()
        self.settled = asyncio.Condition()
        self.under_way = 0

    async def work(self, queue: deque[list[Request]], advance: Callable[..., None]) -> None:
        """Ask until the queue is empty or the run is stopped."""
        while queue and not self.outcome.stopped:
            group = queue.popleft()
            most = self.price.most(group, self.client.sampling) if self.price else 0.0
            if not await self._affordable(most):
                self.stop("budget")
                return
            self.under_way += 1
            held = _Held(self.budget, most)
            cost = most  # of a request that got lost: it may be charged all the same
            try:
                answers = await self.client.ask(group, lost=held.again, go=lambda: not self.outcome.stopped)
                cost = self._keep(group, answers, most / len(group), queue, advance)
            except RequestFailedError as error:
                self.outcome.failed |= {request.key: str(error) for request in group}
                if held.refused:
                    self.stop("budget")
            except EndpointFailedError as error:
                self.stop(str(error))
            finally:
                self.under_way -= 1
                if not held.refused:  # else all of it is booked
                    self.budget.settle(most, cost)
                async with self.settled:
                    self.settled.notify_all()

    def stop(self, why: str) -> None:
        """Let what is under way come to its end and nothing else begin; the first reason counts."""
        self.outcome.stopped = self.outcome.stopped or why

    async def _affordable(self, most: float) -> bool:
        """Set money aside; where what is under way might still turn out cheaper than feared, wait for it."""
        async with self.settled:
            while not self.outcome.stopped:
                if self.budget.reserve(most):
                    return True
                if not self.under_way:
                    return False
                await self.settled.wait()
        return False

    def _keep(
        self,
        group: Sequence[Request],
        answers: Sequence[Answer],
        fallback: float,
        queue: deque[list[Request]],
        advance: Callable[..., None],
    ) -> float:
        """Record the answers, put what has to be asked once more back into the queue; the cost in dollars."""
        rows, again, done = [], list(group[len(answers) :]), 0
        for request, answer in zip(group, answers, strict=False):
            failures = self.known.failures[request.key]
            attempt = len(failures) + 1
            rows.append(row(request, answer, attempt=attempt, price=self.price, fallback=fallback, sampling=self.client.sampling))
            if answer.finish_reason == GOOD:
                self.known.good.add(request.key)
                done += 1
                continue
            failures.append(answer.finish_reason)
            if len(failures) < self.attempts:
                again.append(request)
            else:
                done += 1
        self.recorder.record(rows)
        if again:
            queue.append(again)
        advance(done, note=f"${self.budget.spent:.2f}" if self.price else "")
        return sum(row["cost"] or 0.0 for row in rows)


async def ask(
    missing: Sequence[Request],
    *,
    client: Client,
    recorder: Recorder,
    budget: Budget,
    known: Known,
    price: Price | None,
    attempts: int,
) -> Outcome:
    """Ask for `missing`; `known` is brought up to date. SIGTERM and SIGINT end the run after the answers under way.

    Args:
        attempts: answers of no use (truncated, refused, malformed) a request may have before it is given up.
    """
    run = _Run(client, recorder, budget, known, price=price, attempts=attempts)
    queue = deque(grouped(missing, client.sampling))
    async with client:
        with progress(total=len(missing), what="describe", unit="answers") as advance, _signals(run.stop) as stopped:
            workers = [asyncio.create_task(run.work(queue, advance)) for _ in range(min(client.endpoint.concurrency, len(queue)))]
            interrupted = asyncio.create_task(stopped.wait())
            try:
                working: asyncio.Future[Any] = asyncio.gather(*workers)
                both: set[asyncio.Future[Any]] = {working, interrupted}
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
                ends = asyncio.get_running_loop().time() + GRACE_SECONDS
                while not working.done() and client.in_flight and asyncio.get_running_loop().time() < ends:
                    await asyncio.wait({working}, timeout=0.02)
                if working.done():
                    working.result()
                elif client.in_flight:
                    run.outcome.stopped += (
                        f", {client.in_flight} requests under way got no answer within {GRACE_SECONDS:g} s and may be charged"
                    )
            finally:
                for task in [*workers, interrupted]:
                    task.cancel()
                await asyncio.gather(*workers, interrupted, return_exceptions=True)
    return run.outcome


@contextmanager
def _signals(stop: Callable[[str], None]) -> Iterator[asyncio.Event]:
    """Yield an event that SIGTERM and SIGINT set, after they called `stop`."""
    event = asyncio.Event()
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT) if threading.current_thread() is threading.main_thread() else ()

    def on(name: str) -> None:
        stop(f"stopped by {name}")
        event.set()

    for number in numbers:
        loop.add_signal_handler(number, on, number.name)
    try:
        yield event
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def summary(requests: Sequence[Request], known: Known) -> str:
    """What was no use, counted by reason and class: `refusal 2 (cat), length 1 (dog)`; empty where all is well."""
    found: dict[str, Counter[str]] = {}
    for request in requests:
        if request.key not in known.good and known.failures.get(request.key):
            found.setdefault(known.failures[request.key][-1], Counter())[request.question.class_name] += 1
    return ", ".join(
        f"{reason} {sum(classes.values())} ({', '.join(list(classes)[:5])}{', ...' if len(classes) > 5 else ''})"
        for reason, classes in sorted(found.items())
    )
