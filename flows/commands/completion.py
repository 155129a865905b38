"""`nola completion`: the script with which a shell completes commands, options and names."""

from __future__ import annotations

from typing import Annotated, Literal

import typer


def completion(
    context: typer.Context,
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(metavar="SHELL", help="bash, zsh or fish.")],
) -> None:
    """Print the script that makes a shell complete commands, options and the names of data sets, methods and pairs.

    For one session: eval "$(nola completion bash)". `nola --install-completion` installs it for good.
    """
    from typer.completion import shell_complete

    status = shell_complete(context.find_root().command, {}, "nola", "_NOLA_COMPLETE", f"source_{shell}")
    raise typer.Exit(status)
