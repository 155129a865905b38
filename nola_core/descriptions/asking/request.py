"""Requests: what is sent and in which form, the key that an answer is known by for ever, what it costs, what may come back."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, NamedTuple

from nola_core.config import Describe
from nola_core.descriptions.texts.prompts import Form, Question
from nola_core.errors import NolaError
from nola_core.files import digest
from nola_core.schema import read_yaml

Structure = Literal["schema", "json", "lines"]
ImageLoader = Callable[[str], bytes]
"""Name of an image in a question -> the bytes of a JPEG."""
PARAMETERS = {"style", "temperature", "reasoning_effort", "max_tokens"}
"""The settings that decide about an answer, beside the model."""
STOP = "."  # sent in completion style alone
COMPLETION_SAMPLES = 20  # samples a request in completion style
GOOD = "stop"
"""The finish reason of an answer that is used. All others are failures: length, content_filter, refusal, malformed, empty."""
REFUSAL = re.compile(
    r"(i['’]?m|i am) (very |so )?(sorry|unable)|sorry,|i (can['’]?t|cannot|can ?not|won['’]?t)\b|as an ai\b", re.I
)
BULLET = re.compile(r"^\s*(?:[-*•]+|\(?\d+[.):])\s+")
ABOUT = {
    "sentences": ("Whole sentences, each of which stands alone.", "Sentences, each complete without the others."),
    "attributes": (
        "Visual attributes as noun phrases.",
        "Visible attributes, each a short noun phrase that can follow 'which has'.",
    ),
}
"""Form -> what its schema says of itself and of its items. It is part of every key: never change it."""
INSTRUCTIONS = {
    ("sentences", "json"): 'Answer with a JSON object and nothing else: {"sentences": ["...", "..."]}',
    ("attributes", "json"): 'Answer with a JSON object and nothing else: {"attributes": ["...", "..."]}, short noun phrases.',
    ("sentences", "lines"): "Write each sentence on a line of its own and nothing else.",
    ("attributes", "lines"): "Write each attribute as a short noun phrase on a line of its own and nothing else.",
}
"""What is added to the prompt where the endpoint does not take a schema."""

PRICES = Path(__file__).parents[1] / "prices.yaml"
IMAGE_TOKENS = 8_500  # a guess at 512 x 512 pixels: what gpt-4o-mini counts (2,833 and 5,667 a tile); most count some hundred
MOST_IMAGE_TOKENS = 50_000  # the most that any known way of counting makes of a picture
FAR, SPARE = 10, 10_000  # a count of more than `FAR` times what was sent or allowed, and `SPARE`, is an error of the server
MESSAGE_TOKENS = 16  # what the frame of a message adds


class Manner(NamedTuple):
    """How an endpoint is made to keep to a form, strictest first, and what it calls the token limit."""

    structure: Structure = "schema"
    limit: str = "max_tokens"  # newer models: max_completion_tokens


@dataclass(frozen=True)
class Request:
    """One sample of a question; `sample` counts from 0."""

    key: str
    question: Question
    sample: int


@dataclass(frozen=True)
class Answer:
    """One sample as it came, named like the columns of the cache."""

    text: str  # without any secret
    finish_reason: str  # `GOOD`, else why it is of no use
    tokens_in: int | None = None
    tokens_out: int | None = None
    returned_model: str = ""  # the one that answered, in the endpoint's own words


def requests(questions: Iterable[Question], settings: Describe) -> list[Request]:
    """All samples of all questions, in order, each key once.

    A key is the SHA-256 of the canonical JSON of model, messages, schema, sampling parameters, sample index and prompt
    version: whatever changes the answer, and neither key nor URL of an endpoint. Images are in it by their names.

    Raises:
        NolaError: completion style with images or attributes.
    """
    completion = settings.style == "completion"
    sampling = settings.model_dump(include=PARAMETERS) | ({"stop": STOP} if completion else {})
    if completion or settings.reasoning_effort is None:
        del sampling["reasoning_effort"]
    made: dict[str, Request] = {}
    for question in questions:
        if completion and (question.images or question.form == "attributes"):
            raise NolaError(f"completion style answers one sentence, not '{question.prompt}'; set describe.style to chat.")
        parts = {"model": settings.model, "messages": _messages(question, question.images), "schema": schema(question.form)}
        parts |= {"sampling": sampling, "prompt_version": question.prompt_version}
        for sample in range(question.samples):
            key = digest({**parts, "sample": sample})
            made.setdefault(key, Request(key, question, sample))
    return list(made.values())


def grouped(requests: Iterable[Request], settings: Describe) -> Iterator[list[Request]]:
    """What goes into one HTTP request each: samples of one question in completion style, else a single one."""
    size = COMPLETION_SAMPLES if settings.style == "completion" else 1
    for _, samples in groupby(requests, key=lambda request: request.question):
        group = list(samples)
        yield from (group[start : start + size] for start in range(0, len(group), size))


def body(
    group: Sequence[Request], settings: Describe, manner: Manner, *, load_image: ImageLoader | None = None
) -> dict[str, Any]:
    """The JSON of one HTTP request for the samples of one question; a question with images needs `load_image`."""
    question = group[0].question
    if settings.style == "completion":
        own = {"prompt": question.prompt, "n": len(group), "stop": STOP, "max_tokens": settings.max_tokens}
    else:
        if question.images and load_image is None:
            raise NolaError(f"'{question.prompt}' is about images, and there is nothing here to load them with.")
        jpegs = [load_image(image) for image in question.images] if load_image else []
        urls = ["data:image/jpeg;base64," + base64.b64encode(jpeg).decode() for jpeg in jpegs]
        own = {"messages": _messages(question, urls, structure=manner.structure), manner.limit: settings.max_tokens}
        own["reasoning_effort"] = settings.reasoning_effort
        if question.form != "plain" and manner.structure == "schema":
            strict = {"name": question.form, "strict": True, "schema": schema(question.form)}
            own["response_format"] = {"type": "json_schema", "json_schema": strict}
        elif question.form != "plain" and manner.structure == "json":
            own["response_format"] = {"type": "json_object"}
    made = {"model": settings.model, "temperature": settings.temperature, **own}
    return {name: value for name, value in made.items() if value is not None}


def schema(form: Form) -> dict[str, Any] | None:
    """JSON schema of a form, None for plain text; part of every key."""
    if form == "plain":
        return None
    about, items = ABOUT[form]
    listed = {"description": items, "items": {"type": "string"}, "type": "array"}
    made = {"description": about, "properties": {form: listed}, "required": [form], "type": "object"}
    return {"additionalProperties": False, **made}


@dataclass(frozen=True)
class Price:
    """Dollars a token, and how many tokens a picture counts at most (`describe.image_tokens`)."""

    tokens_in: float
    tokens_out: float
    image_tokens: int

    @classmethod
    def of(cls, settings: Describe, *, share: float = 1.0, capped: bool = False) -> Price | None:
        """`share` of the price in `describe.price`, else in prices.yaml; None if unknown.

        Raises:
            NolaError: it is unknown, is needed (`capped`), and there is a cap.
        """
        model, dollars = settings.model, settings.price
        if dollars is None:
            table = read_yaml(PRICES)
            known = [name for name in table if model == name or model.startswith(f"{name}-2")]  # gpt-4o-2024-08-06
            dollars = table[max(known, key=len)] if known else None
        if dollars is not None:
            return cls(share * dollars[0] / 1e6, share * dollars[1] / 1e6, settings.image_tokens)
        if capped and settings.max_cost is not None:
            raise NolaError(
                f"describe.max_cost cannot be kept: the price of {model} is unknown. Set describe.price to [dollars in, "
                "dollars out] for a million tokens ([0, 0] for a model of your own), or describe.max_cost to null."
            )
        return None

    def cost(self, tokens_in: int, tokens_out: int) -> float:
        """Dollars."""
        return tokens_in * self.tokens_in + tokens_out * self.tokens_out

    def most(self, group: Sequence[Request], settings: Describe) -> float:
        """Dollars that one HTTP request for the samples of one question can cost: no token is shorter than a byte."""
        return self.cost(_sent(group, self.image_tokens), settings.max_tokens * len(group))


def tokens_likely(group: Sequence[Request], settings: Describe) -> tuple[int, int]:
    """A guess at the tokens (in, out) of one HTTP request: four bytes a token, half of what may be answered."""
    return _sent(group, 4 * IMAGE_TOKENS) // 4, settings.max_tokens * len(group) // 2


def counted(usage: Any, group: Sequence[Request], settings: Describe) -> tuple[int | None, int | None]:
    """Tokens (in, out) by an endpoint's own count; None for what it does not say, or cannot mean (see `FAR`)."""
    said, sent = usage if isinstance(usage, dict) else {}, _sent(group, MOST_IMAGE_TOKENS)
    return _meant(said.get("prompt_tokens"), sent), _meant(said.get("completion_tokens"), settings.max_tokens * len(group))


