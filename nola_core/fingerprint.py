"""Fingerprints of code: what a stage's result depends on, and no more.

A stage depends on every module that its own module reaches by imports inside `nola_core`. Comments, docstrings and layout
do not count, nor do modules that cannot change a result (`NEUTRAL`) and plug-ins that are not in force (`PLUGINS`).
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

PACKAGE = "nola_core"
ROOT = Path(__file__).parent

NEUTRAL = frozenset(
    f"{PACKAGE}.{name}"
    for name in (
        "backbones.check",
        "backbones.hub",
        "backbones.pairs",
        "config",  # the values it reads are inputs themselves
        "datasets.definition",
        "datasets.source",
        "device",
        "errors",
        "files",
        "fingerprint",
        "hashes",
        "inputs",
        "progress",
        "stages.paths",
        "text",
    )
)
"""Modules that read settings, place files and talk to people. A change there reruns nothing."""

PLUGINS = (f"{PACKAGE}.datasets.readers", f"{PACKAGE}.datasets.catalog", f"{PACKAGE}.backbones.conse")
"""Modules and packages of which a stage depends on the ones in force alone; `code` is told their names.

Readers: only `prepare` depends on one. Every later stage opens images through a reader too, but holds their bytes against the
hash that the manifest recorded, so a reader cannot change what it sees.
"""


def code(roots: Iterable[str], *, files: Iterable[str] = ()) -> str:
    """SHA-256 in hex of the code that `roots` reach.

    Args:
        roots: dotted names of modules; they count even where `NEUTRAL` or `PLUGINS` names them.
        files: further files the code reads, relative to the package, such as `report/template.html`.
    """
    digest = hashlib.sha256()
    for name in sorted(reached(roots)):
        digest.update(f"{name}:{_normalized(name)};".encode())
    for name in sorted(files):
        digest.update(f"{name}:".encode() + (ROOT / name).read_bytes())
    return digest.hexdigest()


def reached(roots: Iterable[str]) -> set[str]:
    """The modules whose code counts for `roots`, these included."""
    seen: set[str] = set()
    todo = list(roots)
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            inside = _is_plugin(name)
            todo += [other for other in _imports(name) if other not in NEUTRAL and (inside or not _is_plugin(other))]
    return seen


def _is_plugin(name: str) -> bool:
    return any(name == plugin or name.startswith(f"{plugin}.") for plugin in PLUGINS)


@cache
def _tree(name: str) -> ast.Module:
    return ast.parse(_file(name).read_text(encoding="utf-8"))


@cache
def _normalized(name: str) -> str:
    """The module's syntax tree as text, without docstrings and positions."""
    tree = ast.parse(_file(name).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):  # a string that stands alone computes nothing
            node.body = [part for part in body if not _is_text(part)]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


@cache
def _imports(name: str) -> tuple[str, ...]:
    """The modules of the package that a module imports anywhere in its code, but for type checkers alone."""
    return tuple(sorted({found for node in _statements(_tree(name)) for found in _named(node)}))


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            continue
        yield child
        yield from _statements(child)


def _named(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if _is_module(alias.name))
    elif isinstance(node, ast.ImportFrom) and node.level == 0 and _is_module(node.module or ""):
        for alias in node.names:
            yield _defining(str(node.module), alias.name)


def _defining(module: str, name: str) -> str:
    """The module that `from module import name` leads to; a package's `__init__` is looked through."""
    if _is_module(f"{module}.{name}"):
        return f"{module}.{name}"
    if _file(module).name == "__init__.py":
        for node in _statements(_tree(module)):
            if isinstance(node, ast.ImportFrom) and any((alias.asname or alias.name) == name for alias in node.names):
                return _defining(str(node.module), name)
    return module


def _is_module(name: str) -> bool:
    return (name == PACKAGE or name.startswith(f"{PACKAGE}.")) and _file(name).is_file()


@cache
def _file(name: str) -> Path:
    """The file of a module; one that does not exist is called by the name it would have."""
    base = ROOT.joinpath(*name.split(".")[1:])
    package = base / "__init__.py"
    return package if package.is_file() else base.with_suffix(".py")
