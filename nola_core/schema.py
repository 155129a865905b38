"""Checked sections of YAML files: what a wrong key or value is answered with."""

from __future__ import annotations

import difflib
import math
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nola_core.errors import NolaError

Precision = Literal["float32", "bfloat16"]
Fraction = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0, lt=1)]

Model = TypeVar("Model", bound=BaseModel)


class Section(BaseModel):
    """Base of every section: frozen and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


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


def _sentence(model: type[BaseModel], problem: Any) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = _known_keys(model, problem["loc"][:-1])
        near = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
        others = f"allowed are {', '.join(known)}" if known else f"{'.'.join(map(str, problem['loc'][:-1]))} takes no keys"
        hint = f"did you mean '{near[0]}'?" if near else others
        return f"unknown key '{key}': {hint}"
    if problem["type"] == "missing":
        return f"key '{key}' is missing"
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    if problem["type"] == "model_type":
        return (f"'{key}'" if key else "the entry") + f" must hold `key: value` lines; found {problem['input']!r}"
    if problem["type"] in ("float_type", "int_type") and _is_number(problem["input"]):
        value = float(problem["input"])
        whole = problem["type"] == "int_type" and value.is_integer()
        number = yaml.safe_dump(int(value) if whole else value).split()[0]
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
