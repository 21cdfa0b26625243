"""The results of the pretrained runs that come with the package, for tables. Standard library only."""

import json
from pathlib import Path
from typing import Any

from zoo import stock
from zoo.config import task_facts
from zoo.console.figures import form_of, label
from zoo.runs.folder import RunFolder

# Recipe of the uncompressed file that the small file is compared with.
REFERENCE = "float32"


def facts(folder: Path, file: str) -> dict[str, Any]:
    """Return the results of a run, from its metrics.json and its receipts.

    Args:
        folder: Run folder.
        file: Path of the small file, relative to the folder.

    Returns:
        A dictionary. figure: name of the score; keras and litert: score of the model and of the file on the test split
        (without labels, figure and keras are empty, and litert says how far the file is from the model);
        examples: number of test examples; parameters: number of parameters; float32_bytes: size of the file without
        compression; bytes and gzip_bytes: size of the small file; latency_ms: median latency on one thread, by
        signature ("" if there is only one); seconds: training time.
    """
    run = RunFolder(folder)
    metrics = run.read_metrics()
    receipt, reference = (_receipt(folder / name) for name in (file, f"artifacts/{REFERENCE}.tflite"))
    known = task_facts.of(run.task)
    figure = known.stock_figure or known.headline[0]
    of_file = receipt["test"]["litert"]
    scores = {"keras": metrics["test"], "litert": of_file.get("against_real", of_file)}
    if of_file:
        told = {side: format(found[figure], form_of(figure)[1]) for side, found in scores.items()}
        told["figure"] = label(figure, scores["keras"])
    else:
        told = {"figure": "", "keras": "", "litert": _parity(receipt["parity"])}
    return {
        **told,
        "examples": receipt["test"]["examples"],
        "parameters": metrics["parameters"],
        "float32_bytes": reference["bytes"],
        "bytes": receipt["bytes"],
        "gzip_bytes": receipt["gzip_bytes"],
        "latency_ms": {row.get("signature", ""): row["median_ms"] for row in receipt["latency"] if row["threads"] == 1},
        "seconds": round(metrics["seconds"], 1),
    }


def _parity(parity: dict[str, Any]) -> str:
    if "same_answer" in parity:
        return f"{parity['same_answer']:.2%} the same answer"
    return f"scores {parity['score_difference']:.2%} of their spread away"


def _receipt(file: Path) -> dict[str, Any]:
    path = file.with_name(f"{file.name.removesuffix('.tflite')}.receipt.json")
    return json.loads(path.read_text(encoding="utf-8"))


def cells(name: str) -> dict[str, str]:
    """Return the table row of a pretrained run, by column title."""
    entry = stock.index()[name]
    found = facts(stock.FOLDER / name, entry["file"])
    count = f"{found['examples']:,}"
    return {
        "run": name,
        "test": f"{found['figure']} {found['keras']} of {count}" if found["figure"] else f"no labels, {count} inputs",
        "of the file": found["litert"],
        "parameters": f"{found['parameters']:,}",
        "float32": f"{found['float32_bytes']:,} bytes",
        "file": f"{found['bytes']:,} bytes",
        "gzip": f"{found['gzip_bytes']:,} bytes",
        "ms": ", ".join(f"{signature} {ms:.3f}".strip() for signature, ms in found["latency_ms"].items()),
        "recipe": entry["recipe"],
        "command": entry["train"],
    }
