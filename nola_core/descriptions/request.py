"""Questions and requests: what is asked in which form, the key an answer is known by for ever, and what may come back."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from nola_core.config import Describe
from nola_core.errors import NolaError
from nola_core.files import digest

Form = Literal["sentences", "attributes", "plain"]
Structure = Literal["schema", "json", "lines"]
STRUCTURES: tuple[Structure, ...] = ("schema", "json", "lines")
"""How an endpoint can be made to keep to a form, strictest first."""
ImageLoader = Callable[[str], bytes]
"""An image of a question, as it is named there -> the bytes of a JPEG."""
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
"""Form -> what its schema says of itself and of its items."""
INSTRUCTIONS = {
    ("sentences", "json"): 'Answer with a JSON object and nothing else: {"sentences": ["...", "..."]}',
    ("attributes", "json"): 'Answer with a JSON object and nothing else: {"attributes": ["...", "..."]}, short noun phrases.',
    ("sentences", "lines"): "Write each sentence on a line of its own and nothing else.",
    ("attributes", "lines"): "Write each attribute as a short noun phrase on a line of its own and nothing else.",
}
"""What is added to the prompt where the endpoint does not take a schema."""


@dataclass(frozen=True)
class Question:
    """One thing to ask the model about one class."""

    class_name: str  # as in classes.name
    prompt: str  # the user message, class name filled in
    prompt_version: str  # such as general/1
    samples: int  # so many answers
    form: Form
    images: tuple[str, ...] = ()  # names of what is in them, `sha256:...`; an `ImageLoader` knows them


@dataclass(frozen=True)
class Sampling:
    """What else decides about an answer: model and sampling parameters; None leaves one out."""

    model: str
    style: Literal["chat", "completion"] = "chat"
    temperature: float | None = 0.99
    reasoning_effort: str | None = None  # sent in chat style alone
    max_tokens: int = 300
    stop: str = "."  # sent in completion style alone

    @classmethod
    def of(cls, settings: Describe) -> Sampling:
        """The part of the settings that decides about an answer."""
        names = ("model", "style", "temperature", "reasoning_effort", "max_tokens")
        return cls(**{name: getattr(settings, name) for name in names})


@dataclass(frozen=True)
class Request:
    """One sample of a question; `sample` counts from 0."""

    key: str
    question: Question
    sample: int


@dataclass(frozen=True)
class Answer:
    """One sample as it came: the text that is kept (without any secret), and whether it is of use."""

    text: str
    finish_reason: str  # `GOOD`, else why it is of no use
    tokens_in: int | None = None
    tokens_out: int | None = None
    model: str = ""  # the one that answered, in the endpoint's own words


def requests(questions: Iterable[Question], sampling: Sampling) -> list[Request]:
    """All samples of all questions, in order, each key once.

    A key is the SHA-256 of the canonical JSON of model, messages, schema, sampling parameters, sample index and prompt
    version: whatever changes the answer, and neither key nor URL of an endpoint. Images are in it by their names.

    Raises:
        NolaError: completion style with images or attributes.
    """
    parameters = asdict(sampling)
    model = parameters.pop("model")
    if sampling.style == "chat":
        del parameters["stop"]
    if sampling.style == "completion" or sampling.reasoning_effort is None:
        del parameters["reasoning_effort"]
    made: dict[str, Request] = {}
    for question in questions:
        if sampling.style == "completion" and (question.images or question.form == "attributes"):
            raise NolaError(f"completion style answers one sentence, not '{question.prompt}'; set describe.style to chat.")
        parts = {
            "model": model,
            "messages": messages(question, images=question.images),
            "schema": schema(question.form),
            "sampling": parameters,
            "prompt_version": question.prompt_version,
        }
        for sample in range(question.samples):
            key = digest({**parts, "sample": sample})
            made.setdefault(key, Request(key=key, question=question, sample=sample))
    return list(made.values())


def messages(question: Question, *, images: Sequence[str], instruction: str = "") -> list[dict[str, Any]]:
    """The chat messages of a question; `images` are URLs."""
    text = f"{question.prompt}\n\n{instruction}" if instruction else question.prompt
    if not images:
        return [{"role": "user", "content": text}]
    pictures = [{"type": "image_url", "image_url": {"url": url}} for url in images]
    return [{"role": "user", "content": [{"type": "text", "text": text}, *pictures]}]


def body(
    group: Sequence[Request],
    sampling: Sampling,
    *,
    structure: Structure,
    limit: str = "max_tokens",
    load_image: ImageLoader | None = None,
) -> dict[str, Any]:
    """The JSON of one HTTP request for the samples of one question; in chat style there is one.

    The endpoint is made to keep to the form by `structure`, and calls the token limit `limit`: newer models
    `max_completion_tokens`. A question with images needs `load_image`.
    """
    question = group[0].question
    made: dict[str, Any] = {"model": sampling.model}
    if sampling.style == "completion":
        made |= {"prompt": question.prompt, "n": len(group), "stop": sampling.stop, "max_tokens": sampling.max_tokens}
    else:
        if question.images and load_image is None:
            raise NolaError(f"'{question.prompt}' is about images, and nobody can load them here.")
        jpegs = [load_image(image) for image in question.images] if load_image else []
        urls = ["data:image/jpeg;base64," + base64.b64encode(jpeg).decode() for jpeg in jpegs]
        made["messages"] = messages(question, images=urls, instruction=INSTRUCTIONS.get((question.form, structure), ""))
        made[limit] = sampling.max_tokens
        if question.form != "plain" and structure == "schema":
            strict = {"name": question.form, "strict": True, "schema": schema(question.form)}
            made["response_format"] = {"type": "json_schema", "json_schema": strict}
        elif question.form != "plain" and structure == "json":
            made["response_format"] = {"type": "json_object"}
        if sampling.reasoning_effort is not None:
            made["reasoning_effort"] = sampling.reasoning_effort
    if sampling.temperature is not None:
        made["temperature"] = sampling.temperature
    return made


def schema(form: Form) -> dict[str, Any] | None:
    """JSON schema of a form, None for plain text; part of every key."""
    if form == "plain":
        return None
    about, items = ABOUT[form]
    listed = {"description": items, "items": {"type": "string"}, "type": "array"}
    made = {"description": about, "properties": {form: listed}, "required": [form], "type": "object"}
    return {"additionalProperties": False, **made}


def judged(text: str, *, form: Form, structure: Structure) -> tuple[str, str]:
    """(text to keep, finish reason) of an answer that came to its end.

    A structured answer is kept as canonical JSON of its form, however it arrived; one that failed is kept as it came.
    """
    if not text.strip():
        return text, "empty"
    refused = REFUSAL.match(text.strip())
    if form == "plain":
        return text, "refusal" if refused else GOOD
    if structure == "lines" and not text.lstrip().startswith(("{", "[", "```")):  # JSON that nobody asked for is welcome too
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
