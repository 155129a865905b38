"""What is out of date and why, in words, and what `nola run` would therefore do. Nothing is run or changed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.graph import DATA, Graph, Stage, read_graph
from flows.inputs import FIRST_STEP
from flows.locking import Notify
from nola_core import inputs
from nola_core.durations import durations
from nola_core.errors import NolaError
from nola_core.files import json_text, read_table

MOST = 4  # reasons of a stage that are spelled out
LONG = 40  # letters of a value that are shown
_DIGEST = re.compile(r"[0-9a-f]{16,64}")
_PLAIN = {
    "code": "its code changed",
    "templates": "the templates changed",
    "table": "the table of descriptions changed",
    "prompts": "the prompts changed",
    "captions": "the captions changed",
    "corrections": "the corrections changed",
    "classes": "the class names changed",
    "catalog": "the catalog's entry changed",
    "settings": "settings that the report shows changed",
    "in_force": "the methods in force changed",
    "licences": "the recorded licence of a model changed",
}
"""Keys of an entry whose values say nothing to a person."""
_MISSING = object()


@dataclass(frozen=True)
class Pending:
    """A stage that `nola run` would run.

    Attributes:
        stage: the stage.
        certain: whether it runs for sure; otherwise only if a stage above it writes something else than before.
        reasons: why, in words.
        seconds: how long its last run took, None if that is not recorded.
    """

    stage: Stage
    certain: bool
    reasons: tuple[str, ...]
    seconds: float | None


def pending(root: Path, *, datasets: Iterable[str] | None = None, notify: Notify = print) -> tuple[Graph, list[Pending]]:
    """All stages of the data sets, and those that are out of date or follow one that is.

    Args:
        root: the project's folder.
        datasets: only these (None: all).
        notify: called with a message when this waits for another DVC command.

    Raises:
        NolaError: params.yaml or dvc.yaml is not sound, or there is no such data set.
    """
    resolved = inputs.resolve(root) if (root / FIRST_STEP).is_file() else {}
    graph = read_graph(root, datasets=datasets, notify=notify, why=_Why(root, resolved))
    took = durations(root)
    found: dict[str, Pending] = {}
    for address, stage in graph.stages.items():
        above = [found[one].stage for one in stage.upstream if one in found]
        reasons = tuple(graph.reasons.get(address, ()))
        if not reasons and not above:
            continue
        waits = () if reasons else (f"if the output of {' or '.join(label(one) for one in above)} changes",)
        found[address] = Pending(stage, bool(reasons), reasons or waits, took.get(address))
    return graph, list(found.values())


def label(stage: Stage) -> str:
    """A stage without its data set: `tune`, `embed clip`."""
    return f"{stage.name} {stage.address.removeprefix(f'{stage.name}@{stage.dataset}').strip('-')}".strip()


class _Why:
    """Says why a stage of DVC is out of date, against the inputs as a run would write them now."""

    def __init__(self, root: Path, resolved: Mapping[str, Any]) -> None:
        self._root = root
        self._files = {root / inputs.FOLDER / f"{name}.json": json.loads(json_text(each)) for name, each in resolved.items()}

    def __call__(self, node: Any) -> list[str]:
        if not any(out.hash_info for out in node.outs):  # no entry in dvc.lock
            return ["it has not run yet", *self._problems(node)]
        found = list(self._deps(node))
        found += [f"{self._short(path)} {_OUT.get(how, how)}" for path, how in _statuses(node.outs)]
        found += ["its command in dvc.yaml changed"] if node.changed_stage() else []
        found += ["it runs every time"] if node.always_changed else []
        unique = list(dict.fromkeys(found))
        return unique if len(unique) <= MOST else [*unique[:MOST], f"and {len(unique) - MOST} more"]

    def _deps(self, node: Any) -> Iterator[str]:
        for dep in node.deps:
            if not hasattr(dep, "params"):
                for path, how in _statuses([dep]):
                    counted = how == "modified" and Path(path).name == "manifest.parquet" and _embedded(node, Path(path))
                    yield counted or f"{self._short(path)} {_DEP.get(how, how)}"
                continue
            now = self._now(dep)
            before = dep.hash_info.value or {}
            for key in dict.fromkeys([*before, *now]):
                was, became = before.get(key, _MISSING), now.get(key, _MISSING)
                if was != became:
                    yield from self._words(key, was, became, Path(dep.fs_path).stem)

    def _now(self, dep: Any) -> Mapping[str, Any]:
        """Key -> its value now."""
        content = self._files.get(Path(dep.fs_path))
        if content is None:
            return dict(dep.read_params())
        found = {key: _at(content, key.split(".")) for key in dep.params}
        return {key: value for key, value in found.items() if value is not _MISSING}

    def _problems(self, node: Any) -> list[str]:
        """What keeps a stage from running, by its entry."""
        entries = [entry for dep in node.deps if hasattr(dep, "params") for entry in self._now(dep).values()]
        return [f"it cannot run: {one['problem']}" for one in entries if isinstance(one, Mapping) and "problem" in one]

    def _words(self, key: str, was: Any, became: Any, dataset: str) -> Iterator[str]:
        if not isinstance(became, Mapping) or not isinstance(was, Mapping):
            yield _changed(key, was, became)
        elif "problem" in became:
            yield f"it cannot run: {became['problem']}"
        else:
            section = key.split(".")[0]
            for path, old, new in differences(was, became):
                yield self._images(dataset) if path == ("source",) else _said(section, path, old, new)

    def _images(self, dataset: str) -> str:
        """How many images came and went since `prepare` ran."""
        from nola_core.datasets.definition import load_definition
        from nola_core.datasets.readers import open_reader

        try:
            before = set(read_table(self._root / DATA / dataset / "manifest.parquet", ["image_id"])["image_id"])
            now = {found.image_id for found in open_reader(load_definition(self._root, dataset)).scan()}
        except (NolaError, OSError):
            return "the images changed"
        return _came_and_went(before, now) or "files of the images changed"

    def _short(self, path: str) -> str:
        """A path without the folder of its data set."""
        place = Path(path)
        folder = self._root / DATA
        if not place.is_relative_to(folder):
            return str(place.relative_to(self._root)) if place.is_relative_to(self._root) else path
        return str(Path(*place.relative_to(folder).parts[1:]))


_DEP = {"modified": "changed", "deleted": "is missing", "new": "is new"}
_OUT = {
    "modified": "is not what it wrote",
    "deleted": "is missing",
    "new": "is new",
    "not in cache": "is not in DVC's cache",
}


def differences(was: Any, became: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """Path, old and new value of each leaf that differs; a value that is absent on one side is `_MISSING`."""
    if isinstance(was, Mapping) and isinstance(became, Mapping):
        for key in dict.fromkeys([*was, *became]):
            yield from differences(was.get(key, _MISSING), became.get(key, _MISSING), (*path, str(key)))
    elif was != became:
        yield path, was, became


def _embedded(node: Any, manifest: Path) -> str:
    """How many images of a manifest have no features yet, and how many have gone; empty if that cannot be told."""
    stores = [index for out in node.outs for index in Path(out.fs_path).glob("*/index.parquet")]
    if not stores:
        return ""
    try:
        table = read_table(manifest, ["image_id", "ok"])
        before = {image_id for store in stores for image_id in read_table(store, ["image_id"])["image_id"]}
    except NolaError:
        return ""
    return _came_and_went(before, set(table.loc[table["ok"], "image_id"]))


def _came_and_went(before: set[str], now: set[str]) -> str:
    words = [f"{_count(len(ids))} {what}" for ids, what in ((now - before, "new"), (before - now, "gone")) if ids]
    return " and ".join(words)


def _statuses(entries: Iterable[Any]) -> Iterator[tuple[str, str]]:
    """Absolute path and DVC's word for each dependency or output that differs."""
    for entry in entries:
        yield from ((str(entry.fs_path), str(how)) for how in entry.status().values())


