"""`params.yaml` -> typed, validated settings, and the presets they are held against.

`params.yaml` shows every value in force, so nothing is hidden in a preset; `preset:` names the published set these values
claim to be, and whatever differs from it is listed as an override in the report.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, create_model, model_validator

from nola_core.errors import NolaError
from nola_core.methods import registry
from nola_core.methods.method import InForce, Listed, Method
from nola_core.schema import Fraction, Positive, Precision, Section, read_yaml, validate
from nola_core.yaml_list import with_item


class Prepare(Section):
    """Stage `prepare`: opening the images."""

    max_pixels: Annotated[int, Field(ge=1024)] = 200000000
    """Images with more pixels than this are recorded as unreadable instead of being decoded."""


class Describe(Section):
    """Stage `describe`: who writes about the classes."""

    provider: Literal["table", "llm", "none"] = "table"
    """`table` reads the committed or imported sentences of the data set, `llm` asks a language model; `none` leaves the
    templates alone."""
    mode: Literal["live", "replay", "plan", "batch"] = "live"
    """`live` asks for what the cache lacks, `batch` by the Batch API; `replay` never asks; `plan` says what it would cost."""
    prompts: str = "general"
    """The prompt set: one that comes with NoLA by its name, one of your own by its path, such as prompts/mine.yaml."""
    model: str = "gpt-6-luna"
    style: Literal["chat", "completion"] = "chat"
    temperature: Annotated[float, Field(ge=0, le=2)] | None = 1.0
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high"] | None = "none"
    """How much a reasoning model thinks before it answers; null: leave it out, for all other models."""
    max_tokens: Positive = 300
    """Of one answer; a longer one is a failure."""
    attempts: Positive = 3
    """Answers of no use (truncated, refused, malformed) until a request is given up."""
    max_cost: Annotated[float, Field(ge=0)] | None = 5.0
    """Dollars for one data set, over all runs."""
    price: Annotated[list[Annotated[float, Field(ge=0)]], Field(min_length=2, max_length=2)] | None = None
    """Dollars for a million tokens, in and out; null: those of nola_core/descriptions/prices.yaml."""
    image_tokens: Positive = 50000
    """As many tokens as the model counts for a picture at most; the cap is watched with them."""
    rounds: Annotated[int, Field(ge=0)] = 0
    """Confusion-driven rounds whose answers are read; `nola describe refine` runs them."""


class Embed(Section):
    """Stage `embed`: the frozen backbones."""

    backbones: str = "paper"
    """Backbone pair of the data sets that name none of their own; see nola_core/backbones/pairs.yaml."""
    precision: Precision = "float32"
    """Of the towers' matrix products; bfloat16 is for GPUs."""


class Duplicates(Section):
    """Stage `duplicates`: near-duplicate images."""

    neighbors: Positive = 5
    similarity: Fraction = 0.98
    """Cosine of SSL features from which on two images are listed as near duplicates, if they are also unusually close."""
    closeness: Fraction | None = 0.25
    """Unusually close: at most this share of the median distance of an image to its nearest other. None: the cosine alone."""


class Classify(Section):
    """Stage `classify`: which descriptions the text methods read."""

    keep: Literal["all", "separating"] = "all"
    """Which descriptions: all, or those nearer to their own class than to its neighbours (nola_core.description_quality)."""
    neighbors: Positive = 5
    """Nearest classes by their embeddings that a description is held against."""


class Select(Section):
    """Stage `select`: pseudo-labels."""

    fraction: Fraction = 0.2
    """Pseudo-labels a class, as a share of the average class size N / C."""
    min_per_class: Positive = 16
    max_per_class: Positive | None = None
    unpredicted: Literal["error", "skip"] = "skip"
    """A class for which no image can be selected: go on without pseudo-labels for it and name it, or stop and name it."""


class Evaluate(Section):
    """Stage `evaluate`: metrics."""

    calibration_bins: Positive = 15
    neighbors: Positive = 5


class Report(Section):
    """Stage `report`: the page."""

    images_per_class: Positive = 8


