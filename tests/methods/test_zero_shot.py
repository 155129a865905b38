from nola_core.methods.zero_shot import METHOD
from nola_core.schema import Section
from tests.methods.examples import check, texts


def test_it_is_the_class_name_in_the_first_template() -> None:
    check(METHOD, texts(), Section(), [["a photo of a cat."], ["a photo of a dog."], ["a photo of a bird."]])