def _said(section: str, path: tuple[str, ...], old: Any, new: Any) -> str:
    """A difference within an entry, with the key's name in params.yaml."""
    first, *rest = path
    if first in _PLAIN:
        return _PLAIN[first]
    if first in inputs.ROLES:
        return _model(first, rest, old, new)
    if first == "methods" and len(rest) == 1 and (old is _MISSING or new is _MISSING):
        return f"method {rest[0]} {'comes in' if old is _MISSING else 'is taken out'}"
    name = {"options": [section, *rest], "methods": rest, "precision": ["embed.precision"]}.get(first, list(path))
    return _changed(".".join(name), old, new)


def _model(role: str, path: list[str], old: Any, new: Any) -> str:
    name = role.upper()
    if path == ["spec", "model"]:
        return _changed(f"the {name} model", old, new)
    if path[:1] == ["spec"]:
        return _changed(f"{'.'.join(path[1:])} of the {name} model", old, new)
    return f"the files of the {name} model changed"


def _changed(name: str, old: Any, new: Any) -> str:
    if old is _MISSING:
        return f"{name} is new"
    if new is _MISSING:
        return f"{name} was removed"
    if any(isinstance(value, str) and _DIGEST.fullmatch(value) for value in (old, new)):
        return f"{name} changed"
    was, became = (json.dumps(value, ensure_ascii=False).strip('"') for value in (old, new))
    return f"{name} changed" + (f" from {was} to {became}" if max(len(was), len(became)) <= LONG else "")


def _at(content: Any, keys: list[str]) -> Any:
    for key in keys:
        if not isinstance(content, Mapping) or key not in content:
            return _MISSING
        content = content[key]
    return content


def _count(number: int) -> str:
    return "1 image is" if number == 1 else f"{number:,} images are"
