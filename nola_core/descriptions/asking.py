"""Texts a language model writes: what is known of them, what the rest would cost, and asking for it, within the budget.

Every answer is kept the moment it is there; what was paid for is in the cache, whatever becomes of the run.
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import pandas as pd

from nola_core.config import Describe
from nola_core.descriptions import batch
from nola_core.descriptions.client import Client, Endpoint, EndpointFailedError, RequestFailedError
from nola_core.descriptions.cost import Budget, price_in, tokens_likely
from nola_core.descriptions.request import GOOD, ImageLoader, Question, Request, Sampling, requests, texts
from nola_core.descriptions.responses import Recorder, Responses
from nola_core.descriptions.table import COLUMNS
from nola_core.errors import NolaError
from nola_core.progress import progress

GRACE_SECONDS = 10.0
"""Answers under way are waited for after a signal: they will be charged either way. Who ends a run must give it longer."""
COMPLETION_SAMPLES = 20
"""Samples a request in completion style."""
LISTED = 10


@dataclass(frozen=True)
class Plan:
    """What would be asked, and for how many dollars: likely, at most with one attempt each (None: no price), so far."""

    requests: int
    cached: int
    given_up: int  # their attempts are used up
    to_ask: int
    tokens_in: int
    tokens_out: int
    cost: float | None
    most: float | None
    spent: float
    by_class: dict[str, int]  # class -> requests to ask, of classes that have any

    def lines(self, settings: Describe) -> list[str]:
        """For a reader."""
        money = "unknown: neither describe.price nor prices.yaml has one for this model"
        if self.cost is not None and self.most is not None:
            cap = "no cap" if settings.max_cost is None else f"describe.max_cost = ${settings.max_cost:g}"
            money = f"about ${self.cost:.4f}, at most ${self.most:.4f} a first attempt; ${self.spent:.4f} spent so far, {cap}"
        return [
            f"{self.requests:,} answers of {settings.model} ({settings.style}): {self.cached:,} in the cache, "
            f"{self.given_up:,} given up, {self.to_ask:,} to ask",
            f"tokens: about {self.tokens_in:,} in, {self.tokens_out:,} out",
            f"cost: {money}",
            *([f"to ask: {_listed(self.by_class, '{} {}')}"] if self.by_class else []),
        ]


def plan(questions: Sequence[Question], settings: Describe, responses: Responses) -> Plan:
    """Count what would be asked; nothing is asked, nothing written."""
    sampling, price = Sampling.of(settings), price_in(settings)
    wanted, known = requests(questions, sampling), responses.known()
    missing = known.lacking(wanted, attempts=settings.attempts)
    groups = list(_grouped(missing, sampling))
    likely = [(0, 0), *(tokens_likely(group, sampling) for group in groups)]
    tokens_in, tokens_out = (sum(part) for part in zip(*likely, strict=True))
    cached = sum(request.key in known.good for request in wanted)
    cost = price.cost(tokens_in, tokens_out) if price else None
    most = sum(price.most(group, sampling) for group in groups) if price else None
    given_up, by_class = len(wanted) - cached - len(missing), dict(Counter(r.question.class_name for r in missing))
    return Plan(len(wanted), cached, given_up, len(missing), tokens_in, tokens_out, cost, most, known.spent, by_class)


def collect(
    questions: Sequence[Question],
    settings: Describe,
    responses: Responses,
    *,
    endpoint: Endpoint | None,
    load_image: ImageLoader | None = None,
    backoff: float = 0.5,
    poll: float = 30.0,
    wait: bool = True,
    say: Callable[[str], None] = print,
) -> pd.DataFrame:
    """The answers to `questions`, asked for where the mode allows it: the good rows of the cache, in the order of asking.

    Empty where nothing is cached and no endpoint is configured (None). `load_image` is that of `request.body`, `backoff` the
    seconds before a second try, `poll` those between two looks at a batch; without `wait` batches are not waited for; `say`
    takes the sentences for the user.

    Raises:
        NolaError: `replay` lacks an answer, `plan` (always, after it has been said), or not everything could be asked.
    """
    if settings.mode == "plan":
        for line in plan(questions, settings, responses).lines(settings):
            say(line)
        raise NolaError("describe.mode is plan: nothing was asked and nothing written; set it to live to go on.")
    sampling = Sampling.of(settings)
    wanted, known = requests(questions, sampling), responses.known()
    missing = known.lacking(wanted, attempts=settings.attempts)
    if missing and (settings.mode == "replay" or endpoint is None):
        counts = _listed(Counter(request.question.class_name for request in missing), "{} ({})")
        lacking = f"{len(missing):,} answers are not in the cache: {counts}"
        if settings.mode == "replay":
            raise NolaError(f"{lacking}; describe.mode is replay, so nothing was asked: set it to live, or restore responses/.")
        if any(request.key in known.good for request in wanted):
            raise NolaError(f"{lacking}, and no language model is configured: set OPENAI_API_KEY or NOLA_LLM_BASE_URL.")
        return responses.read().iloc[:0]
    if missing and endpoint is not None:
        with responses.recording() as recorder:
            if settings.mode == "batch":
                job = batch.Job(recorder, settings, endpoint, load_image=load_image, say=say)
                job.run(wanted, poll=poll, wait=wait)
            else:
                client = Client(endpoint, sampling, load_image=load_image, backoff=backoff)
                _Run(client, recorder, settings).run(wanted)
        known = responses.known()
    if failures := known.summary(wanted):
        if not any(request.key in known.good for request in wanted):
            raise NolaError(f"{settings.model} gave no usable answer in {settings.attempts} attempts each: {failures}.")
        say(f"answers of no use after {settings.attempts} attempts: {failures}")
    rows = responses.read()
    answered = [request for request in wanted if request.key in known.good]
    rows = rows[rows["finish_reason"] == GOOD].set_index("key", drop=False).loc[[request.key for request in answered]]
    # a class may have had another name when it was asked about
    return rows.reset_index(drop=True).assign(**{"class": [request.question.class_name for request in answered]})


def sentences(answers: pd.DataFrame, questions: Sequence[Question], settings: Describe, classes: pd.DataFrame) -> pd.DataFrame:
    """Answers as a provided table (`class, prompt, text, provider, model`): one row a text, see `request.texts`.

    Raises:
        NolaError: a class has no text, though others have.
    """
    table = _table(answers, questions, settings, classes)
    without = classes.loc[~classes["name"].isin(table["class"]), "name"]
    if len(table) and len(without):
        raise NolaError(
            f"{settings.model} gave no usable answer about {', '.join(without[:LISTED])}; raise describe.max_tokens or "
            "describe.attempts, change the prompts, or take the class out of the list."
        )
    return table


def answerer(
    settings: Describe, responses: Responses, classes: pd.DataFrame, *, endpoint: Endpoint | None
) -> Callable[[Sequence[Question]], list[list[str]]]:
    """A function from questions to the texts that answer each, for confusion-driven rounds; see `collect`."""

    def answer(asked: Sequence[Question]) -> list[list[str]]:
        table = _table(collect(asked, settings, responses, endpoint=endpoint), asked, settings, classes)
        found = table.groupby(["class", "prompt"])["text"].agg(list).to_dict()
        return [found.get((question.class_name, question.prompt), []) for question in asked]

    return answer


class _Run:
    """Mode `live`: what the requests of one run share."""

    def __init__(self, client: Client, recorder: Recorder, settings: Describe) -> None:
        self.client, self.recorder, self.settings = client, recorder, settings
        self.price = price_in(settings, capped=True)
        self.budget = Budget(settings.max_cost, spent=recorder.known.spent)
        self.failed: list[str] = []  # why requests got no answer at all
        self.stopped = ""  # why the run ended before its time
        self.busy = 0

    def run(self, wanted: Sequence[Request]) -> None:
        """Ask for what is missing of `wanted`. SIGTERM and SIGINT end the run after the answers under way."""
        known, attempts = self.recorder.known, self.settings.attempts
        missing = known.lacking(wanted, attempts=attempts)  # another run may have asked while this one waited for its turn
        under_way = batch.submitted(self.recorder.responses)
        if any(request.key in under_way for request in missing):
            raise NolaError("some of these answers are on their way in a batch; set describe.mode to batch and fetch them first.")
        if missing:
            asyncio.run(self._ask(missing))
        left = known.lacking(wanted, attempts=attempts)
        if not left:
            return
        state = f"{len(wanted) - len(left):,} of {len(wanted):,} answers are kept"
        if self.stopped == "budget":
            raise NolaError(
                f"stopped before describe.max_cost = ${self.budget.limit:g} is crossed (${self.budget.spent:.4f} spent); "
                f"{state}. Raise it and run again to ask for the rest."
            )
        if not self.stopped:
            (said, count), *_ = Counter(self.failed).most_common(1)
            self.stopped = f"{count} requests got no answer ({said})"
        raise NolaError(f"{self.stopped}; {state}. Run again to ask for the rest.")

    async def _ask(self, missing: Sequence[Request]) -> None:
        slots, loop = asyncio.Semaphore(self.client.endpoint.concurrency), asyncio.get_running_loop()
        with suppress(TimeoutError), progress(total=len(missing), what="describe", unit="answers") as self.advance:
            async with self.client, asyncio.timeout(None) as grace:

                def end(name: str) -> None:
                    self.stopped = self.stopped or f"stopped by {name}"
                    if grace.when() is None:
                        grace.reschedule(loop.time() + (GRACE_SECONDS if self.client.in_flight else 0.0))

                for number in (signal.SIGTERM, signal.SIGINT):
                    with suppress(ValueError, RuntimeError):  # signals reach the main thread alone
                        loop.add_signal_handler(number, end, number.name)
                await asyncio.gather(*(self._answer(group, slots) for group in _grouped(missing, self.client.sampling)))
        if self.client.cut_off:
            left = f"{self.client.cut_off} requests under way got no answer within {GRACE_SECONDS:g} s"
            self.stopped += f", {left} and may be charged"

    async def _answer(self, group: Sequence[Request], slots: asyncio.Semaphore) -> None:
        """Ask until the samples of `group` are answered, or given up, or the run is stopped."""
        async with slots:
            while not self.stopped and await self._once(group):
                group = self.recorder.known.lacking(group, attempts=self.settings.attempts)
                if not group:
                    return

    async def _once(self, group: Sequence[Request]) -> bool:
        """Ask and keep the answers; False where there is none."""
        most = self.price.most(group, self.client.sampling) if self.price else 0.0
        while not self.budget.reserve(most):
            if not self.busy:
                self.stopped = self.stopped or "budget"
            if self.stopped:
                return False
            await asyncio.sleep(0.01)  # what is under way may turn out cheaper than feared
        reserved = cost = most  # a request that gets lost may be charged all the same
        self.busy += 1

        def lost() -> bool:
            """Book the try that got lost as charged in full; whether there is as much for another."""
            nonlocal reserved, cost
            self.budget.settle(most, most)
            if not self.budget.reserve(most):
                reserved, cost, self.stopped = 0.0, 0.0, self.stopped or "budget"
            return not self.stopped

        try:
            answers = await self.client.ask(group, lost=lost, go=lambda: not self.stopped)
            pairs = list(zip(group, answers, strict=False))
            cost = self.recorder.keep(pairs, self.client.sampling, self.price, fallback=most / len(group))
        except RequestFailedError as error:
            self.failed += [str(error)] * len(group)
            return False
        except EndpointFailedError as error:
            self.stopped = self.stopped or str(error)
            return False
        finally:
            self.busy -= 1
            self.budget.settle(reserved, cost)
        done = len(group) - len(self.recorder.known.lacking(group, attempts=self.settings.attempts))
        self.advance(done, note=f"${self.budget.spent:.2f}" if self.price else "")
        return True


def _table(answers: pd.DataFrame, questions: Sequence[Question], settings: Describe, classes: pd.DataFrame) -> pd.DataFrame:
    names = dict(zip(classes["name"], classes["display_name"], strict=True))
    forms = {request.key: request.question.form for request in requests(questions, Sampling.of(settings))}
    rows = [
        (row["class"], row["prompt"], text, row["provider"], row["returned_model"] or row["model"])
        for row in answers.to_dict("records")
        for text in texts(row["text"], form=forms[row["key"]], name=names[row["class"]])
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _grouped(requests: Sequence[Request], sampling: Sampling) -> Iterator[list[Request]]:
    """What goes into one HTTP request each: samples of one question in completion style, else a single one."""
    size = COMPLETION_SAMPLES if sampling.style == "completion" else 1
    by_question: dict[Question, list[Request]] = {}
    for request in requests:
        by_question.setdefault(request.question, []).append(request)
    for group in by_question.values():
        yield from (group[start : start + size] for start in range(0, len(group), size))


def _listed(counts: dict[str, int], form: str) -> str:
    """`dog (3), cat (9)`, the first ten."""
    more = f", and {len(counts) - LISTED} classes more" if len(counts) > LISTED else ""
    return ", ".join(form.format(name, count) for name, count in list(counts.items())[:LISTED]) + more
