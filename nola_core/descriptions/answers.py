"""What a model may answer: the schema of each form of question, and an answer read into texts or given a reason why not."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Form = Literal["sentences", "attributes", "plain"]
Structure = Literal["schema", "json", "lines"]
STRUCTURES: tuple[Structure, ...] = ("schema", "json", "lines")
"""How an endpoint can be made to keep to a form, strictest first."""

GOOD = "stop"
"""The finish reason of an answer that is used. All others are failures: length, content_filter, refusal, malformed, empty."""

REFUSAL = re.compile(
    r"(i['’]?m|i am) (very |so )?(sorry|unable)|sorry,|i (can['’]?t|cannot|can ?not|won['’]?t)\b|as an ai\b", re.I
)
BULLET = re.compile(r"^\s*(?:[-*•]+|\(?\d+[.):])\s+")


class Sentences(BaseModel):
    """Whole sentences, each of which stands alone."""

    model_config = ConfigDict(extra="forbid")
    sentences: list[str] = Field(description="Sentences, each complete without the others.")


class Attributes(BaseModel):
    """Visual attributes as noun phrases."""

    model_config = ConfigDict(extra="forbid")
    attributes: list[str] = Field(description="Visible attributes, each a short noun phrase that can follow 'which has'.")


MODELS: dict[str, type[Sentences] | type[Attributes]] = {"sentences": Sentences, "attributes": Attributes}
INSTRUCTIONS = {
    ("sentences", "json"): 'Answer with a JSON object and nothing else: {"sentences": ["...", "..."]}',
    ("attributes", "json"): 'Answer with a JSON object and nothing else: {"attributes": ["...", "..."]}, short noun phrases.',
    ("sentences", "lines"): "Write each sentence on a line of its own and nothing else.",
    ("attributes", "lines"): "Write each attribute as a short noun phrase on a line of its own and nothing else.",
}
"""What is added to the prompt where the endpoint does not take a schema."""


@cache
def schema(form: Form) -> dict[str, Any] | None:
    """JSON schema of a form, None for plain text. The titles pydantic makes up are left out: the schema is part of the key."""
    return _untitled(MODELS[form].model_json_schema()) if form in MODELS else None


def response_format(form: Form, structure: Structure) -> dict[str, Any] | None:
    """`response_format` of a chat request, or None."""
    if form == "plain" or structure == "lines":
        return None
    if structure == "json":
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": {"name": form, "strict": True, "schema": schema(form)}}


def judged(text: str, *, form: Form, structure: Structure) -> tuple[str, str]:
    """(text to keep, finish reason) of an answer that came to its end.

    A structured answer is kept as canonical JSON of its form, however it arrived; one that failed is kept as it came.
    """
    if not text.strip():
        return text, "empty"
    if form == "plain":
        return text, "refusal" if REFUSAL.match(text.strip()) else GOOD
    if structure == "lines" and not text.lstrip().startswith(("{", "[", "```")):  # JSON that nobody asked for is welcome too
        lines = [BULLET.sub("", line).strip() for line in text.splitlines()]
        items = [line for line in lines if line and not line.endswith(":")]
        if items and REFUSAL.match(items[0]):
            return text, "refusal"
    else:
        try:
            found = MODELS[form].model_validate_json(text[text.index("{") : text.rindex("}") + 1])
        except (ValueError, ValidationError):
            return text, "refusal" if REFUSAL.match(text.strip()) else "malformed"
        items = [item.strip() for item in getattr(found, form) if item.strip()]
    return (json.dumps({form: items}, ensure_ascii=False), GOOD) if items else (text, "empty")


def texts(text: str, *, form: Form, name: str) -> list[str]:
    """The texts for the text tower in a good answer, as `judged` keeps it; `name` is the class as it reads in a sentence."""
    if form == "plain":
        return [" ".join(text.split())]
    items = [" ".join(item.split()) for item in json.loads(text)[form]]
    return items if form == "sentences" else [f"{name}, which has {item.rstrip('.')}" for item in items]


def _untitled(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _untitled(inner) for key, inner in value.items() if key != "title"}
    return [_untitled(inner) for inner in value] if isinstance(value, list) else value
