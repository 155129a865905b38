"""Class descriptions: the table that the classifiers read, and where its sentences come from.

Three rooms, each of which imports only from those before it: `texts` (prompts, tables, published files), `asking` (a
language model, its cost, the response cache) and `rounds` (questions about confused classes).
"""

from nola_core.descriptions.asking.cache import Responses
from nola_core.descriptions.texts.table import SCHEMA, describe, import_file, read_provided

__all__ = ["SCHEMA", "Responses", "describe", "import_file", "read_provided"]
