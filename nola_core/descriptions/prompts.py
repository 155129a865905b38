"""Prompt sets: what is asked about every class, from `prompt_sets/*.yaml` or a file of the user's.

A prompt is a sentence with places in braces:

    {c}            the class name as it reads in a text
    {a}            its article, right before {c}: a, an, or nothing for plurals ("scissors") and names with one of their own
    {is|are}       the first form for a singular name, the second for a plural
    {c2}, {a2}     a second class; only in sets that ask what tells two classes apart (nola_core.descriptions.confusion)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import pandas as pd
from pydantic import Field
from rapidfuzz import fuzz, process

from nola_core.descriptions.grammar import article, is_plural
from nola_core.descriptions.request import Form, Question
from nola_core.errors import NolaError
from nola_core.schema import Section, read_yaml, validate

FOLDER = Path(__file__).parent / "prompt_sets"
PLACE = re.compile(r"\{([^{}]*)\}")


class PromptSet(Section):
    """The questions of one set; `name` is filled in from the file's name."""

    name: str
    version: Annotated[int, Field(ge=1)]  # counts up when a prompt changes: old answers are none to the new wording
    about: str  # what it is for and where its wording is from; shown by `nola describe prompts`
    form: Form
    samples: Annotated[int, Field(ge=1)]  # answers a prompt and class
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
        near = process.extractOne(name, names(), scorer=fuzz.ratio, score_cutoff=60)
        hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(names())}, or your own, prompts/<name>.yaml."
        raise NolaError(f"there is no prompt set '{name}'; {hint}")
    found = validate(PromptSet, {**read_yaml(path), "name": path.stem}, source=str(path))
    allowed = {"c", "a", "c2", "a2"} if found.pairs else {"c", "a"}
    for prompt in found.prompts:
        _check(prompt, allowed, f"{path}: prompt '{prompt}'", needed=["{c}", "{c2}"] if found.pairs else ["{c}"])
    _check(found.instruction, allowed, f"{path}: instruction '{found.instruction}'", needed=[])
    return found


def questions(prompt_set: PromptSet, classes: pd.DataFrame) -> list[Question]:
    """Every prompt of a set asked about every class (`name, display_name`, which goes into the text), class by class.

    Raises:
        NolaError: the set asks about two classes at a time.
    """
    if prompt_set.pairs:
        raise NolaError(f"prompt set '{prompt_set.name}' compares two classes; it is for `refine`, not for describe.")
    return [
        Question(name, fill(text, c=shown), prompt_set.prompt_version, prompt_set.samples, prompt_set.form)
        for name, shown in zip(classes["name"], classes["display_name"], strict=True)
        for text in prompt_set.texts
    ]


def fill(prompt: str, *, c: str, c2: str = "") -> str:
    """A prompt with the class name `c` (and a second one) in its places; the prompt has been checked.

    `{x|y}` agrees with `c`. Where there is no article its place and the space behind it vanish.
    """
    values: Mapping[str, str] = {"c": c, "a": article(c), "c2": c2, "a2": article(c2) if c2 else ""}

    def value(match: re.Match[str]) -> str:
        place = match.group(1)
        text = place.split("|")[is_plural(c)] if "|" in place else values[place]
        return text + match.group(2) if text else ""

    return re.sub(PLACE.pattern + r"( ?)", value, prompt)


def _check(prompt: str, allowed: set[str], where: str, *, needed: list[str]) -> None:
    rest = PLACE.sub("", prompt)
    if "{" in rest or "}" in rest:
        raise NolaError(f"{where} has a brace without its partner.")
    for place in PLACE.findall(prompt):
        if place.count("|") == 1 and all(place.split("|")):
            continue
        if place not in allowed:
            known = ", ".join(f"{{{name}}}" for name in sorted(allowed))
            raise NolaError(f"{where} has the unknown place {{{place}}}; known are {known} and {{singular|plural}}.")
    if loose := re.search(r"\{a(2?)\}(?! \{c\1\})", prompt):
        raise NolaError(f"{where} must have {{c{loose[1]}}} right behind {{a{loose[1]}}}, whose article it is.")
    for place in needed:
        if place not in prompt:
            raise NolaError(f"{where} lacks {place}, where the class name goes.")
