"""Where things lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nola_core.device import cache_root


@dataclass(frozen=True)
class Paths:
    """The files of one data set in one project; docs/formats.md says what each holds."""

    root: Path
    dataset: str

    @property
    def folder(self) -> Path:
        """`data/<dataset>`."""
        return self.root / "data" / self.dataset

    def __getitem__(self, name: str) -> Path:
        """A file of the data set: `paths["manifest.parquet"]`."""
        return self.folder / name

    def store(self, role: str, split: str) -> Path:
        """A feature store's folder."""
        return self.folder / "features" / role / split

    def splits(self, role: str) -> list[str]:
        """The splits a role has stores of, in order; hidden folders are scratch."""
        entries = (self.folder / "features" / role).iterdir()
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))

    @property
    def cache(self) -> Path:
        """The cache that is no output; see `device.cache_root`."""
        return self.root / cache_root()
