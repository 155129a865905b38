"""Collections of images: their definition (`data/<name>.yaml`), their readers, and the manifest made of them.

What is named here is loaded when it is asked for: a definition can be read without pandas, images without the readers.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nola_core.datasets.definition import DatasetDefinition, load_definition
    from nola_core.datasets.image import decode
    from nola_core.datasets.manifest import Prepared, image_opener, prepare
    from nola_core.datasets.readers import Found, Reader, open_reader

__all__ = [
    "DatasetDefinition",
    "Found",
    "Prepared",
    "Reader",
    "decode",
    "image_opener",
    "load_definition",
    "open_reader",
    "prepare",
]


def __getattr__(name: str) -> Any:
    home: Any
    if name in ("DatasetDefinition", "load_definition"):
        from nola_core.datasets import definition as home
    elif name == "decode":
        from nola_core.datasets import image as home
    elif name in ("Prepared", "image_opener", "prepare"):
        from nola_core.datasets import manifest as home
    elif name in ("Found", "Reader", "open_reader"):
        from nola_core.datasets import readers as home
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(home, name)
