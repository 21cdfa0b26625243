"""What the files take on devices: MLPerf Tiny's reference files beside ours of the same trained networks.

Arena is what TFLite Micro's interpreter takes on a 64-bit machine, cycles are those of Arm's compiler for an Ethos-U55
with 128 multiply-adds a cycle. None of it ran on a device. Our files are made with random inputs of the network's shape
for calibration, because arena, flash and cycles do not depend on the ranges.

Needs the extra `device`, and the networks and reference files of MLPerf Tiny in `models/mlperf_tiny` beside the folder
of prepared TFDS sets.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

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
    return {"rows": rows, "packages": targets.versions()}


def _compressed(model: Path, output: Path) -> Path:
    """Return our int8 file of a network; its outputs do not matter here."""
    import keras

    from compression import api

    shape = keras.saving.load_model(model).input_shape[1:]
    x = np.random.default_rng(0).random((CALIBRATION, *shape), np.float32)
    return api.compress(model, "int8(unfold=false)", data={"train": x, "test": x}, output=output).path


def table(result: dict[str, Any]) -> list[str]:
    """Return the lines of the table."""
    titles = ("network", "file", "bytes", "arena", "cycles", "flash of the compiled file", "SRAM")
    lines = [f"| {' | '.join(titles)} |", "| --- | --- |" + " ---: |" * (len(titles) - 2)]
    for row in result["rows"]:
        figures = [row[key] for key in ("bytes", "arena_bytes", "cycles", "flash_bytes", "sram_bytes")]
        cells = ["" if value is None else f"{value:,}" for value in figures]
        lines.append(f"| {row['network']} | {row['file']} | {' | '.join(cells)} |")
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
