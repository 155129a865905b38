"""Stage `evaluate`: predictions held against the truth, where there is any: labels, and what people answered in an audit.

With `report`, the only stage that reads labels.
"""

from nola_core import evaluation
from nola_core.config import Evaluate
from nola_core.corrections import sentence
from nola_core.features import FeatureStore
from nola_core.files import read_json, read_table
from nola_core.inputs import Inputs
from nola_core.methods.method import InForce
from nola_core.prediction import Predictions
from nola_core.stages.paths import Paths
from nola_core.trust import answers


def run(paths: Paths, inputs: Inputs) -> None:
    """Write metrics.json, the per-class table and the tables of the plots."""
    options = inputs.options(Evaluate)
    in_force = InForce.of(inputs.values["in_force"])
    manifest = read_table(paths["manifest.parquet"], ["image_id", "split", "sha256", "ok"])
    classes = read_table(paths["classes.parquet"])
    predictions = Predictions.open(paths["predictions.parquet"])
    audit = None
    if "audit" in inputs.values:
        merges = inputs.values.get("corrections", {}).get("merges", {})
        audit = answers.measured(paths[answers.FOLDER], manifest, classes, predictions, in_force, merges=merges)
    labels, taught = read_table(paths["labels.parquet"]), inputs.given(classes["name"].tolist())
    result = evaluation.evaluate(
        dataset=paths.dataset,
        in_force=in_force,
        manifest=manifest,
        classes=classes,
        labels=labels[~labels["image_id"].isin(list(taught))] if taught else labels,  # the methods were told what these are
        predictions=predictions,
        pseudo_labels=read_table(paths["pseudo_labels.parquet"], ["image_id", "class_id", "selected"]),
        label_free=read_json(paths["label_free.json"]),
        ssl_features=lambda split: FeatureStore.open(paths.store("ssl", split)),
        bins=options.calibration_bins,
        neighbors=options.neighbors,
        audit=audit,
    )
    names, groups = read_table(paths["class_proportions.parquet"]), read_table(paths["unknown_groups.parquet"], ["images"])
    result.metrics["names"] = {"absent": names.loc[names["absent"], "class"].tolist()}
    result.metrics["unknown"] = {"groups": len(groups), "images": int(groups["images"].sum())}
    if inputs.corrections is not None:
        given = predictions.given(result.metrics["split"])
        result.metrics["corrections"] = {
            **inputs.corrections,
            "taught": len(taught),
            "reported": len(given),
            "left_out": len(given.keys() & taught.keys()),
        }
        print(sentence(inputs.corrections))
    result.write(paths.folder)
    scores = ", ".join(f"{method} {values['top1']:.1%}" for method, values in result.metrics["methods"].items())
    if audit is not None:
        shown = f"{audit['accuracy']:.1%}, 95 % interval {audit['low']:.1%} to {audit['high']:.1%}"
        print(f"audit: accuracy {shown}, {audit['labels']} labels")
    print(f"top-1 on {result.metrics['split']}: {scores}" if scores else "no ground truth: label-free scores alone")
