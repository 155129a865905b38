"""`params.yaml` -> typed, validated settings, and the presets they are held against.

`params.yaml` shows every value in force, so nothing is hidden in a preset; `preset:` names the published set these values
claim to be, and whatever differs from it is listed as an override in the report.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from nola_core.errors import NolaError

Precision = Literal["float32", "bfloat16"]
Fraction = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0, lt=1)]


Model = TypeVar("Model", bound=BaseModel)


class Section(BaseModel):
    """Base of every section: frozen, complete and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Prepare(Section):
    """Stage `prepare`: opening the images."""

    max_pixels: Annotated[int, Field(ge=1024)]
    """Images with more pixels than this are recorded as unreadable instead of being decoded."""


class Describe(Section):
    """Stage `describe`: who writes about the classes."""

    provider: Literal["table", "llm", "none"]
    """`table` reads the committed or imported sentences of the data set, `llm` asks a language model; `none` leaves the
    templates alone."""
    mode: Literal["live", "replay", "plan", "batch"]
    """`live` asks for what the cache lacks, `batch` by the Batch API; `replay` never asks; `plan` says what it would cost."""
    prompts: str
    """The prompt set: one that comes with NoLA by its name, one of your own by its path, such as prompts/mine.yaml."""
    model: str
    style: Literal["chat", "completion"]
    temperature: Annotated[float, Field(ge=0, le=2)] | None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high"] | None
    """How much a reasoning model thinks before it answers; null: leave it out, for all other models."""
    max_tokens: Positive
    """Of one answer; a longer one is a failure."""
    attempts: Positive
    """Answers of no use (truncated, refused, malformed) until a request is given up."""
    max_cost: Annotated[float, Field(ge=0)] | None
    """Dollars for one data set, over all runs."""
    price: Annotated[list[Annotated[float, Field(ge=0)]], Field(min_length=2, max_length=2)] | None
    """Dollars for a million tokens, in and out; null: those of nola_core/descriptions/prices.yaml."""
    image_tokens: Positive
    """As many tokens as the model counts for a picture at most; the cap is watched with them."""
    rounds: Annotated[int, Field(ge=0)]
    """Confusion-driven rounds whose answers are read; `nola describe refine` runs them."""


class Embed(Section):
    """Stage `embed`: the frozen backbones."""

    backbones: str
    """Backbone pair of the data sets that name none of their own; see nola_core/backbones/pairs.yaml."""
    precision: Precision
    """Of the towers' matrix products; bfloat16 is for GPUs."""


class Duplicates(Section):
    """Stage `duplicates`: near-duplicate images."""

    neighbors: Positive
    similarity: Fraction
    """Cosine of SSL features from which on two images are listed as near duplicates, if they are also unusually close."""
    closeness: Fraction | None
    """Unusually close: at most this share of the median distance of an image to its nearest other. None: the cosine alone."""


class Classify(Section):
    """Stage `classify`: the text classifiers."""

    texts: Literal["both", "descriptions", "templates"]
    """What the class-description embedding averages."""
    keep: Literal["all", "separating"]
    """Which descriptions: all, or those nearer to their own class than to its neighbours (nola_core.descriptions.quality)."""
    neighbors: Positive
    """Nearest classes by their embeddings that a description is held against."""


class Select(Section):
    """Stage `select`: pseudo-labels."""

    fraction: Fraction
    """Pseudo-labels a class, as a share of the average class size N / C."""
    min_per_class: Positive
    max_per_class: Positive | None
    unpredicted: Literal["error", "skip"]
    """A class for which no image can be selected: go on without pseudo-labels for it and name it, or stop and name it."""


class Align(Section):
    """Stage `align`: the alignment head."""

    hidden: Positive
    epochs: Positive
    batch_size: Positive
    learning_rate: Rate


class Tune(Section):
    """Stage `tune`: prompts, norm layers and classifier."""

    prompt_tokens: Annotated[int, Field(ge=0)]
    """Of a vision transformer."""
    prompt_frame: Annotated[float, Field(ge=0, lt=0.5)]
    """Of any other tower: the width of the learnable frame, as a share of the image's side."""
    epochs: Positive
    batch_size: Positive
    learning_rate: Rate
    weight_decay: Annotated[float, Field(ge=0, lt=1)]
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    precision: Precision
    """Of the student's vision tower, in `tune` and in `predict`; what is learnt stays float32."""


class Evaluate(Section):
    """Stage `evaluate`: metrics."""

    calibration_bins: Positive
    neighbors: Positive


class Report(Section):
    """Stage `report`: the page."""

    images_per_class: Positive


