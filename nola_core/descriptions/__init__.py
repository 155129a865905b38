"""Class descriptions: the table the classifiers read, the responses it is made from, and who may provide them.

The texts: `grammar`, `prompts`, `table`, `importing`, `quality`. Asking for them: `request`, `cost`, `responses` (the cache),
`client`, `batch`, `asking`. Rounds that look at images: `confusion`, `refine`, `captions`. `commands` stands above all of them.
"""

from nola_core.descriptions.importing import import_file
from nola_core.descriptions.responses import Responses
from nola_core.descriptions.table import SCHEMA, describe, read_provided

__all__ = ["SCHEMA", "Responses", "describe", "import_file", "read_provided"]
