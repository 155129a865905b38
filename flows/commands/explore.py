"""`nola explore`: a data set's images and what was predicted for them, in the browser."""

from __future__ import annotations

import os
import sys
import threading
from typing import Annotated

import typer

from flows.commands.options import Quiet
from flows.commands.output import notice
from flows.commands.place import find_place
from flows.commands.project import complete_dataset


def explore(
    dataset: Annotated[
        str,
        typer.Argument(
            metavar="DATASET|FOLDER",
            help="A data set that has been run, its model's folder, or the folder that `nola adapt` has written.",
            autocompletion=complete_dataset,
        ),
    ],
    images: Annotated[
        int, typer.Option("--images", metavar="N", min=1, help="Show at most this many images, drawn at random.")
    ] = 20_000,
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65_535, help="The port; 0 takes a free one.")] = 0,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address of the page.")] = False,
    quiet: Quiet = False,
) -> None:
    """Look at the images in the browser: a map, filters, and why each image got its class.

    Similar images lie close together on the map. Filters choose by class, confidence, disagreement between methods, near
    duplicates and images that fit no name. A click shows what every method predicts, similar images, and the descriptions that
    speak for and against. What is wrong can be corrected there; corrections count in the next run. The page is for this machine
    alone and needs no network; it reads no labels. Ctrl-C ends it.
    """
    place = find_place(dataset)
    root, name = place.root, place.dataset
    notice(f"reading the results of {name}", quiet=quiet)

    from nola_core.datasets.opener import image_opener
    from nola_core.explore.collection import read
    from nola_core.explore.page import Page
    from nola_core.local_server import served
    from nola_core.stages.paths import Paths

    shown = read(root, name, images=images)
    page = Page(shown, image_opener(root, name), Paths(root, name).cache / "maps", root=root, command=place.again)
    some = "" if len(shown.ids) == shown.whole else f" of {shown.whole:,}, drawn at random; --images shows more"
    notice(f"{len(shown.ids):,} images{some}", quiet=quiet)
    with served(page.answer, port, told=page.told) as address:
        try:
            print(address, flush=True)
            notice("open this page on this machine; Ctrl-C ends it", quiet=quiet)
            if not no_browser and _has_screen():
                import webbrowser

                webbrowser.open(address)
            threading.Thread(target=page.draw_map, daemon=True).start()
            notice("placing similar images side by side on the map; the page works meanwhile", quiet=quiet)
            page.mapped.wait()
            notice(page.problem or "the map is ready", quiet=quiet)
            threading.Event().wait()
        except KeyboardInterrupt:  # from the moment the address is known
            notice("", quiet=quiet)


def _has_screen() -> bool:
    """Whether a browser can open a window; a text browser would take the terminal."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
