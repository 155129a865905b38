"""The little English that prompts need: a, an or no article, one or many."""

from __future__ import annotations

import re


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PLURAL_ONLY = _words(
    """
    binoculars cattle children clothes earphones eyeglasses feet geese glasses goggles headphones jeans leggings men mice
    overalls pajamas pants people pliers police pyjamas scissors shorts stairs sunglasses teeth tights tongs trousers
    tweezers women
    """
)
SINGULAR_S = _words(
    """
    albatross asbestos asparagus atlas billiards canvas chaos christmas corps cosmos cyclops diabetes gas gymnastics kudos
    lens mars mercedes molasses news pancreas physics rhinoceros series species swiss texas thermos
    """
)
PLURAL_S = _words(
    """
    bikinis emus gnus kiwis menus okapis skis taxis tutus zucchinis
    """
)
DETERMINERS = _words(
    """
    a an her his its my our some that the their these this those your
    """
)
SILENT_H = re.compile(r"(?:hour|honest|honou?r|heir)")
YOU = re.compile(r"uni(?!n|m)|unimo|u[bcfhjkqrst][aeiou](?!er\b)|e[uw]|(?:one|once)(?![a-z])|ouija")
"""Beginnings that are written with a vowel and spoken with a consonant."""
SPOKEN_AS_WORDS = frozenset(["FIAT", "LAN", "MINI", "NASA", "NATO", "RAM", "SIM"])


def article(name: str) -> str:
    """`a`, `an`, or nothing where the name is a plural or brings a determiner of its own."""
    first = re.split(r"\s", name.strip(), maxsplit=1)[0]
    if first.casefold() in DETERMINERS or is_plural(name):
        return ""
    return "an" if _begins_with_vowel_sound(first) else "a"


def is_plural(name: str) -> bool:
    """Whether a noun phrase is a plural, judged by its head: the last word before a preposition.

    A rule for English plurals in -s and lists of common exceptions; it can be wrong about rare names.
    """
    head = re.split(r" (?:of|with|in|on|at|for|from|to|by|without) ", name.strip().casefold(), maxsplit=1)[0]
    word = re.split(r"[^\w']+", head)[-1] if head else ""
    if word in PLURAL_ONLY or word in PLURAL_S or word.endswith(("women", "firemen", "policemen", "fishermen")):
        return True
    if word in SINGULAR_S or len(word) < 4 or not word.isalpha():
        return False
    return word.endswith("s") and not word.endswith(("ss", "us", "is"))


def singular(word: str) -> str:
    """A lower-case word without its plural ending, for comparing names; not always a word."""
    if len(word) < 4 or word in SINGULAR_S or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("shes", "ches", "xes", "sses", "zes")):
        return word[:-2]
    return word[:-1]


def _begins_with_vowel_sound(word: str) -> bool:
    number = re.match(r"[0-9]+", word)
    if number:
        digits = number.group()
        return digits.startswith("8") or (digits[:2] in ("11", "18") and len(digits) in (2, 4, 5))
    letters = re.match(r"[^\W\d_]+", word)
    if not letters:
        return False
    part, lower = letters.group(), letters.group().casefold()
    if _is_spelled(word, part):
        return part[0].upper() in "AEFHILMNORSX"
    if lower == "uber":
        return True
    if SILENT_H.match(lower):
        return True
    return lower[0] in "aeiouáàâäéèêëíîïóôöúü" and not YOU.match(lower)


def _is_spelled(word: str, part: str) -> bool:
    """Whether a word is spoken letter by letter: `MRI`, `F-16`, `x-ray`, `HDTV`, but not `NASA`."""
    if len(part) == 1:
        return part.isupper() or len(word) > 1
    if not part.isupper() or part in SPOKEN_AS_WORDS:
        return False
    return len(part) <= 3 or not re.search("[AEIOU]", part)
