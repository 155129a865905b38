"""What every stage of every data set depends on, resolved once: `data/inputs/<dataset>.json`.

Names are followed to what they stand for: a backbone pair to its two models and the hashes of their local files, a class
list in a text file to its lines, a prompt set to its prompts, a folder of images to a fingerprint of its listing, a stage to a
fingerprint of the code it runs. DVC compares a stage's entry and nothing else, so a stage reruns when its own entry changed.

The stage itself reads its options from its entry, too. What DVC records is therefore what the stage ran with, even if somebody
edits params.yaml meanwhile; the edit counts from the next run on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from nola_core.backbones.pairs import ClipSpec, Spec, SslSpec
from nola_core.config import Settings, load
from nola_core.corrections import NO_CLASS
from nola_core.datasets import corrected
from nola_core.datasets.definition import DatasetDefinition, load_definition
from nola_core.entries import FOLDER as FOLDER
from nola_core.entries import ROLES as ROLES
from nola_core.entries import Entry, Resolver, audit_of, captions_of, code_of, model_of
from nola_core.entries import Role as Role
from nola_core.errors import NolaError
from nola_core.files import json_text, read_json, write_json
from nola_core.fingerprint import Package
from nola_core.hashes import HashCache
from nola_core.methods import registry
from nola_core.methods.method import Method
from nola_core.schema import Section, validate

STAGES = ("prepare", "describe", "embed", "duplicates", "classify", "select", "fit", "tune", "predict", "evaluate", "report")
S = TypeVar("S", bound=Section)
M = TypeVar("M", bound=Method)


@dataclass(frozen=True)
class Inputs:
    """One stage's entry of `data/inputs/<dataset>.json`.

    Attributes:
        values: the entry.
        texts: what is too long for an entry, which has its digest: `templates`, `report` (settings, overrides and templates) and,
            where there are any, `corrections` (image id -> class name, null for none) and those of the split train, `taught`.
    """

    values: Mapping[str, Any]
    texts: Mapping[str, Any]

    def options(self, section: type[S]) -> S:
        """The section of params.yaml that the stage uses."""
        return validate(section, self.values["options"], source=str(FOLDER))

    def methods(self, root: Path, kind: type[M]) -> dict[str, tuple[M, Section]]:
        """The methods of the entry of one kind, with their options: those the stage fits, tunes or asks."""
        found = {name: self.method(root, name, Method) for name in self.values["methods"]}
        return {name: (method, options) for name, (method, options) in found.items() if isinstance(method, kind)}

    def method(self, root: Path, name: str, kind: type[M]) -> tuple[M, Section]:
        """A method by its name, which must be of a kind, and its options if the entry has them.

        Raises:
            NolaError: there is no such method, or it is of another kind.
        """
        method = registry.find(name, root)
        if not isinstance(method, kind):
            raise NolaError(f"method '{name}' is a {method.kind} method, which cannot be used here; see params.yaml.")
        return method, validate(method.section, self.values["methods"].get(name, {}), source=str(FOLDER))

    def given(self, names: Sequence[str], *, taught: bool = True) -> dict[str, int]:
        """Image id -> the class that a correction gives it, `NO_CLASS` for none of the classes; empty without corrections.

        Args:
            names: class names by class id.
            taught: only images of the split train, which methods learn from.
        """
        found = self.texts["taught" if taught else "corrections"] if "corrections" in self.values else {}
        ids = {name: row for row, name in enumerate(names)}
        return {image: NO_CLASS if name is None else ids[name] for image, name in found.items()}

    @property
    def corrections(self) -> Mapping[str, int] | None:
        """How many corrections of each kind are in force; of `predict` and `evaluate`."""
        return self.values["corrections"]["counts"] if "corrections" in self.values else None

    @property
    def seed(self) -> int:
        """Of everything that is drawn."""
        return int(self.values["seed"])

    @property
    def code(self) -> str:
        """Fingerprint of the code the stage runs; part of the keys of caches and checkpoints."""
        return str(self.values["code"])

    def spec(self, role: Role) -> Spec:
        """The model of a role."""
        return validate(ClipSpec if role == "clip" else SslSpec, self.values[role]["spec"], source=str(FOLDER))

    @property
    def clip(self) -> ClipSpec:
        """The dual encoder."""
        return validate(ClipSpec, self.values["clip"]["spec"], source=str(FOLDER))


def read(root: Path, dataset: str, stage: str, role: Role | None = None) -> Inputs:
    """The entry of a stage.

    Raises:
        NolaError: the file or the entry is absent, or an input could not be resolved (its sentence).
    """
    path = root / FOLDER / f"{dataset}.json"
    if not path.is_file():
        raise NolaError(f"{path} does not exist; run `dvc repro` or `nola run`, which write it first.")
    content = read_json(path)
    found = content.get(stage, {})
    found = found.get(role, {}) if role else found
    if not found:
        raise NolaError(f"{path} has no entry for the stage {stage}; run `dvc repro` or `nola run`, which write it anew.")
    if "problem" in found:
        raise NolaError(found["problem"])
    return Inputs(found, content.get("texts", {}))


def check(root: Path, dataset: str, stage: str, inputs: Inputs) -> None:
    """Refuse a stage whose code, weights or source changed since its entry was written.

    Called before and after the stage: what DVC records for its outputs must be what made them. Edits of params.yaml do no harm:
    the stage reads its options from its entry.

    Raises:
        NolaError: something differs; says what.
    """
    hashes, changed = HashCache(root), []
    if code_of(Package(), root, stage, inputs.values) != inputs.code:
        changed.append("the code")
    for role in ROLES:
        if role in inputs.values and model_of(root, inputs.spec(role), hashes) != inputs.values[role]:
            changed.append("the weights")
    if "captions" in inputs.values and captions_of(root, dataset, hashes) != inputs.values["captions"]:
        changed.append("the captions")
    if stage == "prepare":  # which reads the definition and the source themselves
        now = _attempt(lambda: Resolver(root, load_definition(root, dataset), load(root), hashes, Package()).entry(stage, None))
        ours = {**inputs.values, "options": now.get("options"), "code": now.get("code")}
        ours.pop("corrections", None)  # read from the entry, like the options
        if now.get("source") != ours["source"]:
            changed.append("the images")
        elif now != ours:
            changed.append(f"data/{dataset}.yaml")
    if stage == "evaluate" and audit_of(root, dataset, hashes) != inputs.values.get("audit"):
        changed.append("the answers of the audit")
    hashes.save()
    if changed:
        raise NolaError(f"{' and '.join(changed)} changed since this run began, so {stage} keeps no result; run it again.")


def write(root: Path) -> None:
    """Resolve the inputs of all data sets; a file is written where something in it changed.

    Raises:
        NolaError: params.yaml is not sound. What is wrong with one data set alone is left to its stages to say.
    """
    contents = resolve(root)
    (root / FOLDER).mkdir(parents=True, exist_ok=True)  # without any data set, too: DVC wants what a stage says it writes
    for dataset, content in contents.items():
        path = root / FOLDER / f"{dataset}.json"
        if not path.is_file() or path.read_text(encoding="utf-8") != json_text(content):
            write_json(path, content)
    for path in (root / FOLDER).glob("*.json"):
        if path.stem not in contents:
            path.unlink()


def resolve(root: Path) -> dict[str, dict[str, Any]]:
    """Data set -> what its file shall hold; writes nothing but the cache of hashes.

    Raises:
        NolaError: params.yaml is not sound.
    """
    settings, hashes, package = load(root), HashCache(root), Package()
    contents = {dataset: _content(root, dataset, settings, hashes, package) for dataset in settings.datasets}
    hashes.save()
    return contents


def _content(root: Path, dataset: str, settings: Settings, hashes: HashCache, package: Package) -> dict[str, Any]:
    """Stage -> its entry (of `embed`: role -> entry), and the `texts`."""
    found = _attempt(lambda: {"resolver": _resolver(root, load_definition(root, dataset), settings, hashes, package)})
    if "problem" in found:
        return {stage: _by_role(stage, lambda role: found) for stage in STAGES}
    resolver: Resolver = found["resolver"]
    entries = {
        stage: _by_role(stage, lambda role, stage=stage: _attempt(lambda: resolver.entry(stage, role)))  # type: ignore[misc]
        for stage in STAGES
    }
    return {**entries, "texts": resolver.texts}


def _resolver(root: Path, definition: DatasetDefinition, settings: Settings, hashes: HashCache, package: Package) -> Resolver:
    wanted = settings.corrections if definition.corrections is None else definition.corrections
    return Resolver(root, definition, settings, hashes, package, corrected.resolve(root, definition) if wanted else None)


def _by_role(stage: str, make: Callable[[Role | None], Entry]) -> Any:
    return {role: make(role) for role in ROLES} if stage == "embed" else make(None)


def _attempt(make: Callable[[], Entry]) -> Entry:
    try:
        return make()
    except NolaError as error:
        return {"problem": str(error)}
    except OSError as error:
        return {"problem": f"{error.filename} cannot be read ({error.strerror}); restore it, or take it out of the definition."}
