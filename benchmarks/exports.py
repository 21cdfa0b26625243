"""Export time by precision: from a trained model in memory to the .tflite file on disk, without evaluation.

The models are the runs of the matrix (runs/matrix). The time of int8 includes calibration. All cases alternate in one
process, and the first round, which loads the converter, is not counted.
"""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.commands import told
from benchmarks.matrix import ROWS, trained

MODELS = ("cnn", "lstm")
PRECISIONS = ("float32", "float16", "dynamic", "int8", "int4")
ROUNDS = 3
FEW = 64  # test examples, because the evaluation is not timed


def measure(data_dir: Path) -> dict[str, Any]:
    """Return the seconds and bytes of the export of each model and precision.

    Args:
        data_dir: Folder of prepared TFDS sets.
    """
    from compression.pipeline import source

    runs = {name: trained(name, ROWS[name][0], data_dir) for name in MODELS}
    opened = {name: source.open_run(run, {"data_dir": data_dir}).load() for name, run in runs.items()}
    rows = {
        (name, precision): {"name": f"{name}, {precision}", "unit": "s", "better": "lower", "rounds": []}
        for name in MODELS
        for precision in PRECISIONS
    }
    for number in range(1 + ROUNDS):
        for (name, precision), row in rows.items():
            seconds, row["bytes"] = _exported(*opened[name], precision)
            if number:
                row["rounds"].append(seconds)
    return {"measured": [told(row) for row in rows.values()]}


def _exported(model: Any, data: Any, precision: str) -> tuple[float, int]:
    """Return the seconds between the messages that start the export and the evaluation, and the bytes of the file."""
    import dataclasses

    from compression.pipeline import pipeline
    from compression.recipes.options import Reporting

    times = {}
    few = dataclasses.replace(data, test=data.test.take(slice(FEW)))
    with tempfile.TemporaryDirectory() as folder:
        made = pipeline.compress(
            model,
            few,
            precision,
            Path(folder),
            progress=Reporting(lambda text: times.setdefault(text.split()[0], time.perf_counter())),
        )
        return times["measuring"] - times["exporting"], made.path.stat().st_size


def table(result: dict[str, Any]) -> list[str]:
    """Return the lines of the table."""
    seconds = {row["name"]: statistics.median(row["rounds"]) for row in result["measured"]}
    lines = [f"| export time in seconds | {' | '.join(PRECISIONS)} |", "| --- |" + " --- |" * len(PRECISIONS)]
    for model in MODELS:
        cells = [f"{seconds[f'{model}, {precision}']:.1f}" for precision in PRECISIONS]
        lines.append(f"| {model} | {' | '.join(cells)} |")
    return lines


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    return "\n".join(table(result))
