"""What the site is made of: pages from several folders, at the places they have in the repository, and the files they link to.

So a link works on the site as it does in the repository. MkDocs calls `on_files`.
"""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "demo/README.md", "docs/*.md", "benchmarks/results/*.md")
LINK = re.compile(r"\]\(([^)\s#]+)")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """The theme's own files, and those of this repository instead of what lies in `docs_dir`."""
    for file in list(files):
        if file.src_dir == config.docs_dir:
            files.remove(file)
    for path in _paths():
        name = path.relative_to(ROOT).as_posix()
        files.append(File(name, str(ROOT), config.site_dir, config.use_directory_urls))
    return files


def _paths() -> list[Path]:
    pages = {path for pattern in PAGES for path in ROOT.glob(pattern)}
    linked = {
        (page.parent / target).resolve() for page in pages for target in LINK.findall(page.read_text()) if "://" not in target
    }
    return sorted(
        pages | {path for path in linked if path.is_file() and path.is_relative_to(ROOT)} | {ROOT / "docs/site/wide.css"}
    )
