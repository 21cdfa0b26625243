"""What the files take on devices: MLPerf Tiny's reference files beside ours of the same trained networks.

Arena is what TFLite Micro's interpreter takes on a 64-bit machine, cycles are those of Arm's compiler for an Ethos-U55
with 128 multiply-adds a cycle. None of it ran on a device. Our files are made with random inputs of the network's shape
for calibration, because arena, flash and cycles do not depend on the ranges.

The second table is of files of the trained networks with their own calibration. "int8 in patches" is
`int8(patches=auto, plan=true)`: the first layers are computed patch by patch if that takes less, and the arena is
planned. Answers are compared on the 10,000 test pictures of CIFAR-10, on the 1,000 inputs of keyword spotting, and on
1,250 photographs of flowers for visual wake words, which have no labels here.

Needs the extra `device`, and the networks and reference files of MLPerf Tiny in `models/mlperf_tiny` beside the folder
of prepared TFDS sets.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import mlperf_tiny
from benchmarks.commands import run_command, told
from zoo.system import temporary

TARGET = "ethos-u55-128"
# The trained network, its reference file, and the arena and cycles measured on the reference file with the tools alone.
NETWORKS = {
    "keyword spotting, DS-CNN": ("dscnn_kws", 24_272, 89_900),
    "image classification, ResNet-8": ("resnet8_cifar10", 55_984, 201_747),
    "visual wake words, MobileNetV1 0.25": ("mobilenet_vww96", 103_680, 220_870),
    "anomaly detection, autoencoder": ("autoencoder_toycar", 3_984, 201_184),
    "streaming wake word": ("streaming_wakeword", 16_640, 59_693),
}
CALIBRATION = 16
PLAIN, PATCHED = "int8(unfold=false)", "int8(patches=auto, plan=true)"
RECIPES = {PLAIN: "int8", PATCHED: "int8 in patches"}


def measure(data_dir: Path) -> dict[str, Any]:
    """Return what each file takes.

    Args:
        data_dir: Folder of prepared TFDS sets.
    """
    from compression.devices import profile, targets

    folder = data_dir.parent / "models" / "mlperf_tiny"
    rows = []
    with tempfile.TemporaryDirectory() as place:
        for title, (name, arena, cycles) in NETWORKS.items():
            reference = folder / f"{name}_int8_reference.tflite"
            files = {"reference": reference, "int8": _compressed(folder / f"{name}.keras", Path(place) / name)}
            for kind, file in files.items():
                found = profile.measure(file, TARGET)
                row = {"name": f"{title}: {kind}", "network": title, "file": kind, "bytes": file.stat().st_size}
                row |= {
                    key: found.get(key) for key in ("arena_bytes", "flash_bytes", "cycles", "sram_bytes", "npu_share")
                }
                rows.append(row | ({"known": [arena, cycles]} if kind == "reference" else {}))
    answers = [told(_answers(task, folder, data_dir)) for task in mlperf_tiny.TASKS.values() if not task.by_errors]
    return {"rows": rows, "answers": answers, "packages": targets.versions()}


def _answers(task: mlperf_tiny.Task, folder: Path, data_dir: Path) -> dict[str, Any]:
    """Return what a trained network answers in our files, with and without patches, and in the reference file."""
    from compression.devices import profile

    with temporary.folder() as work:
        run = mlperf_tiny.converted(task, folder, data_dir, work)
        made = {recipe: run_command("compression.compress", str(run), "--recipe", recipe) for recipe in RECIPES}
        pixels, labels = mlperf_tiny.examples(run)
        files = {"reference": folder / task.reference}
        files |= {name: Path(made[recipe]["path"]) for recipe, name in RECIPES.items()}
        outputs = {n: mlperf_tiny.outputs_of(file, pixels, task, n != "reference") for n, file in files.items()}
        found = {name: values.argmax(-1) for name, values in outputs.items()}
        rows = {}
        for name, file in files.items():
            measured = profile.measure(file, TARGET)
            rows[name] = {
                "bytes": file.stat().st_size,
                "arena_bytes": measured["arena_bytes"],
                "cycles": measured["cycles"],
                "accuracy": None if labels is None else float((found[name] == labels).mean()),
                "as_reference": float((found[name] == found["reference"]).mean()),
                "as_int8": float((found[name] == found["int8"]).mean()),
            }
        memory = json.loads(files["int8 in patches"].with_suffix(".receipt.json").read_text())["made"]["memory"]
        return {"task": task.name, "examples": len(pixels), "memory": memory, "files": rows}


def _compressed(model: Path, output: Path) -> Path:
    """Return our int8 file of a network; its outputs do not matter here."""
    import keras

    from compression import api

    shape = keras.saving.load_model(model).input_shape[1:]
    x = np.random.default_rng(0).random((CALIBRATION, *shape), np.float32)
    return api.compress(model, PLAIN, data={"train": x, "test": x}, output=output).path


def table(result: dict[str, Any]) -> list[str]:
    """Return the lines of the table."""
    titles = ("network", "file", "bytes", "arena", "cycles", "flash of the compiled file", "SRAM")
    lines = [f"| {' | '.join(titles)} |", "| --- | --- |" + " ---: |" * (len(titles) - 2)]
    for row in result["rows"]:
        figures = [row[key] for key in ("bytes", "arena_bytes", "cycles", "flash_bytes", "sram_bytes")]
        cells = ["" if value is None else f"{value:,}" for value in figures]
        lines.append(f"| {row['network']} | {row['file']} | {' | '.join(cells)} |")
    answers = result.get("answers")  # none in a report of before patches
    return [*lines, "", *_answers_table(answers)] if answers else lines


def _answers_table(answers: list[dict[str, Any]]) -> list[str]:
    """Return the lines of the table of answers; shares in brackets are of the reference file."""
    titles = ("task", "file", "patches", "arena", "cycles", "accuracy", "answers of the reference", "answers of int8")
    lines = [f"| {' | '.join(titles)} |", "| --- | --- |" + " ---: |" * (len(titles) - 2)]
    for row in answers:
        first = row["files"]["reference"]
        for name, file in row["files"].items():
            patches = row["memory"]["patches"] if name == "int8 in patches" else ""
            shares = [f"{file[key]:,} ({file[key] / first[key]:.0%})" for key in ("arena_bytes", "cycles")]
            accuracy = "no labels" if file["accuracy"] is None else f"{file['accuracy']:.2%}"
            same = [f"{file[key]:.2%} of {row['examples']:,}" for key in ("as_reference", "as_int8")]
            lines.append(f"| {row['task']} | {name} | {patches} | {' | '.join([*shares, accuracy, *same])} |")
    return lines


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    packages = ", ".join(f"{name} {version}" for name, version in result["packages"].items())
    off = [
        row["name"]
        for row in result["rows"]
        if "known" in row and (row["arena_bytes"] != row["known"][0] or abs(row["cycles"] / row["known"][1] - 1) > 0.01)
    ]
    told = (
        f"Not as measured with the tools alone: {', '.join(off)}."
        if off
        else ("Arena and cycles of the reference files are those that the tools give on their own.")
    )
    return "\n".join([*table(result), "", f"{told} Measured with {packages}."])
