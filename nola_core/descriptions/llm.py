"""Texts a language model writes: from the cache, and by the mode from an endpoint, a batch, or not at all."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import pandas as pd

from nola_core.config import Describe
from nola_core.descriptions.answers import GOOD, texts
from nola_core.descriptions.asking import ask, grouped, summary, unanswered
from nola_core.descriptions.batch import Batches, fetch
from nola_core.descriptions.client import Client
from nola_core.descriptions.endpoint import Endpoint
from nola_core.descriptions.prices import Budget, Price, price_of, tokens_likely
from nola_core.descriptions.question import Question
from nola_core.descriptions.request import ImageLoader, Request, Sampling, requests
from nola_core.descriptions.responses import Responses
from nola_core.errors import NolaError

LISTED = 10


@dataclass(frozen=True)
class Plan:
    """What would be asked, and for how much."""

    requests: int
    cached: int
    given_up: int
    """Requests whose attempts are used up."""
    to_ask: int
    tokens_in: int
    tokens_out: int
    cost: float | None
    """Dollars, likely; None without a price."""
    most: float | None
    """Dollars at most, with one attempt each."""
    spent: float
    """Dollars so far, for this data set."""
    by_class: dict[str, int]
    """Class -> requests to ask, of classes that have any."""

    def lines(self, settings: Describe) -> list[str]:
        """For a reader."""
        money = "unknown: neither describe.price nor prices.yaml has one for this model"
        if self.cost is not None and self.most is not None:
            cap = "no cap" if settings.max_cost is None else f"describe.max_cost = ${settings.max_cost:g}"
            money = f"about ${self.cost:.4f}, at most ${self.most:.4f} a first attempt; ${self.spent:.4f} spent so far, {cap}"
        classes = [f"{name} {count}" for name, count in list(self.by_class.items())[:LISTED]]
        more = f", and {len(self.by_class) - LISTED} classes more" if len(self.by_class) > LISTED else ""
        return [
            f"{self.requests:,} answers of {settings.model} ({settings.style}): {self.cached:,} in the cache, "
            f"{self.given_up:,} given up, {self.to_ask:,} to ask",
            f"tokens: about {self.tokens_in:,} in, {self.tokens_out:,} out",
            f"cost: {money}",
            *([f"to ask: {', '.join(classes)}{more}"] if classes else []),
        ]


def sampling_of(settings: Describe) -> Sampling:
    """The part of the settings that decides about an answer."""
    return Sampling(**{field.name: getattr(settings, field.name) for field in fields(Sampling) if field.name != "stop"})


def plan(questions: Sequence[Question], settings: Describe, responses: Responses) -> Plan:
    """Count what would be asked; nothing is asked, nothing written."""
    sampling = sampling_of(settings)
    wanted, known = requests(questions, sampling), responses.known()
    missing = unanswered(wanted, known, attempts=settings.attempts)
    groups = list(grouped(missing, sampling))
    likely = [tokens_likely(group, sampling) for group in groups]
    tokens_in, tokens_out = sum(pair[0] for pair in likely), sum(pair[1] for pair in likely)
    price = _price(settings)
    cached = sum(request.key in known.good for request in wanted)
    return Plan(
        requests=len(wanted),
        cached=cached,
        given_up=len(wanted) - cached - len(missing),
        to_ask=len(missing),
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        cost=price.cost(tokens_in, tokens_out) if price else None,
        most=sum(price.most(group, sampling) for group in groups) if price else None,
        spent=known.spent,
        by_class=dict(Counter(request.question.class_name for request in missing)),
    )


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

    Empty where nothing is cached and no endpoint is configured.

    Args:
        endpoint: None where none is configured.
        load_image: see `request.body`.
        backoff: seconds before a second try.
        poll: seconds between two looks at a batch.
        wait: False: do not wait for batches.
        say: takes the sentences for the user.

    Raises:
        NolaError: `replay` lacks an answer, `plan` (always, after it has been said), or not everything could be asked.
    """
    sampling = sampling_of(settings)
    wanted = requests(questions, sampling)
    if settings.mode == "plan":
        for line in plan(questions, settings, responses).lines(settings):
            say(line)
        raise NolaError("describe.mode is plan: nothing was asked and nothing written; set it to live to go on.")
    known = responses.known()
    missing = unanswered(wanted, known, attempts=settings.attempts)
    if missing and settings.mode == "replay":
        raise NolaError(
            f"{_lacking(missing)}; describe.mode is replay, so nothing was asked: set it to live, or restore responses/."
        )
    if missing and endpoint is None:
        if not any(request.key in known.good for request in wanted):
            return responses.read().iloc[:0]
        raise NolaError(f"{_lacking(missing)}, and no language model is configured: set OPENAI_API_KEY or NOLA_LLM_BASE_URL.")
    if missing and endpoint is not None:
        if settings.mode == "batch":
            fetch(
                wanted,
                responses,
                sampling=sampling,
                endpoint=endpoint,
                price=_capped(settings),
                attempts=settings.attempts,
                max_cost=settings.max_cost,
                load_image=load_image,
                say=say,
                poll=poll,
                wait=wait,
            )
        else:
            _live(wanted, settings, responses, endpoint=endpoint, load_image=load_image, backoff=backoff)
        known = responses.known()
    if failures := summary(wanted, known):
        if not any(request.key in known.good for request in wanted):
            raise NolaError(f"{settings.model} gave no usable answer in {settings.attempts} attempts each: {failures}.")
        say(f"answers of no use after {settings.attempts} attempts: {failures}")
    rows = responses.read()
    rows = rows[rows["finish_reason"] == GOOD].set_index("key", drop=False)
    answered = [request for request in wanted if request.key in known.good]
    rows = rows.loc[[request.key for request in answered]].reset_index(drop=True)
    rows["class"] = [request.question.class_name for request in answered]  # it may have had another name when it was asked about
    return rows


