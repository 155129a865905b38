"""The little English that prompts need: a, an or no article, singular or plural; and names in messages.

Judged by spelling and lists of exceptions, so it can be wrong about rare names. Not done with inflect or pluralizer: they convert
words, do not tell which number a word has, and take walrus, lens and canvas for plurals; inflect also takes 2 s to import.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from rapidfuzz import fuzz, process


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PLURAL = _words("""
    bikinis binoculars cattle children clothes earphones emus eyeglasses feet geese glasses gnus goggles headphones jeans kiwis
    leggings men menus mice okapis overalls pajamas pants people pliers police pyjamas scissors shorts skis stairs sunglasses
    taxis teeth tights tongs trousers tutus tweezers women zucchinis
""")
SINGULAR_S = _words("""
    albatross asbestos asparagus atlas billiards canvas chaos christmas corps cosmos cyclops diabetes gas gymnastics kudos lens
    mars mercedes molasses news pancreas physics rhinoceros series species swiss texas thermos
""")
DETERMINERS = _words("a an her his its my our some that the their these this those your")
SPOKEN_AS_WORDS = _words("FIAT LAN MINI NASA NATO RAM SIM")
SILENT_H = re.compile(r"(?:hour|honest|honou?r|heir)")
YOU = re.compile(r"uni(?!n|m)|unimo|u[bcfhjkqrst][aeiou](?!er\b)|e[uw]|(?:one|once)(?![a-z])|ouija")
"""Beginnings that are written with a vowel and spoken with a consonant."""


def closest(name: str, names: Iterable[str]) -> str | None:
    """The one of `names` that is spelled most like `name`; None where none is similar."""
    found = process.extractOne(name, names, scorer=fuzz.ratio, score_cutoff=60)
    return found and str(found[0])


def article(name: str) -> str:
    """`a`, `an`, or nothing where the name is a plural or brings a determiner of its own."""
    first = (name.split(maxsplit=1) or [""])[0]
    if first.casefold() in DETERMINERS or is_plural(name):
        return ""
    return "an" if _begins_with_vowel_sound(first) else "a"


def is_plural(name: str) -> bool:
    """Whether a noun phrase is a plural, judged by its head: the last word before a preposition."""
    head = re.split(r" (?:of|with|in|on|at|for|from|to|by|without) ", name.strip().casefold(), maxsplit=1)[0]
    word = re.split(r"[^\w']+", head)[-1]
    if word in PLURAL or word.endswith(("women", "firemen", "policemen", "fishermen")):
        return True
    return word.isalpha() and singular(word) != word


def singular(word: str) -> str:
    """A lower-case word without its plural ending, for comparing names; not always a word."""
    if len(word) < 4 or word in SINGULAR_S or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word[:-2] if word.endswith(("shes", "ches", "xes", "sses", "zes")) else word[:-1]


def _begins_with_vowel_sound(word: str) -> bool:
    if number := re.match(r"[0-9]+", word):
        digits = number.group()
        return digits.startswith("8") or (digits[:2] in ("11", "18") and len(digits) in (2, 4, 5))
    letters = re.match(r"[^\W\d_]+", word)
    if not letters:
        return False
    part, lower = letters.group(), letters.group().casefold()
    if len(part) == 1:
        spelled = part.isupper() or len(word) > 1  # F-16, x-ray
    else:
        spelled = part.isupper() and part not in SPOKEN_AS_WORDS and (len(part) <= 3 or not re.search("[AEIOU]", part))
    if spelled:
        return part[0].upper() in "AEFHILMNORSX"
    if lower == "uber" or SILENT_H.match(lower):
        return True
    return lower[0] in "aeiouáàâäéèêëíîïóôöúü" and not YOU.match(lower)
