"""What `nola describe` can do: plain functions whose options typer reads off their annotations.

nola describe plan --dataset pets             # what it would cost; touches nothing
nola describe ask --dataset pets              # live
nola describe batch --dataset pets --no-wait  # submit or fetch, and return
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import pandas as pd
from typer import Argument, Option, Typer

from nola_core.config import Describe, load
from nola_core.datasets.names import display_name
from nola_core.descriptions import asking, captions, importing, prompts
from nola_core.descriptions import refine as refining
from nola_core.descriptions.client import Endpoint
from nola_core.descriptions.confusion import GAP
from nola_core.descriptions.request import Question
from nola_core.descriptions.responses import Responses
from nola_core.errors import NolaError
from nola_core.files import read_table, replacing, write_table
from nola_core.stages.paths import Paths

Dataset = Annotated[str, Option(help="A name under `datasets:` in params.yaml.")]
Root = Annotated[Path, Option(help="The project's folder.")]
Model = Annotated[str, Option(help="What wrote the texts, for the record.")]
app = Typer(help="Class descriptions: asked for, imported, refined.", no_args_is_help=True, add_completion=False)


@app.command("prompts")
def show_prompts(
    name: Annotated[str | None, Argument(help="A set, or the path of one.")] = None,
    *,
    class_name: Annotated[str, Option("--class", help="The class name to fill in.")] = "dog",
    second: Annotated[str, Option(help="The second class of sets about pairs.")] = "wolf",
) -> None:
    """List the prompt sets, or print one with a class name filled in."""
    for each in [name] if name else prompts.names():
        found = prompts.load_prompt_set(each)
        print(f"{found.prompt_version}: {len(found.prompts)} prompts x {found.samples} answers ({found.form}). {found.about}")
        if name:
            print("\n".join(f"  {prompts.fill(text, c=class_name, c2=second)}" for text in found.texts))


@app.command("import")
def import_texts(
    file: Annotated[Path, Argument(help="A .json, .csv or .parquet file.")],
    *,
    dataset: Annotated[str | None, Option(help="A prepared data set, whose classes are described.")] = None,
    classes: Annotated[Path | None, Option(help="Instead: a text file with one class name a line.")] = None,
    out: Annotated[Path | None, Option(help="The table to write, .csv or .parquet; without it what fits is shown.")] = None,
    kind: Annotated[importing.Kind, Option(help="Whether the texts are whole sentences.")] = "auto",
    model: Model = "",
    root: Root = Path(),
) -> None:
    """Show how published descriptions fit a class list, and turn them into the table that `describe` reads."""
    if (dataset is None) == (classes is None):
        raise NolaError("import needs --dataset NAME or --classes FILE, and not both.")
    listed = _class_list(classes) if classes else read_table(Paths(root, str(dataset))["classes.parquet"])
    imported = importing.import_file(file, listed, kind=kind, model=model)
    table, missing = imported.table, imported.coverage.missing
    print("\n".join(imported.lines()))
    if missing:
        several = "1 class" if len(missing) == 1 else f"{len(missing)} classes"
        raise NolaError(f"{file} leaves {several} without a description; add them. Nothing was written.")
    print(f"{len(table)} texts of {table['class'].nunique()} classes")
    if out:
        with replacing(out) as scratch:
            (table.to_parquet if out.suffix == ".parquet" else table.to_csv)(scratch, index=False)
        print(f"written to {out}; name it as `descriptions` in data/<name>.yaml")


@app.command()
def plan(*, dataset: Dataset, root: Root = Path()) -> None:
    """Print what a language model would be asked for a data set, and what it would cost."""
    questions, settings, responses = _inputs(dataset, root)
    print("\n".join(asking.plan(questions, settings, responses).lines(settings)))


@app.command()
def ask(*, dataset: Dataset, root: Root = Path()) -> None:
    """Ask a language model for the answers that are not in the cache of a data set."""
    _ask(dataset, root, mode="live", wait=True)


@app.command()
def batch(
    *,
    dataset: Dataset,
    wait: Annotated[bool, Option(help="Until the answers are there; else submit or fetch, and run this again later.")] = True,
    root: Root = Path(),
) -> None:
    """Have them answered by the Batch API, at half the price."""
    _ask(dataset, root, mode="batch", wait=wait)


@app.command()
def caption(
    *,
    dataset: Dataset,
    kind: Annotated[captions.Kind, Option(help="One image a caption, or four of the same zero-shot class.")],
    subject: Annotated[str, Option(help="What the images show, e.g. texture.")] = "object",
    limit: Annotated[int | None, Option(help="At most so many captions.", min=0)] = None,
    plan: Annotated[bool, Option("--plan", help="Say what would be asked and what it would cost, and stop.")] = False,
    root: Root = Path(),
) -> None:
    """Caption the train images of a data set and write captions.parquet."""
    from nola_core.datasets.opener import image_opener

    settings, paths = load(root), Paths(root, dataset)
    wanted = captions.wanted(paths, kind, subject=subject, seed=settings.seed)[:limit]
    questions, responses = [caption.question for caption in wanted], Responses(paths["caption_responses"])
    if plan:
        print("\n".join(asking.plan(questions, settings.describe, responses).lines(settings.describe)))
        return
    load_image = captions.image_loader(wanted, image_opener(paths.root, paths.dataset))
    model = _endpoint(settings.describe)
    answers = asking.collect(questions, settings.describe, responses, endpoint=model, load_image=load_image)
    made, file = captions.caption_table(wanted, answers, settings.describe), paths["captions.parquet"]
    old = read_table(file) if file.exists() else made.iloc[:0]
    write_table(file, pd.concat([old[old["kind"] != kind], made], ignore_index=True), captions.SCHEMA)
    print(f"{len(made):,} captions of kind {kind} in {file}")


@app.command()
def refine(
    *,
    dataset: Dataset,
    rounds: Annotated[int | None, Option(help="Rounds in all; without it describe.rounds of params.yaml.")] = None,
    pairs: Annotated[int, Option(help="Pairs of classes a round.")] = 10,
    gap: Annotated[float, Option(help="Probability gap below which an image counts.")] = GAP,
    prompt_set: Annotated[str, Option("--prompts", help="A prompt set about pairs.")] = "confusion",
    answers: Annotated[Path | None, Option(help="JSON, prompt -> texts, instead of a model; open questions go into it.")] = None,
    model: Model = "",
    root: Root = Path(),
) -> None:
    """Ask what tells apart the classes that CLIP confuses, and add the answers to the descriptions."""
    settings, paths = load(root).describe, Paths(root, dataset)
    if answers:
        answer, provider = refining.from_file(answers), answers.name
    else:
        classes, responses = read_table(paths["classes.parquet"]), Responses(paths["responses"])
        answer, provider = asking.answerer(settings, responses, classes, endpoint=_endpoint(settings)), "llm"
        model = model or settings.model
    options = {"prompts": prompt_set, "provider": provider, "model": model}
    done = refining.refine(paths, answer, rounds=rounds, pairs=pairs, gap=gap, **options)
    print(f"{done} rounds run; `dvc repro` brings everything that follows up to date")


def _inputs(dataset: str, root: Path) -> tuple[Sequence[Question], Describe, Responses]:
    settings, paths = load(root).describe, Paths(root, dataset)
    prompt_set = prompts.load_prompt_set(settings.prompts, root=root)
    if settings.provider != "llm":
        print(f"describe.provider is {settings.provider}: the stage reads what is asked here only when it is llm")
    return prompts.questions(prompt_set, read_table(paths["classes.parquet"])), settings, Responses(paths["responses"])


def _ask(dataset: str, root: Path, *, mode: str, wait: bool) -> None:
    questions, settings, responses = _inputs(dataset, root)
    settings = settings.model_copy(update={"mode": mode})
    rows = asking.collect(questions, settings, responses, endpoint=_endpoint(settings), wait=wait)
    print(f"{len(rows):,} answers in {responses.folder}")


def _endpoint(settings: Describe) -> Endpoint | None:
    """The configured endpoint; None in mode replay, which needs none."""
    if settings.mode == "replay":
        return None
    if found := Endpoint.from_environment():
        return found
    raise NolaError("no language model is configured: set OPENAI_API_KEY, or NOLA_LLM_BASE_URL for one of your own.")


def _class_list(path: Path) -> pd.DataFrame:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise NolaError(f"the class list {path} cannot be read ({error}).") from None
    found = [line.strip() for line in lines if line.strip()]
    return pd.DataFrame({"name": found, "display_name": [display_name(name) for name in found]})
