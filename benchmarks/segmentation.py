"""Masks in int8: U-Net and LR-ASPP on blood cells and on generated shapes, by this project and by the stock converter.

The cells are those of BCCD, whose boxes are drawn as ellipses, white cells over platelets over red cells: the true
outlines are not known. The shapes are the embedded set. Every seed is a training of its own; all scores are of the test
split, of the files by LiteRT. The stock converter gets the float model and 256 training pictures. Runs are kept in
runs/segmentation, so that a measurement that was stopped goes on.
"""

import io
import statistics
import tarfile
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.commands import exported, told, trained

RUNS = Path("runs") / "segmentation"
SEEDS = (0, 1, 2)
RECIPES = ("float32", "int8", "qat + int8")
STOCK = "stock int8"
KEPT = ("test", "epochs", "parameters", "split_examples", "examples_per_second")
SIZE = (80, 60)
CELLS = ("background", "RBC", "WBC", "Platelets")
DRAWN = ("RBC", "Platelets", "WBC")  # later ones over earlier ones
COMMON = ("--augment", "standard", "--learning-rate", "5e-3")
CASES = {
    "unet on cells": (
        *("--model", "unet", "--set", "filters=8", "--set", "depth=3", "--epochs", "16", "--batch-size", "8"), *COMMON,
    ),
    "lraspp on cells": (
        *("--model", "lraspp", "--set", "backbone=mobilenet_v2", "--set", "alpha=0.35", "--set", "filters=64"),
        *("--epochs", "24", "--batch-size", "8"), *COMMON,
    ),
    "unet on shapes": (
        *("--model", "unet", "--set", "filters=8", "--set", "depth=3", "--dataset", "shapes", "--epochs", "16"),
        *("--batch-size", "16"), *COMMON,
    ),
}  # fmt: skip


def measure(data_dir: Path, quick: bool = False) -> dict[str, Any]:
    """Train, compress and measure every case.

    Args:
        data_dir: Folder of prepared TFDS sets; the archive of BCCD is ../raw/bccd.tar.gz.
        quick: Whether to use one seed, and the generated shapes alone.
    """
    archive, cells = data_dir.parent / "raw" / "bccd.tar.gz", RUNS / "cells"
    cases = dict(CASES)
    if quick or not archive.is_file():
        cases = {name: words for name, words in cases.items() if "shapes" in words}
    else:
        draw_cells(archive, cells)
    rows = []
    for name, words in cases.items():
        data = () if "--dataset" in words else ("--data", str(cells))
        for seed in SEEDS[: 1 if quick else None]:
            folder = RUNS / f"{name.replace(' ', '-')}-{seed}"
            run = trained(folder, [*words, *data, "--seed", str(seed)], data_dir, KEPT)
            files = [_file(exported(folder, recipe, ("bytes", "test", "latency", "parity"))) for recipe in RECIPES]
            rows.append(run | {"case": name, "seed": seed, "files": [*files, _stock(folder)]})
    return {"rows": rows}


def draw_cells(archive: Path, folder: Path) -> None:
    """Write the pictures of BCCD with masks of ellipses, unless they are there: `images` and `masks` by split."""
    from PIL import Image, ImageDraw

    if (folder / "classes.txt").is_file():
        return
    with tarfile.open(archive) as tar:
        found = {member.name.partition("BCCD/")[2]: tar.extractfile(member).read() for member in tar if member.isfile()}
    for split in ("train", "val", "test"):
        for kind in ("images", "masks"):
            (folder / kind / split).mkdir(parents=True, exist_ok=True)
        for name in found[f"ImageSets/Main/{split}.txt"].decode().split():
            picture = Image.open(io.BytesIO(found[f"JPEGImages/{name}.jpg"]))
            mask = Image.new("L", picture.size)
            objects = [
                (
                    each.findtext("name"),
                    [int(each.findtext(f"bndbox/{end}")) for end in ("xmin", "ymin", "xmax", "ymax")],
                )
                for each in ET.fromstring(found[f"Annotations/{name}.xml"]).iter("object")
            ]
            for kind in DRAWN:
                for box in (box for what, box in objects if what == kind):
                    ImageDraw.Draw(mask).ellipse(box, fill=CELLS.index(kind))
            picture.resize(SIZE, Image.Resampling.BILINEAR).save(folder / "images" / split / f"{name}.png")
            mask.resize(SIZE, Image.Resampling.NEAREST).save(folder / "masks" / split / f"{name}.png")
    (folder / "classes.txt").write_text("\n".join(CELLS) + "\n", encoding="utf-8")


