"""Stage `report`: everything small -> one self-contained page and its pictures."""

from nola_core import report
from nola_core.config import load
from nola_core.datasets import image_opener, load_definition
from nola_core.stages.paths import Paths


def run(paths: Paths) -> None:
    """Write report.html and figures/."""
    settings = load(paths.root)
    shown = settings.model_dump(mode="json")
    definition = load_definition(paths.root, paths.dataset)
    shown["embed"]["backbones"] = definition.backbones or shown["embed"]["backbones"]
    shown["datasets"] = {paths.dataset: {"source": definition.source, "descriptions": definition.descriptions}}
    report.build(
        dataset=paths.dataset,
        folder=paths.folder,
        settings_dict=shown,
        overrides=settings.overrides(),
        image_of=image_opener(paths.root, paths.dataset),
        output=paths["report.html"],
        figures_folder=paths["figures"],
    )
    print(f"report: {paths['report.html']}")
