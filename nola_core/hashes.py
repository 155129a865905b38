"""SHA-256 of local files, cached until the size or modification time of the file changes."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from nola_core.device import cache_root
from nola_core.errors import NolaError
from nola_core.files import read_json, sha256_file, write_json


class HashCache:
    """Hashes stored in `hashes.json` in the project's cache folder; without it every file is read again."""

    def __init__(self, root: Path) -> None:
        self._path = root / cache_root() / "hashes.json"
        self._known: dict[str, list[object]] = {}
        self._changed = False
        with suppress(NolaError, TypeError, ValueError):  # a missing or damaged cache is not an error
            self._known = dict(read_json(self._path))

    def sha256(self, path: Path) -> str:
        """SHA-256 of a file's bytes, in hex.

        Raises:
            OSError: the file cannot be read.
        """
        key, status = str(path.resolve()), path.stat()
        mark = [status.st_size, status.st_mtime_ns, status.st_ino]
        known = self._known.get(key)
        if not isinstance(known, list) or known[:3] != mark:
            known = self._known[key] = [*mark, sha256_file(path)]
            self._changed = True
        return str(known[3])

    def save(self) -> None:
        """Write the cache if it has changed."""
        if self._changed:
            write_json(self._path, self._known)
            self._changed = False