def _meant(said: Any, most: int) -> int | None:
    return int(said) if type(said) in (int, float) and 1 <= said <= FAR * most + SPARE else None  # NaN is neither


def _sent(group: Sequence[Request], image_tokens: int) -> int:
    """Tokens in at most: one for each byte, and `image_tokens` for each picture."""
    question = group[0].question
    text = question.prompt + INSTRUCTIONS.get((question.form, "json"), "") + str(schema(question.form) or "")
    return len(text.encode()) + MESSAGE_TOKENS + image_tokens * len(question.images)


def judged(text: str, *, form: Form, structure: Structure) -> tuple[str, str]:
    """(text to keep, finish reason) of an answer that came to its end.

    A structured answer is kept as canonical JSON of its form, however it arrived; one that failed is kept as it came.
    """
    if not text.strip():
        return text, "empty"
    refused = REFUSAL.match(text.strip())
    if form == "plain":
        return text, "refusal" if refused else GOOD
    if structure == "lines" and not text.lstrip().startswith(("{", "[", "```")):  # JSON is welcome too
        lines = [BULLET.sub("", line).strip() for line in text.splitlines()]
        items = [line for line in lines if line and not line.endswith(":")]
        if items and REFUSAL.match(items[0]):
            return text, "refusal"
    else:
        try:
            found = json.loads(text[text.index("{") : text.rindex("}") + 1])
            if set(found) != {form} or not isinstance(found[form], list):
                raise ValueError
            items = [item.strip() for item in found[form] if item.strip()]
        except (ValueError, TypeError, AttributeError, RecursionError):
            return text, "refusal" if refused else "malformed"
    return (json.dumps({form: items}, ensure_ascii=False), GOOD) if items else (text, "empty")


def texts(text: str, *, form: Form, name: str) -> list[str]:
    """The texts for the text tower in a good answer, as `judged` keeps it; `name` is the class as it reads in a sentence."""
    if form == "plain":
        return [" ".join(text.split())]
    items = [" ".join(item.split()) for item in json.loads(text)[form]]
    return items if form == "sentences" else [f"{name}, which has {item.rstrip('.')}" for item in items]


def _messages(question: Question, images: Sequence[str], *, structure: Structure = "schema") -> list[dict[str, Any]]:
    """The chat messages of a question; `images` are URLs."""
    instruction = INSTRUCTIONS.get((question.form, structure), "")
    content: Any = f"{question.prompt}\n\n{instruction}" if instruction else question.prompt
    if images:
        pictures = [{"type": "image_url", "image_url": {"url": url}} for url in images]
        content = [{"type": "text", "text": content}, *pictures]
    return [{"role": "user", "content": content}]
