"""Stage `describe`: classes -> descriptions, by way of the response cache."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from nola_core import descriptions
from nola_core.config import Describe
from nola_core.datasets.classes import reading
from nola_core.datasets.definition import load_definition
from nola_core.descriptions import Responses
from nola_core.descriptions.asking import answers
from nola_core.descriptions.asking.endpoint import Endpoint
from nola_core.descriptions.rounds.confusion import add_rounds, read_rounds
from nola_core.descriptions.texts.prompts import load_prompt_set, questions
from nola_core.descriptions.texts.table import class_ids
from nola_core.files import read_table, write_table
from nola_core.inputs import Inputs
from nola_core.stages.paths import Paths
from nola_core.text import enumerated


def run(paths: Paths, inputs: Inputs) -> None:
    """Bring the provider's sentences into the response cache, and those of this class list into one table."""
    options = inputs.options(Describe)
    responses = Responses(paths["responses"])
    responses.folder.mkdir(parents=True, exist_ok=True)  # an output, with or without anything in it
    classes = read_table(paths["classes.parquet"])
    source = load_definition(paths.root, paths.dataset).descriptions
    table, why = descriptions.SCHEMA.empty_table().to_pandas(), ""
    if options.provider == "llm":
        asked = questions(load_prompt_set(options.prompts, root=paths.root), classes)
        found = answers.collect(asked, options, responses, endpoint=Endpoint.from_environment())
        provided = answers.sentences(found, classes)
        if len(provided):
            advice = "Raise describe.max_tokens or describe.attempts, change the prompts, or remove the class from the list."
            table = descriptions.describe(provided, classes, source=f"what {options.model} answered", advice=advice)
        else:
            why = (
                " (nothing in the cache and no language model configured: set OPENAI_API_KEY or NOLA_LLM_BASE_URL, then run "
                f"`nola describe ask --dataset {paths.dataset}` and `dvc repro`)"
            )
    elif options.provider == "table" and source is not None:
        provided = _provided(Path(source), classes)
        responses.add(provided)
        provided = _corrected(provided, classes, inputs.values.get("corrections", {}))
        table = descriptions.describe(provided, classes, source=source)
    table = _with_rounds(paths, table, options.rounds)
    write_table(paths["descriptions.parquet"], table, descriptions.SCHEMA)
    count = table["class_id"].nunique()
    print(f"{len(table)} descriptions of {count} classes" if len(table) else f"no descriptions: templates alone{why}")


def _provided(path: Path, classes: pd.DataFrame) -> pd.DataFrame:
    """The table that was written or imported before; published JSON is imported here, and what fits is printed."""
    if path.suffix != ".json":
        return descriptions.read_provided(path)
    imported = descriptions.import_file(path, classes)
    print("\n".join(imported.report))
    return imported.table


def _corrected(provided: pd.DataFrame, classes: pd.DataFrame, changes: Mapping[str, Any]) -> pd.DataFrame:
    """A table for the class list as it was, for the corrected one.

    Sentences about a class that is merged into another are left out. A new class without any is described by its name.
    """
    kept = provided[~provided["class"].map(reading).isin(map(reading, changes.get("merges", {})))]
    known = set(class_ids(kept["class"], classes).dropna())
    new = classes[classes["name"].isin(changes.get("classes", [])) & ~classes["class_id"].isin(known)]
    named = pd.DataFrame({"class": new["name"], "prompt": "", "text": new["display_name"], "provider": "correction", "model": ""})
    return pd.concat([kept, named], ignore_index=True) if len(new) else kept


def _with_rounds(paths: Paths, table: pd.DataFrame, rounds: int) -> pd.DataFrame:
    """The table and the answers of the first `rounds` confusion-driven rounds."""
    if rounds == 0:
        return table
    answers = read_rounds(paths["responses"] / "_rounds", rounds=rounds)
    merged, gone = add_rounds(table, answers, read_table(paths["classes.parquet"]))
    print(f"{len(merged) - len(table)} answers of {answers['round'].nunique()} rounds (at most {rounds}) are added")
    if gone:
        print(f"  answers about {len(gone)} classes no longer on the list are left out: {enumerated(gone, most=10)}")
    return merged
