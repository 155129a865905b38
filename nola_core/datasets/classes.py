"""The class list of a collection, checked: names must be distinct, readable in a sentence, and printable."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nola_core.datasets.definition import DatasetDefinition
from nola_core.datasets.names import display_name
from nola_core.datasets.readers.reader import Reader, lines_of
from nola_core.errors import NolaError
from nola_core.text import printable

LONGEST = 200
"""Maximum number of characters in a class name, which is about the limit of a text tower and of a page."""
FORBIDDEN = ("Cc", "Cs", "Zl", "Zp")
"""Unicode categories: control characters, surrogates, line separators and paragraph separators."""


class ClassName(NamedTuple):
    """A class name as the source spells it, and as it is used in texts."""

    name: str
    display_name: str


def class_names(definition: DatasetDefinition, reader: Reader) -> list[ClassName]:
    """The classes in the order of their ids.

    Raises:
        NolaError: fewer than two classes, a name that is empty, too long or contains control characters, or two names that read
            the same.
    """
    names, where = _listed(definition, reader)
    return check_names(names, where=where)


def check_names(names: Sequence[str], *, where: str) -> list[ClassName]:
    """See `class_names`.

    Args:
        where: what the messages call the place of the names.
    """
    found = [_checked(name, f"{where}: class {position} of {len(names)}") for position, name in enumerate(names, start=1)]
    same = defaultdict(list)
    for position, entry in enumerate(found, start=1):
        same[reading(entry.name)].append(f"'{printable(entry.name)}' (class {position})")
    for twice in same.values():
        if len(twice) > 1:
            raise NolaError(f"{where}: duplicate class names {' and '.join(twice)}; give every class a distinct name.")
    if len(names) < 2:
        raise NolaError(f"{where}: {len(names)} class names; a classifier needs at least two, so add more.")
    return found


def class_list(names: Sequence[str], changes: Mapping[str, Any]) -> list[str]:
    """The class names after corrections: those of the definition, then the new ones, without those that were merged away.

    Args:
        names: of the definition.
        changes: `Corrections.of_classes`.
    """
    return [name for name in [*names, *changes.get("classes", ())] if name not in changes.get("merges", {})]


def reading(name: str) -> str:
    """A class name in normal form: without differences in case, underscores, invisible characters and Unicode encoding."""
    visible = "".join(letter for letter in name if unicodedata.category(letter) != "Cf")
    plain = unicodedata.normalize("NFKC", display_name(visible))
    return " ".join("".join(letter for letter in plain if unicodedata.category(letter) != "Cf").casefold().split())


def _listed(definition: DatasetDefinition, reader: Reader) -> tuple[list[str], str]:
    """The names as written, and the file that contains them."""
    where = f"data/{definition.name}.yaml"
    if isinstance(definition.classes, list):
        return definition.classes, where
    if definition.classes in ("folders", "reader"):
        names = reader.class_names()
        if not names:
            raise NolaError(
                f"{where}: {definition.source} contains no class names; list them under `classes`, or for `nola add` with "
                "--classes."
            )
        return names, where
    try:
        return lines_of(Path(definition.classes)), definition.classes
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror or error) if isinstance(error, OSError) else "it is not UTF-8"
        raise NolaError(
            f"{where}: the class list {definition.classes} cannot be read ({reason}); fix the file or its path."
        ) from None


def _checked(name: str, what: str) -> ClassName:
    if not name.strip():
        raise NolaError(f"{what} has no name; give it one.")
    shown = printable(name if len(name) <= LONGEST else f"{name[:40]}...")
    if len(name) > LONGEST:
        raise NolaError(f"{what}, '{shown}', has {len(name):,} characters; shorten it to at most {LONGEST}.")
    steering = next((letter for letter in name if unicodedata.category(letter) in FORBIDDEN), None)
    if steering is not None:
        raise NolaError(f"{what}, '{shown}', contains the control character U+{ord(steering):04X}; remove it.")
    if not reading(name):
        raise NolaError(f"{what}, '{shown}', has no visible characters; give it a readable name.")
    return ClassName(name, display_name(name))