def _file(row: dict[str, Any]) -> dict[str, Any]:
    """Return what the report needs of a receipt."""
    return {
        "recipe": row["recipe"],
        "bytes": row["bytes"],
        "miou": row["test"]["litert"]["miou"],
        "boundary_f1": row["test"]["litert"]["boundary_f1"],
        "ms": next(found["median_ms"] for found in row["latency"] if found["threads"] == 1),
        "same_answer": row["parity"]["same_answer"],
    }


def _stock(folder: Path) -> dict[str, Any]:
    """Return what the report needs of the file that the stock converter makes of a run."""
    import tensorflow as tf

    from compression.receipts.subject import given
    from compression.runtime import litert
    from compression.tasks.base import Export
    from compression.tasks.segmentation import Segmentation
    from zoo.runs.folder import RunFolder
    from zoo.runs.inference import load_like

    run, file = RunFolder(folder), folder / "stock.tflite"
    model, data = run.load_model(), load_like(run, run.read_config()["config"])
    form = Segmentation.build(Export(model, model, data))
    examples = form.calibration(256, 0)
    if not file.is_file():
        signature = [tf.TensorSpec((1, *data.spec.input_shape), tf.float32)]
        saved = folder / "stock_saved"
        model.export(saved, format="tf_saved_model", input_signature=signature, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(str(saved))
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([example[None]] for example in examples)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
        file.write_bytes(converter.convert())
    subject = form.subject(model, model)
    found, expected = subject.outputs(file)[0], subject.reference()[0]
    latency = litert.latency(file, np.asarray(given(data.test, form.interface)[:1]))
    graded = subject.graded([found])
    return told(
        {
            "recipe": STOCK,
            "bytes": file.stat().st_size,
            "miou": graded["miou"],
            "boundary_f1": graded["boundary_f1"],
            "ms": next(row["median_ms"] for row in latency if row["threads"] == 1),
            "same_answer": float((found.argmax(-1) == expected.argmax(-1)).mean()),
        }
    )


def table(result: dict[str, Any]) -> list[str]:
    """Return a row for each case and file."""
    lines = [
        "| model and data | file | mIoU, mean | difference from float32, points: mean, each seed | border F1 |"
        " same class as Keras | bytes | ms, 1 thread |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for case in dict.fromkeys(row["case"] for row in result["rows"]):
        rows = [row for row in result["rows"] if row["case"] == case]
        for number, first in enumerate(rows[0]["files"]):
            files = [row["files"][number] for row in rows]
            points = [100 * (file["miou"] - row["files"][0]["miou"]) for file, row in zip(files, rows, strict=True)]
            lines.append(
                f"| {case} | {first['recipe']} | {_mean(files, 'miou'):.2%} |"
                f" {statistics.mean(points):+.2f} ({', '.join(f'{each:+.2f}' for each in points)}) |"
                f" {_mean(files, 'boundary_f1'):.2%} | {_mean(files, 'same_answer'):.2%} |"
                f" {round(_mean(files, 'bytes')):,} | {_mean(files, 'ms'):.2f} |"
            )
    return lines


def render(result: dict[str, Any]) -> str:
    """Return the table, followed by the commands of the first seed."""
    commands = [f"- `{row['command']}`" for row in result["rows"] if row["seed"] == 0]
    return "\n".join([*table(result), "", *commands])


def _mean(rows: Sequence[dict[str, Any]], name: str) -> float:
    return statistics.mean(row[name] for row in rows)