METHODS = ("zero_shot", "templates", "cde", "alignment", "evidence", "nola")
"""Those that run unless params.yaml says otherwise: the ladder of the paper, and the final method of the preset `best`."""


class Settings(Section):
    """Everything in `params.yaml` but the options of the methods, which `parse` adds: a section a method, by its name."""

    preset: Literal["paper", "best"] = "paper"
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 7777
    datasets: list[str] = Field(default_factory=list)
    """Names; `data/<name>.yaml` defines each."""
    corrections: bool = True
    """Whether `data/<name>.corrections.csv` counts; false gives the result without the file."""
    methods: Annotated[list[str], Field(min_length=1)] = Field(default_factory=lambda: list(METHODS))
    """The methods that run, in the order of all tables."""
    text_classifier: str = "cde"
    """The text method that the others start from: it gives the pseudo-labels, and the students' first classifier."""
    teacher: str = "alignment"
    """The method that teaches the students."""
    final: str = "nola"
    """The method whose predictions are the product; one of `methods`."""
    prepare: Prepare = Prepare()
    describe: Describe = Describe()
    embed: Embed = Embed()
    duplicates: Duplicates = Duplicates()
    classify: Classify = Classify()
    select: Select = Select()
    evaluate: Evaluate = Evaluate()
    report: Report = Report()

    @model_validator(mode="after")
    def _check(self) -> Settings:
        for key, listed in (("datasets", self.datasets), ("methods", self.methods)):
            for name in listed:
                if listed.count(name) > 1:
                    raise ValueError(f"{key} lists '{name}' more than once; take the others out")
        for name in self.datasets:
            if not re.fullmatch(r"[a-z0-9][a-z0-9_]*", name):
                raise ValueError(f"data set name '{name}' may hold only a-z, 0-9 and _ (it names folders and stages)")
        if self.select.max_per_class is not None and self.select.max_per_class < self.select.min_per_class:
            raise ValueError("select.max_per_class is below select.min_per_class")
        if self.final not in self.methods:
            raise ValueError(f"final = '{self.final}' is not one of methods; add it there, or choose {' or '.join(self.methods)}")
        return self

    def options(self, method: str) -> Section:
        """The options of a method in force: its `section`."""
        return getattr(self, method)

    def differences(self) -> list[tuple[str, Any, Any]]:
        """(`section.key`, value, the preset's) for every value that differs from the preset it names."""
        mine = self.model_dump()
        return [
            (f"{name}.{key}" if key else name, value, theirs)
            for name, key, theirs in _items(preset_values(self.preset))
            for value in [mine[name][key] if key else mine[name]]
            if value != theirs
        ]

    def overrides(self) -> list[str]:
        """`section.key=value (preset: other)` for every value that differs from the preset it names."""
        return [f"{key}={mine} (preset {self.preset}: {theirs})" for key, mine, theirs in self.differences()]


def in_force(settings: Settings, root: Path | None = None) -> InForce:
    """The methods that run, as tables list them.

    Raises:
        NolaError: two of them have the same title.
    """
    listed: list[Listed] = []
    for name in settings.methods:
        method = registry.find(name, root)
        twin = next((one.name for one in listed if one.title == method.title), None)
        if twin is not None:
            raise NolaError(f"the methods {twin} and {name} are both called '{method.title}'; give one of them another title.")
        listed.append(Listed(name=name, title=method.title, summary=method.summary, kind=method.kind))
    return InForce(tuple(listed), settings.text_classifier, settings.teacher, settings.final)


def load(root: Path) -> Settings:
    """Read and check `root/params.yaml`.

    Raises:
        NolaError: the file is absent or no YAML, a key is unknown or out of range (all are listed), or a method does not exist.
    """
    path = root / "params.yaml"
    return parse(read_yaml(path), source=str(path), root=root)


