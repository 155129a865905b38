"""Stage `describe`: classes -> descriptions, by way of the response cache."""

from nola_core import descriptions
from nola_core.config import load
from nola_core.descriptions import Responses
from nola_core.files import read_table, write_table
from nola_core.stages.paths import Paths


def run(paths: Paths) -> None:
    """Bring the provider's sentences into the response cache, and those of this class list into one table."""
    settings = load(paths.root)
    responses = Responses(paths["responses"])
    source = settings.datasets[paths.dataset].descriptions
    if settings.describe.provider == "none" or source.endswith((".yaml", ".yml")):
        table = descriptions.SCHEMA.empty_table().to_pandas()
    else:
        provided = descriptions.read_provided(paths.root / source)
        responses.add(provided)
        table = descriptions.describe(provided, read_table(paths["classes.parquet"]), source=source)
    write_table(paths["descriptions.parquet"], table, descriptions.SCHEMA)
    classes = table["class_id"].nunique()
    print(f"{len(table)} descriptions of {classes} classes" if len(table) else "no descriptions: templates alone")
