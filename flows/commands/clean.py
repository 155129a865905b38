"""`nola clean`: delete what can be computed again."""

from __future__ import annotations

from flows.commands.options import Quiet
from flows.commands.output import notice
from flows.project import require_project


def clean(quiet: Quiet = False) -> None:
    """Delete the results and caches of all collections: what the pipeline can compute again.

    Answers of a language model, which were paid for, stay, and so does every file that no stage has made.
    """
    root = require_project()
    from flows import cleaning

    for sentence in cleaning.clean(root):
        notice(sentence, quiet=quiet)
