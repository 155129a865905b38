import pytest

from nola_core.errors import NolaError
from nola_core.methods.cde import METHOD, Options
from tests.methods.examples import check, texts


def test_it_is_the_mean_over_descriptions_and_templates_or_one_of_the_two() -> None:
    known = texts()
    both = [mine + filled for mine, filled in zip(known.descriptions, known.templates, strict=True)]
    check(METHOD, known, Options(), both)
    check(METHOD, known, Options(texts="descriptions"), known.descriptions)
    check(METHOD, known, Options(texts="templates"), known.templates)


@pytest.mark.parametrize("option", ["both", "descriptions", "templates"])
def test_without_any_description_it_is_the_templates(option: str) -> None:
    known = texts([[], [], []])
    check(METHOD, known, Options(texts=option), known.templates)


def test_a_class_without_a_description_has_its_templates_or_is_named() -> None:
    known = texts([["It purrs."], [], ["It flies."]])
    both = [["It purrs.", *known.templates[0]], known.templates[1], ["It flies.", *known.templates[2]]]
    check(METHOD, known, Options(), both)
    with pytest.raises(NolaError, match="class 'dog' has no text to be recognised by"):
        METHOD.fit(known, options=Options(texts="descriptions"))
