"""`nola describe`: sentences about the classes, from a language model or from files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from flows.commands.options import Command, Group, example, help_if_alone
from flows.commands.output import made, notice
from flows.commands.project import complete_dataset, find_project
from nola_core.errors import NolaError

if TYPE_CHECKING:
    import pandas as pd

    from nola_core.config import Describe
    from nola_core.descriptions.asking.endpoint import Endpoint

Dataset = Annotated[str, typer.Option(metavar="NAME", help="A data set of params.yaml.", autocompletion=complete_dataset)]
Model = Annotated[str, typer.Option(metavar="NAME", help="What wrote the texts, for the record.")]
app = typer.Typer(cls=Group)


@app.callback(invoke_without_command=True, epilog=example("nola describe plan --dataset digits"))
def describe(context: typer.Context) -> None:
    """Sentences about the classes, from a language model or from files."""
    help_if_alone(context)


@app.command(cls=Command, epilog=example("nola describe prompts general --class scissors"))
def prompts(
    name: Annotated[str | None, typer.Argument(metavar="SET", help="A set, or the path of one.")] = None,
    class_name: Annotated[str, typer.Option("--class", metavar="NAME", help="The class name to fill in.")] = "dog",
    second: Annotated[str, typer.Option(metavar="NAME", help="The second class of sets about pairs.")] = "wolf",
) -> None:
    """List the prompt sets, or print one with a class name filled in."""
    from nola_core.descriptions.texts.prompts import fill, load_prompt_set, names

    for each in [name] if name else names():
        found = load_prompt_set(each)
        print(f"{found.prompt_version}: {len(found.prompts)} prompts x {found.samples} answers ({found.form}). {found.about}")
        if name:
            print("\n".join(f"  {fill(text, c=class_name, c2=second)}" for text in found.texts))


@app.command(cls=Command, epilog=example("nola describe plan --dataset digits"))
def plan(dataset: Dataset) -> None:
    """Say what a language model would be asked, and what it would cost."""
    _ask(dataset, mode=None)


@app.command(cls=Command, epilog=example("nola describe ask --dataset digits"))
def ask(dataset: Dataset) -> None:
    """Ask a language model for the answers that are not in the cache."""
    _ask(dataset, mode="live")


@app.command(cls=Command, epilog=example("nola describe batch --dataset digits --no-wait"))
def batch(
    dataset: Dataset,
    wait: Annotated[bool, typer.Option(help="Wait for the answers. Else submit or fetch; run it again later.")] = True,
) -> None:
    """The same by the Batch API, at half the price."""
    _ask(dataset, mode="batch", wait=wait)


@app.command(cls=Command, epilog=example("nola describe refine --dataset digits --rounds 1"))
def refine(
    dataset: Dataset,
    rounds: Annotated[int | None, typer.Option(metavar="N", help="Rounds in all. Without it: describe.rounds.")] = None,
    pairs: Annotated[int, typer.Option(metavar="N", help="Pairs of classes a round.")] = 10,
    gap: Annotated[float, typer.Option(help="Count images whose two best classes are closer than this in probability.")] = 0.1,
    prompt_set: Annotated[str, typer.Option("--prompts", metavar="SET", help="A prompt set about pairs.")] = "confusion",
    answers: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Take the answers from this JSON file; it lists the open questions.")
    ] = None,
    model: Model = "",
) -> None:
    """Ask what tells confused classes apart, and add the answers to the descriptions."""
    from nola_core.config import load
    from nola_core.descriptions.rounds import refine as core
    from nola_core.stages.paths import Paths

    root = find_project()
    settings, paths = load(root).describe, Paths(root, dataset)
    if answers:
        answer, provider = core.from_file(answers), answers.name
    else:
        answer, provider = core.from_model(paths, settings, endpoint=_endpoint(settings)), "llm"
        model = model or settings.model
    done = core.refine(paths, answer, rounds=rounds, pairs=pairs, gap=gap, prompts=prompt_set, provider=provider, model=model)
    print(f"{done} rounds run; `dvc repro` brings everything that follows up to date")


@app.command(cls=Command, epilog=example("nola describe caption --dataset digits --kind image --subject digit --plan"))
def caption(
    dataset: Dataset,
    kind: Annotated[Literal["image", "group"], typer.Option(help="One image a caption, or four of the same zero-shot class.")],
    subject: Annotated[str, typer.Option(metavar="WORDS", help="What the images show, such as texture.")] = "object",
    limit: Annotated[int | None, typer.Option(metavar="N", min=0, help="At most this many captions.")] = None,
    only_plan: Annotated[bool, typer.Option("--plan", help="Say what would be asked and what it would cost, and stop.")] = False,
) -> None:
    """Caption images, or four images at a time, and write captions.parquet."""
    import pandas as pd

    from nola_core import captions
    from nola_core.config import load
    from nola_core.datasets.opener import image_opener
    from nola_core.descriptions import Responses
    from nola_core.descriptions.asking import answers
    from nola_core.files import read_table, write_table
    from nola_core.stages.paths import Paths

    root = find_project()
    settings, paths = load(root), Paths(root, dataset)
    wanted = captions.wanted(paths, kind, subject=subject, seed=settings.seed)[:limit]
    questions, responses = [caption.question for caption in wanted], Responses(paths["caption_responses"])
    if only_plan:
        print("\n".join(answers.plan(questions, settings.describe, responses)))
        return
    endpoint, load_image = _endpoint(settings.describe), captions.image_loader(wanted, image_opener(paths.root, paths.dataset))
    found = answers.collect(questions, settings.describe, responses, endpoint=endpoint, load_image=load_image)
    table, file = captions.caption_table(wanted, found), paths["captions.parquet"]
    old = read_table(file) if file.exists() else table.iloc[:0]
    write_table(file, pd.concat([old[old["kind"] != kind], table], ignore_index=True), captions.SCHEMA)
    print(f"{len(table):,} captions of kind {kind}")
    made(file)


@app.command("import", cls=Command, epilog=example("nola describe import published.json --dataset digits --out digits.csv"))
def import_texts(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .json, .csv or .parquet file.")],
    dataset: Annotated[str | None, typer.Option(metavar="NAME", help="A prepared data set, whose classes are described.")] = None,
    classes: Annotated[Path | None, typer.Option(metavar="FILE", help="Instead: a file with one class name a line.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write this table, .csv or .parquet.")] = None,
    kind: Annotated[
        Literal["auto", "sentences", "descriptors"], typer.Option(help="Whether the texts are whole sentences.")
    ] = "auto",
    model: Model = "",
) -> None:
    """Show how published descriptions fit a class list, and turn them into the table that the stage reads."""
    from nola_core.descriptions import import_file
    from nola_core.files import read_table, replacing

    if (dataset is None) == (classes is None):
        raise NolaError("import needs --dataset NAME or --classes FILE, and not both.")
    listed = _class_list(classes) if classes else read_table(find_project() / "data" / str(dataset) / "classes.parquet")
    imported = import_file(file, listed, kind=kind, model=model)
    table, missing = imported.table, imported.coverage.missing
    print("\n".join(imported.report))
    if missing:
        several = "1 class" if len(missing) == 1 else f"{len(missing)} classes"
        raise NolaError(f"{file} leaves {several} without a description; add them. Nothing was written.")
    print(f"{len(table)} texts of {table['class'].nunique()} classes")
    if out:
        with replacing(out) as scratch:
            (table.to_parquet if out.suffix == ".parquet" else table.to_csv)(scratch, index=False)
        print("name this file as `descriptions` in data/<name>.yaml:")
        made(out)


def _ask(dataset: str, *, mode: str | None, wait: bool = True) -> None:
    """Plan (None) or ask for the descriptions of a data set."""
    from nola_core.config import load
    from nola_core.descriptions import Responses
    from nola_core.descriptions.asking import answers
    from nola_core.descriptions.asking.batch import POLL_SECONDS
    from nola_core.descriptions.texts.prompts import load_prompt_set, questions
    from nola_core.files import read_table
    from nola_core.stages.paths import Paths

    root = find_project()
    settings, paths = load(root).describe, Paths(root, dataset)
    if settings.provider != "llm":
        notice(f"describe.provider is {settings.provider}: the stage uses these answers only when it is llm")
    asked = questions(load_prompt_set(settings.prompts, root=root), read_table(paths["classes.parquet"]))
    responses = Responses(paths["responses"])
    if mode is None:
        print("\n".join(answers.plan(asked, settings, responses)))
        return
    settings = settings.model_copy(update={"mode": mode})
    rows = answers.collect(asked, settings, responses, endpoint=_endpoint(settings), poll=POLL_SECONDS if wait else None)
    print(f"{len(rows):,} answers in {responses.folder}")


def _endpoint(settings: Describe) -> Endpoint | None:
    """The configured endpoint; None in mode replay, which needs none."""
    from nola_core.descriptions.asking.endpoint import Endpoint

    if settings.mode == "replay":
        return None
    if found := Endpoint.from_environment():
        return found
    raise NolaError("no language model is configured: set OPENAI_API_KEY, or NOLA_LLM_BASE_URL for one of your own.")


def _class_list(path: Path) -> pd.DataFrame:
    import pandas as pd

    from nola_core.datasets.names import display_name

    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise NolaError(f"the class list {path} cannot be read ({error}).") from None
    found = [line.strip() for line in lines if line.strip()]
    return pd.DataFrame({"name": found, "display_name": [display_name(name) for name in found]})