def sentences(answers: pd.DataFrame, questions: Sequence[Question], settings: Describe, classes: pd.DataFrame) -> pd.DataFrame:
    """Answers as a provided table (`class, prompt, text, provider, model`): one row a text, see `answers.texts`.

    Raises:
        NolaError: a class has no text, though others have.
    """
    names = dict(zip(classes["name"], classes["display_name"], strict=True))
    forms = {request.key: request.question.form for request in requests(questions, sampling_of(settings))}
    rows = [
        (row["class"], row["prompt"], text, row["provider"], row["returned_model"] or row["model"])
        for row in answers.to_dict("records")
        for text in texts(row["text"], form=forms[row["key"]], name=names[row["class"]])
    ]
    without = [name for name in names if name not in {row[0] for row in rows}]
    if rows and without:
        raise NolaError(
            f"{settings.model} gave no usable answer about {', '.join(without[:LISTED])}; raise describe.max_tokens or "
            "describe.attempts, change the prompts, or take the class out of the list."
        )
    return pd.DataFrame(rows, columns=["class", "prompt", "text", "provider", "model"])


def answerer(
    settings: Describe, responses: Responses, classes: pd.DataFrame, *, endpoint: Endpoint | None
) -> Callable[[Sequence[Question]], list[list[str]]]:
    """A function from questions to the texts that answer each, for confusion-driven rounds; see `collect`."""
    names = dict(zip(classes["name"], classes["display_name"], strict=True))

    def answer(asked: Sequence[Question]) -> list[list[str]]:
        kept = collect(asked, settings, responses, endpoint=endpoint).set_index("key")["text"].to_dict()
        found: dict[Question, list[str]] = {question: [] for question in asked}
        for request in requests(asked, sampling_of(settings)):
            if request.key in kept:
                question = request.question
                found[question] += texts(kept[request.key], form=question.form, name=names[question.class_name])
        return [found[question] for question in asked]

    return answer


def _live(
    wanted: Sequence[Request],
    settings: Describe,
    responses: Responses,
    *,
    endpoint: Endpoint,
    load_image: ImageLoader | None,
    backoff: float,
) -> None:
    price = _capped(settings)
    with responses.recording() as recorder:
        known = responses.known()  # again: another run may have asked while this one waited for its turn
        missing = unanswered(wanted, known, attempts=settings.attempts)
        if not missing:
            return
        under_way = Batches(responses).keys()
        if any(request.key in under_way for request in missing):
            raise NolaError("some of these answers are on their way in a batch; set describe.mode to batch and fetch them first.")
        budget = Budget(settings.max_cost, spent=known.spent)
        client = Client(endpoint, sampling_of(settings), load_image=load_image, backoff=backoff)
        outcome = asyncio.run(
            ask(missing, client=client, recorder=recorder, budget=budget, known=known, price=price, attempts=settings.attempts)
        )
    left = unanswered(wanted, known, attempts=settings.attempts)
    if not left:
        return
    state = f"{len(wanted) - len(left):,} of {len(wanted):,} answers are kept"
    if outcome.stopped == "budget":
        raise NolaError(
            f"stopped before describe.max_cost = ${settings.max_cost:g} is crossed (${budget.spent:.4f} spent); {state}. "
            "Raise it and run again to ask for the rest."
        )
    reason = outcome.stopped
    if not reason:
        (said, count), *_ = Counter(outcome.failed.values()).most_common(1)
        reason = f"{count} requests got no answer ({said})"
    raise NolaError(f"{reason}; {state}. Run again to ask for the rest.")


def _price(settings: Describe) -> Price | None:
    return price_of(settings.model, settings.price, image_tokens=settings.image_tokens)


def _capped(settings: Describe) -> Price | None:
    """The price the cap is watched with.

    Raises:
        NolaError: there is a cap and no price.
    """
    price = _price(settings)
    if price is None and settings.max_cost is not None:
        raise NolaError(
            f"describe.max_cost cannot be kept: the price of {settings.model} is unknown. Set describe.price to "
            "[dollars in, dollars out] for a million tokens ([0, 0] for a model of your own), or describe.max_cost to null."
        )
    return price


def _lacking(missing: Sequence[Request]) -> str:
    """`12 answers are not in the cache: dog (3), cat (9)`."""
    counts = Counter(request.question.class_name for request in missing)
    listed = ", ".join(f"{name} ({count})" for name, count in list(counts.items())[:LISTED])
    more = f", and {len(counts) - LISTED} classes more" if len(counts) > LISTED else ""
    return f"{len(missing):,} answers are not in the cache: {listed}{more}"
