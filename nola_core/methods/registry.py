"""Finds methods by name: a module of this package, a registered one, or `methods/<name>.py` of the project."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import re
import sys
from pathlib import Path

from nola_core.errors import NolaError
from nola_core.lookup import known
from nola_core.methods.method import Method
from nola_core.schema import Section

PARTS = ("collection", "method", "registry", "storage")
"""Modules of this package that are no methods."""
FOLDER = "methods"
"""Where a project keeps methods of its own."""

_registered: dict[str, Method] = {}


def names(root: Path | None = None) -> list[str]:
    """All methods there are, by name; those of the project at `root` too."""
    found = {path.stem for path in Path(__file__).parent.glob("[a-z]*.py")} - set(PARTS)
    own = {path.stem for path in (root / FOLDER).glob("[a-z]*.py")} if root is not None else set()
    return sorted(found | own | set(_registered))


def register(method: Method) -> Method:
    """Make a method known to this process, for notebooks and tests; a project keeps it in `methods/<name>.py` instead.

    Raises:
        NolaError: its name is not made of a-z, 0-9 and _, or another method has it.
    """
    checked = _checked(method, source="register")
    if checked.name in names() and _registered.get(checked.name) is not method:
        raise NolaError(f"there is a method '{checked.name}' already; choose another name for {type(method).__name__}.")
    _registered[checked.name] = checked
    return checked


def find(name: str, root: Path | None = None) -> Method:
    """A method by its name.

    Raises:
        NolaError: there is none of that name, or its module cannot be loaded.
    """
    if name in _registered:
        return _registered[name]
    known(name, names(root), "method")
    path = own_file(name, root)
    if path is not None:
        if (Path(__file__).parent / path.name).is_file():
            raise NolaError(
                f"{path}: NoLA has a method or module '{name}' of its own; give the file and its method another name."
            )
        return _checked(_load(path), source=str(path), name=name)
    module = importlib.import_module(f"nola_core.methods.{name}")
    return _checked(getattr(module, "METHOD", None), source=module.__name__, name=name)


def own_file(name: str, root: Path | None) -> Path | None:
    """The file of a method that is no module of this package: of the project, or where a registered one was written.

    A registered method whose code is in no file, as in a notebook, has a path that does not exist and that no other process has.
    """
    if name in _registered:
        kind = type(_registered[name])
        try:
            return Path(inspect.getfile(kind))
        except (OSError, TypeError):
            return Path(f"{name}-{os.getpid()}-{id(kind):x}.py")
    path = (root or Path()) / FOLDER / f"{name}.py"
    return path if root is not None and path.is_file() else None


def _checked(method: object, *, source: str, name: str | None = None) -> Method:
    if not isinstance(method, Method):
        raise NolaError(f"{source}: it must hold its method as METHOD = ..., an instance of nola_core.methods.method.Method.")
    missing = [key for key in ("kind", "name", "title", "summary") if not isinstance(getattr(method, key, None), str)]
    if missing:
        raise NolaError(f"{source}: the method lacks {', '.join(missing)}.")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", method.name):
        raise NolaError(f"{source}: the name '{method.name}' may hold only a-z, 0-9 and _ and begins with a letter.")
    if name is not None and method.name != name:
        raise NolaError(f"{source}: the method is called '{method.name}', but its file '{name}'; give both one name.")
    if not (isinstance(method.section, type) and issubclass(method.section, Section)):
        raise NolaError(f"{source}: the method's section must be a class derived from nola_core.schema.Section.")
    without = [key for key, option in method.section.model_fields.items() if option.is_required()]
    if without:
        raise NolaError(f"{source}: every option needs a default; give one to {', '.join(without)}.")
    return method


def _load(path: Path) -> object:
    """METHOD of a file, loaded again when the file changed."""
    state = path.stat()
    title = f"nola_method_{path.stem}_{state.st_mtime_ns:x}_{abs(hash(str(path.resolve()))):x}"
    if title not in sys.modules:
        spec = importlib.util.spec_from_file_location(title, path)
        if spec is None or spec.loader is None:
            raise NolaError(f"{path} is no Python file.")
        module = importlib.util.module_from_spec(spec)
        sys.modules[title] = module
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:  # a module may raise anything; what matters is which file it was
            del sys.modules[title]
            raise NolaError(f"{path} cannot be loaded ({type(error).__name__}: {error}).") from error
    return getattr(sys.modules[title], "METHOD", None)
