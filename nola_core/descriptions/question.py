"""What is asked about a class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Question:
    """One thing to ask the model about one class: answered `samples` times."""

    class_name: str  # as in classes.name
    prompt: str  # the user message, class name filled in
    prompt_version: str  # e.g. "general/1"
    samples: int
    form: Literal["sentences", "attributes", "plain"]  # which structured schema the answer has
    images: tuple[str, ...] = ()  # data URLs or paths for captions
