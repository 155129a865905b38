from nola_core.methods.templates import METHOD
from nola_core.schema import Section
from tests.methods.examples import NAMES, check, texts


def test_it_is_the_mean_over_all_templates_and_reads_no_description() -> None:
    check(METHOD, texts(), Section(), [[f"a photo of a {name}.", f"a {name}.", f"art of a {name}."] for name in NAMES])
