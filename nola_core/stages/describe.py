"""Stage `describe`: classes -> descriptions, by way of the response cache."""

from nola_core import descriptions
from nola_core.config import load
from nola_core.descriptions import Responses, llm, prompts
from nola_core.descriptions.endpoint import Endpoint
from nola_core.files import read_table, write_table
from nola_core.stages.paths import Paths


def run(paths: Paths) -> None:
    """Bring the provider's sentences into the response cache, and those of this class list into one table."""
    settings = load(paths.root)
    responses = Responses(paths["responses"])
    responses.folder.mkdir(parents=True, exist_ok=True)  # an output, with or without anything in it
    classes = read_table(paths["classes.parquet"])
    source = settings.datasets[paths.dataset].descriptions
    table, why = descriptions.SCHEMA.empty_table().to_pandas(), ""
    if settings.describe.provider == "llm":
        questions = prompts.questions(prompts.load_prompt_set(settings.describe.prompts, root=paths.root), classes)
        answers = llm.collect(questions, settings.describe, responses, endpoint=Endpoint.from_environment())
        provided = llm.sentences(answers, questions, settings.describe, classes)
        if len(provided):
            table = descriptions.describe(provided, classes, source=settings.describe.model)
        else:
            why = " (nothing in the cache and no language model configured: set OPENAI_API_KEY or NOLA_LLM_BASE_URL)"
    elif settings.describe.provider == "table" and not source.endswith((".yaml", ".yml")):
        provided = descriptions.read_provided(paths.root / source)
        responses.add(provided)
        table = descriptions.describe(provided, classes, source=source)
    write_table(paths["descriptions.parquet"], table, descriptions.SCHEMA)
    count = table["class_id"].nunique()
    print(f"{len(table)} descriptions of {count} classes" if len(table) else f"no descriptions: templates alone{why}")
