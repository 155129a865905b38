"""NoLA: label-free tuning of CLIP.

import nola_core
model = nola_core.adapt("photos/", ["cat", "dog"])     # a folder and class names in, a classifier out
model.save("pets")
nola_core.load("pets").predict(["new.jpg"])            # later, anywhere
nola_core.methods.names()                              # the methods there are
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nola_core import methods
    from nola_core.adaptation import adapt
    from nola_core.classifier import Classifier
    from nola_core.model_folder import load

    __version__: str

__all__ = ["Classifier", "__version__", "adapt", "load", "methods"]

_HOMES = {"adapt": "nola_core.adaptation", "Classifier": "nola_core.classifier", "load": "nola_core.model_folder"}


def __getattr__(name: str) -> Any:
    """The names of `__all__` when they are first asked for: torch takes seconds, and most of the package does without it."""
    if name == "__version__":
        from importlib.metadata import version

        return version("nola")
    if name == "methods":
        return import_module("nola_core.methods")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'nola_core' has no attribute '{name}'; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return __all__
