"""Fingerprints of the code that a stage's result depends on.

A stage depends on every module that its own module imports, directly or indirectly, inside `nola_core`. Comments, docstrings and
formatting do not count. Neither do modules that cannot change a result (`NEUTRAL`) and plug-ins that are not used (`PLUGINS`).
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

NAME = "nola_core"
ROOT = Path(__file__).parent

NEUTRAL = frozenset(
    f"{NAME}.{module}"
    for module in (
        "backbones.check",
        "backbones.hub",
        "backbones.pairs",  # the pair it resolves is an input itself
        "config",  # likewise
        "corrections",  # likewise
        "datasets.corrected",  # likewise
        "datasets.definition",  # likewise
        "datasets.source",
        "device",
        "durations",
        "entries",
        "errors",
        "files",
        "fingerprint",
        "hashes",
        "inputs",
        "lookup",
        "methods",
        "methods.registry",
        "progress",
        "schema",
        "stages.paths",
        "tensors",
        "text",
        "yaml_list",
    )
)
"""Modules that read settings, handle files or print messages. A change there reruns nothing."""

PLUGINS = (
    f"{NAME}.datasets.readers",
    f"{NAME}.datasets.catalog",
    f"{NAME}.backbones.conse",
    f"{NAME}.methods",
    f"{NAME}.students",
)
"""Modules and packages of which a stage depends on the ones in force alone; `Package.code` is told their names.

Methods: what all share (`SHARED`) always counts. A method of the project is named by the path of its file.

Readers: only `prepare` depends on one. Every later stage opens images through a reader too, but holds their bytes against the
hash that the manifest recorded, so a reader cannot change what it sees.
"""

SHARED = tuple(f"{NAME}.methods.{module}" for module in ("collection", "method", "storage"))


class Package:
    """The source code of `nola_core` as it is on disk now; each module is read once.

    Args:
        root: the folder of the package.
    """

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root
        self._modules: dict[str, _Module] = {}
        self._imported: dict[str, set[str]] = {}

    def code(self, roots: Iterable[str], *, files: Iterable[str] = ()) -> str:
        """SHA-256 in hex of the code that `roots` import, directly or indirectly.

        Args:
            roots: modules by their dotted names, and Python files outside of the package by their paths. They count even where
                `NEUTRAL` or `PLUGINS` names them.
            files: further files the code reads, relative to the package, such as `report/page/page.html`.
        """
        digest = hashlib.sha256()
        for name in sorted(self.reached(roots)):
            shown = Path(name).name if name.endswith(".py") else name
            digest.update(f"{shown}:{self._module(name).digest};".encode())
        for name in sorted(files):
            digest.update(f"{name}:".encode() + (self._root / name).read_bytes())
        return digest.hexdigest()

    def reached(self, roots: Iterable[str]) -> set[str]:
        """The modules whose code counts for `roots`, including `roots`."""
        seen: set[str] = set()
        todo = list(roots)
        while todo:
            name = todo.pop()
            if name not in seen:
                seen.add(name)
                inside = _is_plugin(name)
                todo += [other for other in self._imports(name) if other not in NEUTRAL and (inside or not _is_plugin(other))]
        return seen

    def _module(self, name: str) -> _Module:
        if name not in self._modules:
            self._modules[name] = _parsed(self._file(name).read_text(encoding="utf-8"))
        return self._modules[name]

    def _imports(self, name: str) -> set[str]:
        """The modules of the package that a module imports anywhere, except imports for type checkers only."""
        if name not in self._imported:
            self._imported[name] = {found for node in self._module(name).imports for found in self._named(node)}
        return self._imported[name]

    def _named(self, node: ast.Import | ast.ImportFrom) -> Iterator[str]:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if self._has(alias.name))
        elif node.level == 0 and self._has(node.module or ""):
            for alias in node.names:
                yield self._defining(str(node.module), alias.name)

    def _defining(self, module: str, name: str) -> str:
        """The module that `from module import name` refers to, following re-exports in a package's `__init__`."""
        if self._has(f"{module}.{name}"):
            return f"{module}.{name}"
        if self._file(module).name == "__init__.py":
            for node in self._module(module).imports:
                if isinstance(node, ast.ImportFrom) and any((alias.asname or alias.name) == name for alias in node.names):
                    return self._defining(str(node.module), name)
        return module

    def _has(self, name: str) -> bool:
        return (name == NAME or name.startswith(f"{NAME}.")) and self._file(name).is_file()

    def _file(self, name: str) -> Path:
        """The file of a module; one that does not exist is called by the name it would have."""
        if name.endswith(".py"):
            return Path(name)
        base = self._root.joinpath(*name.split(".")[1:])
        package = base / "__init__.py"
        return package if package.is_file() else base.with_suffix(".py")


class _Module(NamedTuple):
    """A module's import statements, except those for type checkers, and the digest of its code."""

    imports: tuple[ast.Import | ast.ImportFrom, ...]
    digest: str


@lru_cache(maxsize=1024)
def _parsed(text: str) -> _Module:
    """By its text, so that a process that looks again, as a stage does at its end, parses only what has changed."""
    tree = _tree(text)
    imports = tuple(node for node in _statements(tree) if isinstance(node, ast.Import | ast.ImportFrom))
    return _Module(imports, hashlib.sha256(ast.dump(_Bare().visit(tree)).encode()).hexdigest())  # _Bare edits the tree


def _tree(text: str) -> ast.Module:
    """`ast.parse`, tried again where it fails because another thread parses at the same time (Python 3.11; cpython#106905)."""
    for _ in range(9):
        with suppress(SystemError):
            return ast.parse(text)
    return ast.parse(text)


class _Bare(ast.NodeTransformer):
    """Removes string expressions: the docstrings of modules, classes, functions and attributes."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if text else node


def _is_plugin(name: str) -> bool:
    if name in SHARED:
        return False
    return name.endswith(".py") or name in PLUGINS or name.startswith(tuple(f"{plugin}." for plugin in PLUGINS))


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """Every statement at any depth, except those under `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.stmt | ast.excepthandler):
            yield child
            yield from _statements(child)
