"""Questions -> requests: one a sample, each with the key it is known by for ever."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from nola_core.descriptions.answers import INSTRUCTIONS, Structure, response_format, schema
from nola_core.descriptions.question import Question
from nola_core.errors import NolaError
from nola_core.files import digest, sha256_file

ImageLoader = Callable[[str], bytes]
"""An image of a question -> the bytes of a JPEG."""


@dataclass(frozen=True)
class Sampling:
    """What else decides about an answer: model and sampling parameters. `stop` is sent in completion style alone."""

    model: str
    style: Literal["chat", "completion"] = "chat"
    temperature: float | None = 0.99
    """None leaves it out: some models refuse it."""
    reasoning_effort: str | None = None
    """Likewise; in chat style alone."""
    max_tokens: int = 300
    stop: str = "."


@dataclass(frozen=True)
class Request:
    """One sample of a question."""

    key: str
    question: Question
    sample: int
    """Counts from 0."""


def requests(questions: Iterable[Question], sampling: Sampling) -> list[Request]:
    """All samples of all questions, in order, each key once.

    A key is the SHA-256 of the canonical JSON of model, messages, schema, sampling parameters, sample index and prompt
    version: whatever changes the answer, and neither key nor URL of an endpoint. Images are in it by their own SHA-256.

    Raises:
        NolaError: completion style with images or attributes, or an image that is not there.
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
            "messages": messages(question, images=[f"sha256:{_identity(image)}" for image in question.images]),
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

    Args:
        group: samples of the same question.
        structure: how the endpoint is made to keep to the form.
        limit: what the endpoint calls the token limit: `max_tokens` or, for newer models, `max_completion_tokens`.
        load_image: makes the JPEG of an image that is no data URL; by default it is read from its path.
    """
    question = group[0].question
    if sampling.style == "completion":
        made: dict[str, Any] = {
            "prompt": question.prompt,
            "n": len(group),
            "stop": sampling.stop,
            "max_tokens": sampling.max_tokens,
        }
    else:
        urls = [_data_url(image, load_image or _read) for image in question.images]
        made = {
            "messages": messages(question, images=urls, instruction=INSTRUCTIONS.get((question.form, structure), "")),
            limit: sampling.max_tokens,
        }
        if (form := response_format(question.form, structure)) is not None:
            made["response_format"] = form
        if sampling.reasoning_effort is not None:
            made["reasoning_effort"] = sampling.reasoning_effort
    if sampling.temperature is not None:
        made["temperature"] = sampling.temperature
    return {"model": sampling.model, **made}


def _identity(image: str) -> str:
    """SHA-256 an image is known by: its own after `sha256:` (whoever loads it knows what is meant), else that of its bytes."""
    if image.startswith("sha256:"):
        return image.removeprefix("sha256:")
    if image.startswith("data:"):
        return hashlib.sha256(image.encode()).hexdigest()
    if not Path(image).is_file():
        raise NolaError(f"the image {image} of a question does not exist.")
    return sha256_file(Path(image))


def _data_url(image: str, load_image: ImageLoader) -> str:
    return image if image.startswith("data:") else "data:image/jpeg;base64," + base64.b64encode(load_image(image)).decode()


def _read(image: str) -> bytes:
    return Path(image).read_bytes()
