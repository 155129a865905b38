"""Class descriptions: the table the classifiers read, the responses it is made from, and who may provide them."""

from nola_core.descriptions.importers import import_file
from nola_core.descriptions.responses import Responses
from nola_core.descriptions.table import SCHEMA, describe, read_provided

__all__ = ["SCHEMA", "Responses", "describe", "import_file", "read_provided"]
