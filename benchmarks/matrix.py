"""Matrix of every model and precision: each cell is measured on the exported file, or refused with the reason.

Accuracy is that of the full test split. Latency is the median of one example on one thread. The models are trained once
with their default recipes (seed 0) and kept under runs/matrix; delete the folder to train them again.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

from zoo.config.catalogue import check_source
from zoo.config.train_config import TrainConfig
from zoo.console.errors import Failed, UsageError

RUNS = Path("runs") / "matrix"
PRECISIONS = ("float32", "float16", "dynamic", "int8", "int16x8", "int4")
# By row name: (arguments of zoo.train, kernels to export recurrent layers with).
ROWS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "simplenet": (("--model", "simplenet"), ("auto",)),
    "large": (("--model", "large", "--epochs", "3"), ("auto",)),
    "small": (("--model", "small", "--epochs", "3"), ("auto",)),
    "cnn": (("--model", "cnn"), ("auto",)),
    "cnn_128": (("--model", "cnn_128", "--epochs", "3"), ("auto",)),
    "lstm": (("--model", "lstm"), ("loop", "unrolled", "fused")),
    "lstm, gru": (("--model", "lstm", "--set", "cell=gru", "--epochs", "3"), ("auto",)),
    "lstm, simple": (("--model", "lstm", "--set", "cell=simple", "--epochs", "3"), ("auto",)),
    "self_attention": (("--model", "self_attention"), ("auto",)),
    "lstm, texts": (("--model", "lstm", "--dataset", "sst2_sentences", "--epochs", "2"), ("auto",)),
    "self_attention, texts": (("--model", "self_attention", "--dataset", "sst2_sentences", "--epochs", "2"), ("auto",)),
}


def measure(data_dir: Path) -> dict[str, Any]:
    """Return a cell for each row, kernel and precision.

    Args:
        data_dir: Folder of prepared TFDS sets.
    """
    from compression.pipeline import source

    cells = []
    for row, (words, kernels) in ROWS.items():
        dataset = words[words.index("--dataset") + 1] if "--dataset" in words else "mnist"
        try:
            check_source(TrainConfig(dataset=dataset, data_dir=data_dir))
        except UsageError as error:
            print(f"{row} is skipped: {error}", file=sys.stderr)
            continue
        chosen = source.open_run(trained(row, words, data_dir), {"data_dir": data_dir})
        model, data = chosen.load()
        for kernel in kernels:
            for precision in PRECISIONS:
                folder = chosen.run.path / "artifacts" / kernel
                cell = _cell(model, data, precision, kernel, folder, chosen.provenance())
                cells.append({"row": row, "kernel": kernel, "precision": precision, **cell})
                print(cells[-1], file=sys.stderr, flush=True)
    return {"cells": cells}


def trained(row: str, words: tuple[str, ...], data_dir: Path) -> Path:
    """Train the model of a row unless it exists, and return its run folder.

    Args:
        row: Name of the row.
        words: Arguments of `zoo.train`.
        data_dir: Folder of prepared TFDS sets.
    """
    run = RUNS / row.replace(", ", "-")
    if not (run / "metrics.json").is_file():
        dataset = () if "--dataset" in words else ("--dataset", "mnist")
        command = [sys.executable, "-m", "zoo.train", *words, *dataset, "--data-dir", str(data_dir)]
        subprocess.run([*command, "--output", str(run)], check=True, stdout=subprocess.DEVNULL)
    return run


def _cell(
    model: Any, data: Any, precision: str, kernel: str, folder: Path, provenance: dict[str, Any]
) -> dict[str, Any]:
    """Return a cell: numbers of the receipt, or the reason of a refusal or failure."""
    from compression.pipeline import pipeline
    from compression.recipes.options import ExportOptions

    export = ExportOptions(kernel=kernel)
    try:
        made = pipeline.compress(model, data, precision, folder, export=export, provenance=provenance)
    except UsageError as error:
        return {"refused": str(error)}
    except Failed as error:
        return {"failed": str(error)}
    receipt = made.receipt
    accuracy, keras = (receipt["test"][side]["accuracy"] for side in ("litert", "keras"))
    return {
        "bytes": receipt["bytes"],
        "gzip_bytes": receipt["gzip_bytes"],
        "accuracy": accuracy,
        "points": (accuracy - keras) * 100,
        "largest_difference": receipt["parity"]["largest_difference"],
        "median_ms": next(found["median_ms"] for found in receipt["latency"] if found["threads"] == 1),
        "engine": receipt["made"]["engine"],
    }


def table(cells: list[dict[str, Any]]) -> list[str]:
    """Return the lines of the table, with a row for each model and kernel, and a column for each precision."""
    lines = ["| model | " + " | ".join(PRECISIONS) + " |", "| --- |" + " --- |" * len(PRECISIONS)]
    notes: list[str] = []
    rows: dict[tuple[str, str], dict[str, dict]] = {}
    for cell in cells:
        rows.setdefault((cell["row"], cell["kernel"]), {})[cell["precision"]] = cell
    for (row, kernel), found in rows.items():
        working = [cell for cell in found.values() if "bytes" in cell]
        fastest = min((cell["median_ms"] for cell in working), default=None)
        name = f"{row}, {kernel}" if kernel != "auto" else row
        texts = [_text(found[precision], fastest, notes) for precision in PRECISIONS]
        lines.append(f"| {name} | " + " | ".join(texts) + " |")
    lines += [
        "",
        "File size in KB, difference of test accuracy from Keras in percentage points, and latency in ms per example on"
        " one thread, with the fastest of the row in bold. Dataset: MNIST; texts are SST-2 sentences.",
        "",
    ]
    return lines + [f"{number}. {note}" for number, note in enumerate(notes, 1)]


def _text(cell: dict[str, Any], fastest: float | None, notes: list[str]) -> str:
    if "bytes" not in cell:
        sentence = cell.get("refused") or f"FAILED: {cell['failed']}"
        if sentence not in notes:
            notes.append(sentence)
        return (
            f"refused ({notes.index(sentence) + 1})" if "refused" in cell else f"failed ({notes.index(sentence) + 1})"
        )
    latency = f"{cell['median_ms']:.3f} ms"
    latency = f"**{latency}**" if cell["median_ms"] == fastest else latency
    return f"{cell['bytes'] / 1000:.1f} KB, {cell['points']:+.2f}, {latency}"


def render(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    return "\n".join(table(result["cells"]))
