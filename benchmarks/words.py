"""Every model x every training word, and all of them together: each cell measured on the exported int8 file.

Models are trained on the embedded digits for ten epochs, then go through one recipe each; the passes take their default
share of these epochs. A distilled model's teacher is itself. Points of test accuracy (360 images, so 0.28 points each)
are against the same model before the recipe, in Keras and float32; KB are of the file zipped. The last column does the
same on two replicas. Runs are kept under runs/words.
"""

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

from zoo.errors import Failed, UsageError

RUNS = Path("runs") / "words"
ROWS: dict[str, tuple[str, ...]] = {
    **{name: ("--model", name) for name in ("simplenet", "cnn", "cnn_128", "cnn_12", "lenet5", "lenet300")},
    "cnn, batch_norm": ("--model", "cnn", "--set", "batch_norm=true"),
    "lstm": ("--model", "lstm", "--set", "units=32,32"),
    "lstm, gru": ("--model", "lstm", "--set", "units=32,32", "--set", "cell=gru"),
    "lstm, simple": ("--model", "lstm", "--set", "units=32,32", "--set", "cell=simple"),
    "self_attention": ("--model", "self_attention"),
}
EPOCHS = 10
_ALL = "channels(0.3) + prune(0.5) + cluster(16) + qat + int8 + distill({run})"
# Name of a column: its recipe.
COLUMNS: dict[str, str] = {
    "int8": "int8",
    "channels 0.5": "channels(0.5) + int8",
    "prune 0.8": "prune(0.8) + int8",
    "cluster 16": "cluster(16) + int8",
    "qat": "qat + int8",
    "distill": "distill({run}) + int8",
    "all": _ALL,
    "all, mirrored": _ALL,
}


def measure(data_dir: Path) -> dict[str, Any]:
    """Return a cell for each model and recipe."""
    import strategies
    from strategies import backend

    backend.start()
    strategies.build("mirrored", 2)  # before anything else uses TensorFlow
    cells = []
    for row, words in ROWS.items():
        run = _trained(row, words)
        for column in COLUMNS:
            cells.append({"row": row, "column": column, **_cell(run, column)})
            print(cells[-1], file=sys.stderr, flush=True)
    return {"cells": cells}


def _trained(row: str, words: tuple[str, ...]) -> Path:
    """Train the model of a row, if it is not there yet, and return its run folder."""
    run = RUNS / row.replace(", ", "-")
    if not (run / "metrics.json").is_file():
        command = [sys.executable, "-m", "zoo.train", *words, "--epochs", str(EPOCHS), "--output", str(run)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return run


def _cell(run: Path, column: str) -> dict[str, Any]:
    """Return a cell: numbers of the receipt, the sentence of a refusal, or what failed."""
    from compression import pipeline, source

    chosen = source.open_run(run, {})
    model, data = chosen.load()
    training = chosen.config
    if column.endswith("mirrored"):
        training = dataclasses.replace(training, strategy="mirrored", virtual_devices=2)
    try:
        made = pipeline.compress(
            model,
            data,
            COLUMNS[column].format(run=run),
            run / "artifacts" / column.replace(" ", "-"),
            training=training,
            teachers=lambda: [chosen.run.load_model()],
        )
    except UsageError as error:
        return {"refused": str(error)}
    except Failed as error:
        return {"failed": str(error)}
    receipt = made.receipt
    accuracy = receipt["test"]["litert"]["accuracy"]
    return {
        "bytes": receipt["bytes"],
        "gzip_bytes": receipt["gzip_bytes"],
        "accuracy": accuracy,
        "points": 100 * (accuracy - chosen.run.read_metrics()["test"]["accuracy"]),
        "largest_difference": receipt["parity"]["largest_difference"],
    }


def table(result: dict[str, Any]) -> list[str]:
    """Return the lines of the table: a row for each model, a column for each recipe."""
    lines = ["| model | " + " | ".join(COLUMNS) + " |", "| --- |" + " --- |" * len(COLUMNS)]
    cells = {(cell["row"], cell["column"]): cell for cell in result["cells"]}
    notes: list[str] = []
    for row in dict.fromkeys(row for row, _ in cells):
        lines.append(f"| {row} | " + " | ".join(_text(cells[row, column], notes) for column in COLUMNS) + " |")
    lines += ["", "KB of the zipped file; points of test accuracy against the model before. Embedded digits.", ""]
    return lines + [f"{number}. {note}" for number, note in enumerate(notes, 1)]


def _text(cell: dict[str, Any], notes: list[str]) -> str:
    if "bytes" in cell:
        return f"{cell['gzip_bytes'] / 1000:.1f} KB, {cell['points']:+.1f}"
    kind, sentence = next((kind, cell[kind]) for kind in ("refused", "failed") if kind in cell)
    if sentence not in notes:
        notes.append(sentence)
    return f"{kind} ({notes.index(sentence) + 1})"


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown, the recipes below."""
    recipes = [f"- {column}: `{recipe}`" for column, recipe in COLUMNS.items()]
    return "\n".join([*table(result), "", *recipes])
