"""Answers to questions: what the cache knows, what the rest would cost, and asking for it in the mode of the settings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pandas as pd

from nola_core.config import Describe
from nola_core.descriptions.asking import batch
from nola_core.descriptions.asking.cache import Responses
from nola_core.descriptions.asking.endpoint import Endpoint
from nola_core.descriptions.asking.live import Live
from nola_core.descriptions.asking.request import GOOD, ImageLoader, Price, Request, grouped, requests, texts, tokens_likely
from nola_core.descriptions.texts.prompts import Question
from nola_core.descriptions.texts.table import COLUMNS
from nola_core.errors import NolaError
from nola_core.text import enumerated


def plan(questions: Sequence[Question], settings: Describe, responses: Responses) -> list[str]:
    """What would be asked and what it would cost, in lines for a reader; nothing is asked, nothing written."""
    wanted, known, price = requests(questions, settings), responses.known(), Price.of(settings)
    missing = known.lacking(wanted, attempts=settings.attempts)
    groups = list(grouped(missing, settings))
    tokens = [tokens_likely(group, settings) for group in groups]
    tokens_in, tokens_out = sum(sent for sent, _ in tokens), sum(answered for _, answered in tokens)
    money = "unknown: neither describe.price nor prices.yaml has a price for this model"
    if price is not None:
        cost, most = price.cost(tokens_in, tokens_out), sum(price.most(group, settings) for group in groups)
        cap = "no cap" if settings.max_cost is None else f"describe.max_cost = ${settings.max_cost:g}"
        money = f"about ${cost:.4f}, at most ${most:.4f} with one attempt each; ${known.spent:.4f} spent so far, {cap}"
    cached = sum(request.key in known.good for request in wanted)
    return [
        f"{len(wanted):,} answers of {settings.model} ({settings.style}): {cached:,} in the cache, "
        f"{len(wanted) - cached - len(missing):,} given up, {len(missing):,} to ask",
        f"tokens: about {tokens_in:,} in, {tokens_out:,} out",
        f"cost: {money}",
        *([f"to ask: {_classes(missing)}"] if missing else []),
    ]


def collect(
    questions: Sequence[Question],
    settings: Describe,
    responses: Responses,
    *,
    endpoint: Endpoint | None,
    load_image: ImageLoader | None = None,
    poll: float | None = batch.POLL_SECONDS,
) -> pd.DataFrame:
    """The answers to `questions`, asked for where the mode allows it: the good rows of the cache, in the order of asking.

    The column `question` has the question that each answers; its class may have had another name when it was asked. Empty
    where nothing is cached and no endpoint is configured (None). `load_image` is that of `request.body`; `poll` are the
    seconds between two looks at a batch, None to look once and not to wait.

    Raises:
        NolaError: `replay` lacks an answer, `plan` (always, after it was printed), or not everything could be asked.
    """
    if settings.mode == "plan":
        print("\n".join(plan(questions, settings, responses)))
        raise NolaError("describe.mode is plan: nothing was asked and nothing written; set it to live to go on.")
    wanted, known = requests(questions, settings), responses.known()
    if missing := known.lacking(wanted, attempts=settings.attempts):
        lacking = f"{len(missing):,} answers are not in the cache: {_classes(missing)}"
        if settings.mode == "replay":
            raise NolaError(f"{lacking}; describe.mode is replay, so nothing was asked: set it to live, or restore responses/.")
        if endpoint is None:
            if known.good.isdisjoint(request.key for request in wanted):
                return responses.read().iloc[:0].assign(question=None)
            raise NolaError(f"{lacking}, and no language model is configured: set OPENAI_API_KEY or NOLA_LLM_BASE_URL.")
        with responses.recording() as recorder:
            if settings.mode == "batch":
                batch.Job(recorder, settings, endpoint, load_image).run(wanted, poll=poll)
            elif batch.submitted(responses).intersection(request.key for request in missing):
                raise NolaError(
                    "some of these answers are on their way in a batch: set describe.mode to batch and fetch them first."
                )
            else:
                Live(recorder, settings, endpoint, load_image).run(wanted)
        known = responses.known()
    asked = pd.DataFrame([(request.key, request.question) for request in wanted], columns=["key", "question"], dtype=object)
    rows = responses.read()
    found = asked.merge(rows[rows["finish_reason"] == GOOD], on="key")
    if failures := known.summary(wanted):
        if found.empty:
            raise NolaError(f"{settings.model} gave no usable answer in {settings.attempts} attempts each: {failures}.")
        print(f"no usable answer after {settings.attempts} attempts: {failures}")
    return found


def sentences(answers: pd.DataFrame, classes: pd.DataFrame) -> pd.DataFrame:
    """What `collect` gave as a provided table (`table.COLUMNS`): one row a text, see `request.texts`."""
    names = dict(zip(classes["name"], classes["display_name"], strict=True))
    rows = [
        (question.class_name, question.prompt, text, row["provider"], row["returned_model"] or row["model"])
        for row, question in zip(answers.to_dict("records"), answers["question"], strict=True)
        for text in texts(row["text"], form=question.form, name=names[question.class_name])
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _classes(missing: Sequence[Request]) -> str:
    """`dog (3), cat (9)`: the classes, and how many requests each lacks."""
    counts = Counter(request.question.class_name for request in missing)
    return enumerated((f"{name} ({count})" for name, count in counts.items()), most=10)
