"""Stage `report`: everything small -> one self-contained page and its pictures."""

from nola_core.datasets.opener import image_opener
from nola_core.inputs import Inputs
from nola_core.report.build import build
from nola_core.stages.paths import Paths


def run(paths: Paths, inputs: Inputs) -> None:
    """Write report.html and figures/."""
    build(
        dataset=paths.dataset,
        folder=paths.folder,
        settings_dict=inputs.texts["report"]["settings"],
        overrides=inputs.texts["report"]["overrides"],
        image_of=image_opener(paths.root, paths.dataset),
        output=paths["report.html"],
        figures_folder=paths["figures"],
    )
    print(f"report: {paths['report.html']}")
