"""Collections of images: their definition (`data/<name>.yaml`), their readers, and the manifest made of them."""

from nola_core.datasets.definition import DatasetDefinition, load_definition
from nola_core.datasets.image import decode
from nola_core.datasets.manifest import Prepared, prepare
from nola_core.datasets.opener import image_opener
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
