"""The class list of a collection, checked: names that can be told apart, read in a sentence, and printed."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from nola_core.datasets.definition import DatasetDefinition
from nola_core.datasets.names import display_name
from nola_core.datasets.readers.reader import Reader, lines_of
from nola_core.errors import NolaError
from nola_core.text import printable

LONGEST = 200
"""Characters of a class name. A text tower reads about that much, and no page has room for more."""
FORBIDDEN = ("Cc", "Cs", "Zl", "Zp")
"""Unicode's categories of control characters, halves of pairs, and separators of lines and paragraphs."""


class ClassName(NamedTuple):
    """A class as the source spells it, and as it goes into texts."""

    name: str
    display_name: str


def class_names(definition: DatasetDefinition, reader: Reader) -> list[ClassName]:
    """The classes in the order of their ids.

    Raises:
        NolaError: fewer than two classes, a name that is empty, too long or holds control characters, or two classes that
            read the same.
    """
    names, where = _listed(definition, reader)
    found = [_checked(name, f"{where}: class {position} of {len(names)}") for position, name in enumerate(names, start=1)]
    same = defaultdict(list)
    for position, entry in enumerate(found, start=1):
        same[reading(entry.name)].append(f"'{printable(entry.name)}' (class {position})")
    for twice in same.values():
        if len(twice) > 1:
            raise NolaError(f"{where}: duplicate class names {' and '.join(twice)}; every class needs a name of its own.")
    if len(names) < 2:
        raise NolaError(f"{where}: {len(names)} class names; a classifier needs at least two.")
    return found


def reading(name: str) -> str:
    """What a class name comes down to for a reader: case, underscores, invisible characters and ways of encoding left aside."""
    plain = unicodedata.normalize("NFKC", display_name(name))
    return " ".join("".join(letter for letter in plain if unicodedata.category(letter) != "Cf").casefold().split())


def _listed(definition: DatasetDefinition, reader: Reader) -> tuple[list[str], str]:
    """The names as they stand, and the file they stand in."""
    where = f"data/{definition.name}.yaml"
    if isinstance(definition.classes, list):
        return definition.classes, where
    if definition.classes in ("folders", "reader"):
        names = reader.class_names()
        if not names:
            raise NolaError(
                f"{where}: {definition.source} names no classes of its own; list them under `classes`, for `nola add` by "
                "--classes."
            )
        return names, where
    try:
        return lines_of(Path(definition.classes)), definition.classes
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror or error) if isinstance(error, OSError) else "it is no UTF-8"
        raise NolaError(f"{where}: the class list {definition.classes} cannot be read ({reason}).") from None


def _checked(name: str, what: str) -> ClassName:
    if not name.strip():
        raise NolaError(f"{what} has no name.")
    shown = printable(name if len(name) <= LONGEST else f"{name[:40]}...")
    if len(name) > LONGEST:
        raise NolaError(f"{what}, '{shown}', has {len(name):,} characters; a name has at most {LONGEST}.")
    steering = next((letter for letter in name if unicodedata.category(letter) in FORBIDDEN), None)
    if steering is not None:
        raise NolaError(f"{what}, '{shown}', holds the control character U+{ord(steering):04X}; take it out.")
    if not reading(name):
        raise NolaError(f"{what}, '{shown}', reads as nothing in a text; give it a name.")
    return ClassName(name, display_name(name))
