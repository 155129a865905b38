"""Stage `report`: everything small -> one self-contained page and its plots."""

from nola_core.datasets.opener import image_opener
from nola_core.durations import durations
from nola_core.inputs import Inputs
from nola_core.report.build import Run, build
from nola_core.stages.paths import Paths


def run(paths: Paths, inputs: Inputs) -> None:
    """Write report.html and figures/.

    The times of the stages are those recorded when the page is written; they are no input, so nothing runs again because of them.
    """
    texts = inputs.texts["report"]
    build(
        Run(
            dataset=paths.dataset,
            settings=texts["settings"],
            overrides=texts["overrides"],
            templates=texts["templates"],
            seconds=durations(paths.root),
            project=(paths.root / "dvc.yaml").is_file(),
        ),
        folder=paths.folder,
        image_of=image_opener(paths.root, paths.dataset),
        output=paths["report.html"],
        figures_folder=paths["figures"],
    )
    print(f"report: {paths['report.html']}")