class Settings(Section):
    """Everything in `params.yaml`."""

    preset: Literal["paper", "best"]
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    datasets: list[str]
    """Names; `data/<name>.yaml` defines each."""
    prepare: Prepare
    describe: Describe
    embed: Embed
    duplicates: Duplicates
    classify: Classify
    select: Select
    align: Align
    tune: Tune
    evaluate: Evaluate
    report: Report

    @model_validator(mode="after")
    def _check(self) -> Settings:
        for name in self.datasets:
            if self.datasets.count(name) > 1:
                raise ValueError(f"datasets lists '{name}' more than once; take the others out")
            if not re.fullmatch(r"[a-z0-9][a-z0-9_]*", name):
                raise ValueError(f"data set name '{name}' may hold only a-z, 0-9 and _ (it names folders and stages)")
        if self.select.max_per_class is not None and self.select.max_per_class < self.select.min_per_class:
            raise ValueError("select.max_per_class is below select.min_per_class")
        return self

    def overrides(self) -> list[str]:
        """`section.key=value (preset: other)` for every value that differs from the preset it names."""
        return [f"{key}={mine} (preset {self.preset}: {theirs})" for key, mine, theirs in self.differences()]

    def differences(self) -> list[tuple[str, Any, Any]]:
        """(`section.key`, value, the preset's) for every value that differs from the preset it names."""
        return [
            (f"{name}.{key}", mine[key], value)
            for name, section in preset_values(self.preset).items()
            for mine in [getattr(self, name).model_dump()]
            for key, value in section.items()
            if mine[key] != value
        ]


def load(root: Path) -> Settings:
    """Read and check `root/params.yaml`.

    Raises:
        NolaError: the file is absent or no YAML, a key is unknown, missing or out of range (all are listed).
    """
    path = root / "params.yaml"
    return parse(read_yaml(path), source=str(path))


def parse(values: Mapping[str, Any], *, source: str = "params.yaml") -> Settings:
    """Validate already loaded values; see `load`."""
    return validate(Settings, values, source=source)


def validate(model: type[Model], values: Any, *, source: str) -> Model:
    """`values` as a `model`, or one NolaError that lists every wrong key of `source` with the values it allows."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(_sentence(model, problem) for problem in error.errors())
        raise NolaError(f"{source}: {problems}" + ("" if problems.endswith("?") else ".")) from None


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file that must be a mapping.

    Raises:
        NolaError: absent, not readable as YAML, or no mapping.
    """
    if not path.is_file():
        raise NolaError(f"{path} does not exist.")
    try:
        values = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # C is ten times faster
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise NolaError(f"{path} is no valid YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(values, dict):
        raise NolaError(f"{path} must hold `key: value` lines; found {type(values).__name__}.")
    return values


def preset_values(name: str) -> dict[str, dict[str, Any]]:
    """Section -> key -> value of a published preset."""
    return read_yaml(Path(__file__).parent / "presets" / f"{name}.yaml")


def _sentence(model: type[BaseModel], problem: Any) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = _known_keys(model, problem["loc"][:-1])
        near = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else "allowed are " + ", ".join(known)
        return f"unknown key '{key}': {hint}"
    if problem["type"] == "missing":
        return f"key '{key}' is missing"
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    if problem["type"] == "model_type":
        return (f"'{key}'" if key else "the entry") + f" must hold `key: value` lines; found {problem['input']!r}"
    if problem["type"] in ("float_type", "int_type") and _is_number(problem["input"]):
        number = yaml.safe_dump(float(problem["input"])).split()[0]
        return f"{key} = {problem['input']!r} is text to YAML, not a number; write {number}"
    return f"{key} = {problem['input']!r}: {problem['msg'].replace('Input should be', 'must be')}"


def _is_number(value: Any) -> bool:
    """Whether `value` is text that people read as a number, such as 1e-3, which YAML 1.1 takes for a word."""
    try:
        return isinstance(value, str) and math.isfinite(float(value))
    except ValueError:
        return False


def _known_keys(model: Any, location: tuple[Any, ...]) -> list[str]:
    for part in location:
        model = get_args(model)[1] if get_origin(model) is dict else model.model_fields[part].annotation
    return list(model.model_fields)


def write_preset(path: Path, name: str) -> None:
    """Write a preset's values into the text of `path`, keeping its comments and all other keys."""
    from nola_core.files import replacing  # brings pandas, which settings can do without

    read_yaml(path)  # says what is wrong with a file that is absent or no YAML
    values = preset_values(name)
    section, lines = "", []
    for line in path.read_text().splitlines():
        top = re.match(r"(\w+):", line)
        section = top.group(1) if top else section
        if section == "preset" and top:
            line = re.sub(r"^preset:\s*\w+", f"preset: {name}", line)
        key = re.match(r"(\s+)(\w+):\s*([^#]*?)(\s*#.*)?$", line)
        if key and key.group(2) in values.get(section, {}):
            value = yaml.safe_dump(values[section][key.group(2)]).replace("\n...", "").strip()
            line = f"{key.group(1)}{key.group(2)}: {value}{key.group(4) or ''}"
        lines.append(line)
    with replacing(path) as scratch:
        scratch.write_text("\n".join(lines) + "\n")
