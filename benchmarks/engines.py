"""Compare the TFLite converter with litert-quantizer on the same trained models.

The models are those of the matrix. Both engines calibrate on the same 256 training examples. Accuracy and the largest
difference in probability from the float32 file are measured on the first 2,000 test examples. The choice of engine in
`compression/converter.py` follows this table.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.matrix import ROWS, trained
from zoo.console.errors import Failed, UsageError

# Model names of the matrix, with the form in which recurrent layers are exported.
MODELS = {"cnn": "auto", "lstm": "unrolled", "self_attention": "auto"}
ENGINES = ("TFLite converter", "litert-quantizer")
PRECISIONS = ("dynamic", "int8", "int16x8")
EXAMPLES = 2000
CALIBRATION = 256
SECONDS = 600


def measure(data_dir: Path) -> dict[str, Any]:
    """Return a row for each model, precision and engine."""
    rows = []
    for name, kernel in MODELS.items():
        with tempfile.TemporaryDirectory() as folder:
            rows += _rows(name, kernel, data_dir, Path(folder))
    return {"rows": rows}


def _rows(name: str, kernel: str, data_dir: Path, folder: Path) -> list[dict[str, Any]]:
    from compression.pipeline import source

    model, data = source.open_run(trained(name, ROWS[name][0], data_dir), {"data_dir": data_dir}).load()
    from compression.exporting import tflite
    from compression.receipts.subject import given
    from compression.recipes.language import parse
    from compression.runtime import litert
    from compression.tasks import classification
    from zoo.isolation import child

    interface = classification.interface_of(data.spec)
    test = data.test.take(np.arange(EXAMPLES))
    x, calibration = given(test, interface), given(classification.stratified(data.train, CALIBRATION, 0), interface)
    floats, file, examples = (folder / part for part in ("float32.tflite", "quantized.tflite", "calibration.npy"))
    np.save(examples, calibration)
    tflite.export(model, floats, parse("float32"), interface, kernel=kernel)
    expected = litert.run(floats, x)
    rows = []
    for precision in PRECISIONS:
        for engine in ENGINES:
            row = {"model": name, "precision": precision, "engine": engine}
            try:
                if engine == "TFLite converter":
                    tflite.export(model, file, parse(precision), interface, kernel=kernel, calibration=calibration)
                else:
                    job = {"floats": floats, "output": file, "precision": precision, "calibration": examples}
                    child.run("benchmarks.engines", job | {"input": interface.name}, seconds=SECONDS)
                found = litert.run(file, x)
                row |= {
                    "bytes": file.stat().st_size,
                    "accuracy": float((found.argmax(-1) == test.y).mean()),
                    "largest_difference": float(np.abs(found - expected).max()),
                }
            except (Failed, UsageError) as error:
                row["failed"] = str(error)[:200]
            rows.append(row)
            print(row, file=sys.stderr, flush=True)
    return rows


def work(job: dict[str, Any]) -> None:
    """Quantize a float32 file with litert-quantizer; runs in the child process."""
    from litert_quantizer import quantizer

    made = quantizer.Quantizer(job["floats"])
    if job["precision"] == "dynamic":
        made.add_dynamic_config(".*", "*", 8)
        made.quantize().export_model(job["output"], overwrite=True)
        return
    made.add_static_config(".*", "*", {"int8": 8, "int16x8": 16}[job["precision"]], 8)
    examples = [{job["input"]: example[None]} for example in np.load(job["calibration"])]
    ranges = made.calibrate({"serving_default": examples})
    made.quantize(ranges).export_model(job["output"], overwrite=True)


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    lines = [
        "| model | precision | engine | bytes | accuracy | largest difference |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in result["rows"]:
        start = f"| {row['model']} | {row['precision']} | {row['engine']} |"
        if "failed" in row:
            lines.append(f"{start} failed: {row['failed']} | | |")
        else:
            lines.append(f"{start} {row['bytes']:,} | {row['accuracy']:.2%} | {row['largest_difference']:.1e} |")
    return "\n".join(lines)
