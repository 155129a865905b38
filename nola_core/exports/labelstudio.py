"""Label Studio: tasks with predictions to correct, and the labelling interface.

Format: Label Studio's JSON of tasks with `predictions`, and its XML of a project with one `Choices` tag.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from shlex import quote as shell
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from nola_core.exports.pictures import COLUMNS, Pictures
from nola_core.exports.predicted import Predicted
from nola_core.progress import progress

README = """# Predictions of {dataset} for Label Studio

1. Let Label Studio serve this folder:
   `LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={place} label-studio start`
2. Make a project. Settings, Labeling Interface, Code: paste `interface.xml`.
3. Settings, Cloud Storage, Add Source Storage, Local Files, path `{out}/images`; add it without syncing.
4. Import `tasks.json`. Order the tasks by prediction score: the least confident ones are worth correcting first.

The predictions are by the method {method}. They are no labels: nobody has checked them.
"""


def write(predicted: Predicted, out: Path, *, link: bool = False) -> int:
    """Write `tasks.json`, `interface.xml`, `images/` and a README.

    Args:
        out: a folder that does not exist yet.
        link: link to the images instead of copying them.

    Returns:
        The number of tasks.
    """
    pictures = Pictures(predicted.root, predicted.dataset)
    out.mkdir()
    (out / "interface.xml").write_text(interface(predicted.names), encoding="utf-8")
    model = f"nola {version('nola')}, {predicted.method}"
    written = 0
    with (
        (out / "tasks.json").open("w", encoding="utf-8") as stream,
        progress(total=predicted.count(), what="export", unit="images") as advance,
    ):
        for split in predicted.splits():
            for row in predicted.rows(split, COLUMNS):
                file = pictures.put(row.image, row.number, out / "images" / split, link=link)
                result = {
                    "from_name": "class",
                    "to_name": "image",
                    "type": "choices",
                    "value": {"choices": [predicted.names[row.classes[0]]]},
                }
                task = {
                    "data": {
                        "image": f"/data/local-files/?d={quote(f'images/{split}/{file}')}",
                        "image_id": row.image.image_id,
                        "split": split,
                    },
                    "predictions": [{"model_version": model, "score": float(row.probabilities[0]), "result": [result]}],
                }
                stream.write((",\n" if written else "[\n") + json.dumps(task, ensure_ascii=False))
                written += 1
                advance()
        stream.write("\n]\n")
    return written


def interface(names: list[str]) -> str:
    """The labelling interface: one choice of the classes for every image."""
    choices = "\n".join(f"    <Choice value={quoteattr(name)}/>" for name in names)
    return (
        f'<View>\n  <Image name="image" value="$image"/>\n  <Choices name="class" toName="image" choice="single">\n{choices}\n'
        "  </Choices>\n</View>\n"
    )


def readme(predicted: Predicted, out: Path) -> str:
    """What to do with the folder at its final place."""
    return README.format(dataset=predicted.dataset, method=predicted.method, out=out, place=shell(str(out)))
