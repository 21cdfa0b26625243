"""The numbers of the trained runs that come with the package, as tables show them. Standard library only."""

import json
from pathlib import Path
from typing import Any

from zoo import stock
from zoo.config import task_facts
from zoo.console.figures import form_of, label
from zoo.runs.folder import RunFolder

# The file that the small one is shown beside.
REFERENCE = "float32"


def facts(folder: Path, file: str) -> dict[str, Any]:
    """Return the numbers of a run, from its metrics.json and its receipts.

    Args:
        folder: of the run.
        file: its small file, below that.

    Returns:
        figure, what the scores are called; keras and litert, of the model and of the file on the test split; examples,
        how many that has; parameters; float32_bytes, of the file without compression; bytes; gzip_bytes; latency_ms,
        the median of a call on one thread, by signature ("" where there is one); seconds that the training took.
    """
    run = RunFolder(folder)
    metrics = run.read_metrics()
    receipt, reference = (_receipt(folder / name) for name in (file, f"artifacts/{REFERENCE}.tflite"))
    known = task_facts.of(run.task)
    figure = known.stock_figure or known.headline[0]
    of_file = receipt["test"]["litert"]
    scores = {"keras": metrics["test"], "litert": of_file.get("against_real", of_file)}
    return {
        "figure": label(figure, scores["keras"]),
        **{side: format(found[figure], form_of(figure)[1]) for side, found in scores.items()},
        "examples": receipt["test"]["examples"],
        "parameters": metrics["parameters"],
        "float32_bytes": reference["bytes"],
        "bytes": receipt["bytes"],
        "gzip_bytes": receipt["gzip_bytes"],
        "latency_ms": {row.get("signature", ""): row["median_ms"] for row in receipt["latency"] if row["threads"] == 1},
        "seconds": round(metrics["seconds"], 1),
    }


def _receipt(file: Path) -> dict[str, Any]:
    path = file.with_name(f"{file.name.removesuffix('.tflite')}.receipt.json")
    return json.loads(path.read_text(encoding="utf-8"))


def cells(name: str) -> dict[str, str]:
    """Return the row of a run, by title of the column."""
    entry = stock.index()[name]
    found = facts(stock.FOLDER / name, entry["file"])
    return {
        "run": name,
        "test": f"{found['figure']} {found['keras']} of {found['examples']:,}",
        "of the file": found["litert"],
        "parameters": f"{found['parameters']:,}",
        "float32": f"{found['float32_bytes']:,} bytes",
        "file": f"{found['bytes']:,} bytes",
        "gzip": f"{found['gzip_bytes']:,} bytes",
        "ms": ", ".join(f"{signature} {ms:.3f}".strip() for signature, ms in found["latency_ms"].items()),
        "recipe": entry["recipe"],
        "command": entry["train"],
    }


def summary(name: str) -> str:
    """Return the row of a run in a line."""
    return "; ".join(f"{title} {cell}" for title, cell in cells(name).items() if title != "run")