def parse(values: Mapping[str, Any], *, source: str = "params.yaml", root: Path | None = None) -> Settings:
    """Validate already loaded values; see `load`.

    Args:
        root: of the project, for methods of its own.
    """
    methods = {name: _method(name, key, source, root) for key, name in _named(values)}
    methods |= {name: registry.find(name, root) for name in set(values) & set(registry.names(root)) - set(Settings.model_fields)}
    for name in preset_values("paper"):
        if name not in Settings.model_fields and name not in methods:
            methods[name] = registry.find(name, root)
    for name in methods:
        if hasattr(Settings, name) or name in Settings.model_fields:
            raise NolaError(f"{source}: a method cannot be called '{name}', which means something else there; rename it.")
    sections: dict[str, Any] = {name: (method.section, method.section()) for name, method in sorted(methods.items())}
    settings = validate(create_model("Settings", __base__=Settings, **sections), values, source=source)
    for key, kinds in PARTS.items():
        name = getattr(settings, key)
        if methods[name].kind not in kinds:
            raise NolaError(
                f"{source}: {key} = '{name}' is a {methods[name].kind} method; choose one of the kind {' or '.join(kinds)}."
            )
    text, student = settings.text_classifier, next((name for name in settings.methods if methods[name].kind == "student"), None)
    if student is not None and not getattr(methods[text], "embeds", False):
        raise NolaError(
            f"{source}: text_classifier = '{text}' has no embedding of each class, which {student} starts from; choose another, "
            f"or take {student} out of methods."
        )
    return settings


PARTS: Mapping[str, tuple[str, ...]] = {"text_classifier": ("text",), "teacher": ("text", "features")}
"""Key of params.yaml -> the kinds of methods it may name."""


def _named(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(key, method) of every method that `values`, or the defaults, name."""
    fields = Settings.model_fields
    for key in ("methods", "text_classifier", "teacher", "final"):
        value = values.get(key, fields[key].get_default(call_default_factory=True))
        for name in value if isinstance(value, list) else [value]:
            if isinstance(name, str):
                yield key, name


def _method(name: str, key: str, source: str, root: Path | None) -> Method:
    try:
        return registry.find(name, root)
    except NolaError as error:
        raise NolaError(f"{source}: {key}: {error}") from None


def preset_values(name: str) -> dict[str, Any]:
    """What a preset sets: key -> value, or section -> key -> value."""
    return read_yaml(Path(__file__).parent / "presets" / f"{name}.yaml")


def _items(values: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """(section, key, value) of a preset; the key is empty for what stands in no section."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from ((name, key, inner) for key, inner in value.items())
        else:
            yield name, "", value


def _section(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = values.get(name)
    return found if isinstance(found, dict) else {}


def write_preset(path: Path, name: str) -> None:
    """Write a preset's values into the text of `path`, keeping its comments and all other keys.

    The preset's final method is added to `methods` if it is not there.
    """
    from nola_core.files import replacing  # brings pandas, which settings can do without

    known = read_yaml(path)  # says what is wrong with a file that is absent or no YAML
    values = preset_values(name)
    section, lines = "", []
    for line in path.read_text().splitlines():
        top = re.match(r"(\w+):", line)
        section = top.group(1) if top else section
        if top and (section == "preset" or not isinstance(values.get(section, {}), dict)):
            line = re.sub(r"^\w+:\s*[^#\s]+", f"{section}: {({'preset': name} | values)[section]}", line)
        key = re.match(r"(\s+)(\w+):\s*([^#]*?)(\s*#.*)?$", line)
        if key and key.group(2) in _section(values, section):
            value = (
                yaml.safe_dump(values[section][key.group(2)], default_flow_style=True, width=1000).replace("\n...", "").strip()
            )
            line = f"{key.group(1)}{key.group(2)}: {value}{key.group(4) or ''}"
        lines.append(line)
    lines += [f"{key}: {value}" for key, value in values.items() if key not in known and not isinstance(value, dict)]
    text = "\n".join(lines) + "\n"
    if "methods" in known and values["final"] not in known["methods"]:
        text = with_item(text, "methods", values["final"])
    with replacing(path) as scratch:
        scratch.write_text(text)
