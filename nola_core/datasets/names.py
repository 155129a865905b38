"""Turn class names as data sets spell them into readable names."""

from __future__ import annotations

import re
from collections.abc import Sequence

WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
"""Parts of an identifier: an acronym, a word with or without a capital, a number."""
SYNSET = re.compile(r"n[0-9]{8}")


def display_name(name: str) -> str:
    """A class name as used in prompts and templates.

    Underscores become spaces. A one-word name is an identifier if it is CamelCase (`AnnualCrop`: annual crop) or a word of at
    least three letters followed by a number (`Boeing737`: Boeing 737); identifiers are split. A name that contains a space keeps
    its words. So do names with other characters (`747-400`, `F-16`), short first parts (`McLaren`, `iPhone`) and acronyms with a
    number (`A320`, `MP3`).
    """
    words = name.replace("_", " ").split()
    return " ".join(words if re.search(r"\s", name.strip()) else (_split(word) for word in words))


def _split(word: str) -> str:
    """The words of an identifier; capitals from CamelCase become lower case, acronyms do not change."""
    parts = WORDS.findall(word)
    if not re.fullmatch(r"[A-Za-z0-9]+", word) or len(parts) == 1:
        return word
    head, numbered = parts[0], any(part.isdigit() for part in parts)
    if len(head) < 2 or head.isdigit() or (numbered if head.isupper() else len(head) < 3):
        return word
    camel = re.search(r"[a-z][A-Z]|[A-Z]{2}[a-z]", word)
    return " ".join(_lowered(part) if camel else part for part in parts)


def _lowered(part: str) -> str:
    return part if part.isupper() and len(part) > 1 else part.lower()


def changed_names(names: Sequence[str], displayed: Sequence[str]) -> list[tuple[str, str]]:
    """(name, display name) of the classes for which the two differ."""
    return [(name, shown) for name, shown in zip(names, displayed, strict=True) if name != shown]


def telling_nothing(names: Sequence[str]) -> list[str]:
    """Names that mean nothing to a text tower: WordNet synset ids such as `n01440764`, and bare numbers."""
    return [name for name in names if SYNSET.fullmatch(name.strip()) or name.strip().isdigit()]


def not_english(names: Sequence[str]) -> list[str]:
    """Names with a letter that English has not, such as `Schlüssel`; accents of borrowed words (`café`) count, too."""
    return [name for name in names if any(letter.isalpha() and not letter.isascii() for letter in name)]
