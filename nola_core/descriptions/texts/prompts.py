"""Prompt sets: what is asked about every class, from `prompt_sets/*.yaml` or a file of the user's.

A prompt is a sentence with places in braces:

    {c}            the class name as it reads in a text
    {a}            its article, right before {c}: a, an, or nothing for plurals ("scissors") and names with one of their own
    {is|are}       the first form for a singular name, the second for a plural
    {c2}, {a2}     a second class; only in sets that ask what tells two classes apart (`rounds.confusion`)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import pandas as pd
from pydantic import Field, model_validator

from nola_core.errors import NolaError
from nola_core.grammar import article, closest, is_plural
from nola_core.schema import Section, read_yaml, validate

Form = Literal["sentences", "attributes", "plain"]
"""What an answer is: a list of sentences, a list of noun phrases ("two pointed ears"), or text as it comes."""
FOLDER = Path(__file__).parents[1] / "prompt_sets"
PLACE = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class Question:
    """One question to a language model about one class."""

    class_name: str  # as in classes.name
    prompt: str  # the user message, class name filled in
    prompt_version: str  # such as general/1
    samples: int  # how many answers are wanted
    form: Form
    images: tuple[str, ...] = ()  # what the model is shown: names such as `sha256:...` that an `ImageLoader` knows


class PromptSet(Section):
    """The questions of one set; `name` is filled in from the file's name."""

    name: str
    version: Annotated[int, Field(ge=1)]  # raise it when a prompt changes: answers to the old wording are then asked again
    about: str  # what the set is for and where its wording is from; shown by `nola describe prompts`
    form: Form
    samples: Annotated[int, Field(ge=1)]  # answers for each prompt and class
    prompts: Annotated[list[str], Field(min_length=1)]
    instruction: str = ""  # appended to every prompt; takes the same places in braces
    pairs: bool = False  # whether it asks about two classes at a time

    @property
    def prompt_version(self) -> str:
        """`name/version`, part of the key of every answer."""
        return f"{self.name}/{self.version}"

    @property
    def texts(self) -> list[str]:
        """The prompts with the instruction, places in braces still open."""
        return [f"{prompt} {self.instruction}".strip() for prompt in self.prompts]

    def ask(self, name: str, *, c: str, c2: str = "") -> list[Question]:
        """Every prompt about the class `name`, which reads `c` in a text (and about a second one, `c2`)."""
        prompts = [fill(text, c=c, c2=c2) for text in self.texts]
        return [Question(name, prompt, self.prompt_version, self.samples, self.form) for prompt in prompts]

    @model_validator(mode="after")
    def _check_places(self) -> PromptSet:
        needed = ("c", "c2") if self.pairs else ("c",)
        allowed = [*(f"a{name[1:]}" for name in needed), *needed]
        for kind, text in [*(("prompt", prompt) for prompt in self.prompts), ("instruction", self.instruction)]:
            where, places = f"{kind} '{text}'", PLACE.findall(text)
            if re.search(r"[{}]", PLACE.sub("", text)):
                raise ValueError(f"{where} has a brace without its partner")
            for place in places:
                if place not in allowed and not re.fullmatch(r"[^|]+\|[^|]+", place):
                    known = ", ".join(f"{{{name}}}" for name in allowed)
                    raise ValueError(f"{where} has the unknown place {{{place}}}; known are {known} and {{singular|plural}}")
            if loose := re.search(r"\{a(2?)\}(?! \{c\1\})", text):
                raise ValueError(f"{where} must have {{c{loose[1]}}} right after {{a{loose[1]}}}, its article")
            for name in needed:
                if kind == "prompt" and name not in places:
                    raise ValueError(f"{where} lacks {{{name}}}, where the class name goes")
        return self


def names() -> list[str]:
    """The prompt sets that come with NoLA."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_prompt_set(name: str, *, root: Path = Path()) -> PromptSet:
    """A prompt set by its name, one of `names()`, or by the path below `root` of a YAML file of the same form.

    Raises:
        NolaError: no such set or file, an unknown or missing key, or a prompt with a wrong place in braces.
    """
    path = root / name if name.endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    if not path.is_file() and path.parent == FOLDER:
        near = closest(name, names())
        hint = f"did you mean '{near}'?" if near else f"there are {', '.join(names())}, or your own, prompts/<name>.yaml."
        raise NolaError(f"there is no prompt set '{name}'; {hint}")
    return validate(PromptSet, {**read_yaml(path), "name": path.stem}, source=str(path))


def questions(prompt_set: PromptSet, classes: pd.DataFrame) -> list[Question]:
    """Every prompt of a set asked about every class (`name, display_name`, which goes into the text), class by class.

    Raises:
        NolaError: the set asks about two classes at a time.
    """
    if prompt_set.pairs:
        raise NolaError(f"prompt set '{prompt_set.name}' compares two classes; use it with `nola describe refine`.")
    named = zip(classes["name"], classes["display_name"], strict=True)
    return [question for name, shown in named for question in prompt_set.ask(name, c=shown)]


def fill(prompt: str, *, c: str, c2: str = "") -> str:
    """A prompt with the class name `c` (and a second one) in its places; the prompt has been checked.

    `{x|y}` agrees with `c`. Where there is no article its place and the space after it vanish.
    """
    values = {"c": c, "a": article(c), "c2": c2, "a2": article(c2)}

    def value(match: re.Match[str]) -> str:
        place = match.group(1)
        text = place.split("|")[is_plural(c)] if "|" in place else values[place]
        return text + match.group(2) if text else ""

    return re.sub(PLACE.pattern + r"( ?)", value, prompt)
