"""Detection that survives int8: blood cells (BCCD, 364 pictures of 640x480, its own split) on EfficientNet-Lite0.

The encoder begins with ImageNet weights. Files are scored on the test split with COCO's average precision, decoded by
the same code as the Keras model. `stock int8` is what the TFLite converter makes of the same Keras model with the same
number of calibration pictures. `stock int8, one output` is that of the model with boxes and scores in one tensor, as
many exports of detectors have it: eight bits are shared by coordinates in pixels and probabilities.
"""

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.commands import exported, told, trained

RUNS = Path("runs") / "detection"
KEPT = ("test", "per_class", "epochs", "parameters", "split_examples", "examples_per_second")
RECEIPT = ("bytes", "gzip_bytes", "test", "parity", "latency")
TRAINING = (
    *("--model", "detector", "--skip-bad", "--pretrained", "imagenet", "--image-size", "320", "--epochs", "60"),
    *("--keep", "last"),
)
RECIPES = ("float32", "int8", "int8(skip=head_*)", "qat(epochs=4) + int8")
CALIBRATION = 200


def measure(data_dir: Path, quick: bool = False) -> dict[str, Any]:
    """Train, compress by each recipe, and convert by the stock converter.

    Args:
        data_dir: Folder of prepared TFDS sets; the archive of BCCD is ../raw/bccd.tar.gz.
        quick: Whether to train for one epoch, and to compress by int8 alone.
    """
    data = _unpacked(data_dir.parent / "raw" / "bccd.tar.gz")
    words = [*TRAINING, "--data", str(data)]
    folder = RUNS / ("quick" if quick else "detector")
    if quick:
        words[words.index("--epochs") + 1] = "1"
    run = trained(folder, words, data_dir, KEPT)
    files = [exported(folder, recipe, RECEIPT) for recipe in (("int8",) if quick else RECIPES)]
    return told({"run": run, "files": files, "stock": _stock(folder)})


def _unpacked(archive: Path) -> Path:
    folder = RUNS / "bccd"
    if not folder.is_dir():
        with tarfile.open(archive) as tar:
            tar.extractall(RUNS, filter="data")
    return folder


def _stock(folder: Path) -> list[dict[str, Any]]:
    """Return the scores of the stock converter's int8 files; they are kept beside the run."""
    kept = folder / "stock.json"
    if not kept.is_file():
        kept.write_text(json.dumps([_converted(folder, joined) for joined in (False, True)]), encoding="utf-8")
    return json.loads(kept.read_text(encoding="utf-8"))


def _converted(folder: Path, joined: bool) -> dict[str, Any]:
    """Return the bytes and the scores of what the TFLite converter makes of the model of a run."""
    import keras
    import tensorflow as tf

    from zoo.data.images import scaled
    from zoo.runs.folder import RunFolder
    from zoo.runs.inference import load_like
    from zoo.scores import detections
    from zoo.system import temporary
    from zoo.tasks.detection import priors_of, size_of

    run = RunFolder(folder)
    model, config = run.load_model(), run.read_config()["config"]
    data = load_like(run, config)
    priors, size = priors_of(model, data.spec), size_of(data.spec)

    def outputs(x: Any) -> dict[str, Any]:
        found = model(x, training=False)
        if not joined:
            return found
        boxes, scores = priors.decoded(found["boxes"]), keras.ops.sigmoid(found["scores"])
        return {"both": keras.ops.concatenate([boxes, scores], axis=-1)}

    few = scaled(data.train.take(np.random.default_rng(0).permutation(len(data.train))[:CALIBRATION]).x)
    with temporary.folder() as place:
        archive = keras.export.ExportArchive()
        archive.track(model)
        archive.add_endpoint("serve", outputs, [tf.TensorSpec((1, *data.spec.input_shape), "float32", "image")])
        archive.write_out(str(place / "saved"), verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(str(place / "saved"))
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.lite.OpsSet.TFLITE_BUILTINS]
        converter.representative_dataset = lambda: ({"image": x[None]} for x in few)
        content = converter.convert()
    from ai_edge_litert.interpreter import Interpreter

    serve = Interpreter(model_content=content, num_threads=2).get_signature_runner()
    rows = [serve(image=x[None]) for x in scaled(data.test.x)]
    if joined:
        both = np.concatenate([row["both"] for row in rows])
        found = [_found(one, data.spec.num_classes) for one in both]
    else:
        raw, logits = (np.concatenate([row[name] for row in rows]) for name in ("boxes", "scores"))
        found = detections.detected(raw, logits, priors, size)
    scores, _ = detections.evaluated(found, np.asarray(data.test.y), data.spec.class_names)
    name = "stock int8, one output" if joined else "stock int8"
    return {"recipe": name, "bytes": len(content), "test": scores}


def _found(one: np.ndarray, classes: int) -> Any:
    """Return detections of decoded boxes and probabilities, (places, 4 + classes)."""
    from zoo.scores import detections

    place, kind = np.nonzero(one[:, 4:] >= detections.LEAST_SCORE)
    scores = one[place, 4 + kind]
    order = np.argsort(-scores, kind="stable")[: detections.CANDIDATES]
    boxes, kind, scores = one[place[order], :4], kind[order], scores[order]
    kept = detections.suppressed(boxes, kind, detections.OVERLAP)[: detections.MOST]
    return detections.Found(boxes[kept], kind[kept].astype(np.int32), scores[kept])


def table(result: dict[str, Any]) -> list[str]:
    """Return a row for each file."""
    test = result["run"]["test"]
    lines = [
        "| file | bytes | mAP@.5 | points from Keras | mAP | points from Keras | latency, one thread |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in result["files"]:
        file = row["test"]["litert"]
        lines.append(
            f"| `{row['recipe']}` | {row['bytes']:,} | {file['map_50']:.2%} |"
            f" {100 * (file['map_50'] - test['map_50']):+.2f} | {file['map']:.2%} |"
            f" {100 * (file['map'] - test['map']):+.2f} | {row['latency'][0]['median_ms']:.1f} ms |"
        )
    for row in result["stock"]:
        file = row["test"]
        lines.append(
            f"| {row['recipe']} | {row['bytes']:,} | {file['map_50']:.2%} |"
            f" {100 * (file['map_50'] - test['map_50']):+.2f} |"
            f" {file['map']:.2%} | {100 * (file['map'] - test['map']):+.2f} | |"
        )
    return lines


def render(result: dict[str, Any]) -> str:
    """Return the table, after what was trained and what it reached."""
    run = result["run"]
    classes = ", ".join(f"{row['class']} {row['map_50']:.2%}" for row in run["per_class"])
    note = (
        f"`{run['command']}`: {run['parameters']:,} parameters, {run['seconds'] / 60:.0f} minutes, test mAP@.5"
        f" **{run['test']['map_50']:.2%}**, mAP {run['test']['map']:.2%} ({classes})."
    )
    return "\n".join([note, "", *table(result)])
