"""Networks as people bring them, in every precision and with the words that train: what works, and what is refused.

A network of keras.applications, KerasHub or one of the kinds in benchmarks/guests.py is trained for a short time on
examples of separable classes, because the answers of random weights are so close that rounding alone changes them. Each
recipe then makes a file, which is compared on fresh examples with `predict` of the model that it holds, as the recipe
trained it: the share of same answers, or for numbers the largest difference as a share of the largest value. A network
that is often wrong itself has close answers, so its accuracy stands beside its name.

Stock is the file that the TFLite converter makes of the plain model with the same calibration examples, or LiteRT
Quantizer's dynamic int4; of recipes that train, which it does not have, the int8 file of the plain model.

Each network is measured in a process with a limit of memory, and each recipe within a time limit. Rows are kept in
runs/networks, and a further run measures what is missing; delete the folder to measure everything again.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from strategies import processes
from zoo.system.files import write_json

KEPT = Path("runs") / "networks"
RECIPES = (
    "float32",
    "float16",
    "dynamic",
    "int8",
    "int16x8",
    "int4",
    "prune(0.5) + int8",
    "cluster(8) + int8",
    "qat + int8",
    "channels(0.5) + int8",
)
SMALL = (
    *("residual", "unet", "squeeze", "tcn", "ds_cnn", "autoencoder", "bigru", "attention", "group_norm", "two_inputs"),
    *("two_outputs", "nested", "shared", "custom_layer", "subclassed", "sigmoid", "regression", "embedding", "volume"),
    *("keras_hub vit", "keras_hub resnet", "keras_hub bert", "keras_hub mobilenet", "keras_hub efficientnet"),
)
LARGE = (
    *("MobileNet", "MobileNetV2", "MobileNetV3Small", "MobileNetV3Large", "EfficientNetB0", "EfficientNetV2B0"),
    *("ResNet50", "DenseNet121", "NASNetMobile", "ConvNeXtTiny", "Xception"),
)
QUICK = ("custom_layer", "two_outputs", "residual"), ("float32", "int8", "prune(0.5) + int8")
# Limit of a recipe, and of training the network before the first.
SECONDS = 1800
# A file is marked as right from this share of same answers, or up to this difference of numbers.
RIGHT, NEAR = 0.95, 0.05


def measure(data_dir: Path, quick: bool = False) -> dict[str, Any]:
    """Return a row for each network with a cell for each recipe.

    Args:
        data_dir: Not used; the examples are generated.
        quick: Whether to measure three small networks and three recipes, and to keep nothing.
    """
    names, recipes = QUICK if quick else (SMALL + LARGE, RECIPES)
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) if quick else KEPT
        kept.mkdir(parents=True, exist_ok=True)
        return {"recipes": list(recipes), "rows": [row(name, recipes, kept) for name in names]}


def row(name: str, recipes: Sequence[str], kept: Path) -> dict[str, Any]:
    """Measure what is missing of a network in child processes, and return its row.

    Args:
        name: Name of the network.
        recipes: Recipes.
        kept: Folder of the rows.
    """
    path = kept / f"{name.replace(' ', '-')}.json"
    while missing := [recipe for recipe in recipes if recipe not in _read(path)["cells"]]:
        ended = _child(name, missing, path)
        found = _read(path)
        if missing[0] not in found["cells"]:  # the process ended with its first recipe
            found["cells"][missing[0]] = {"fault": ended or "the process ended without a result"}
            write_json(path, found)
    found = _read(path)
    return {"name": name, **found, "cells": {recipe: found["cells"][recipe] for recipe in recipes}}


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"cells": {}}


def _child(name: str, recipes: Sequence[str], path: Path) -> str:
    """Measure recipes of a network in a process until it ends or a recipe exceeds its limit; return why it ended."""
    print(f"{name}: {', '.join(recipes)}", file=sys.stderr, flush=True)
    words = processes.command("benchmarks.network_cells", name, str(path), *recipes)
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    log = path.with_suffix(".log")
    with log.open("w") as output:
        child = subprocess.Popen(words, stdout=output, stderr=output, env=environment)
        try:
            seen, since = 0, time.monotonic()
            while child.poll() is None:
                if (count := len(_read(path)["cells"])) != seen:
                    seen, since = count, time.monotonic()
                if time.monotonic() - since > SECONDS:
                    return f"stopped after {SECONDS} s"
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(1)
        finally:
            child.kill()
            child.wait()
    if child.returncode < 0:
        return f"the process crashed with signal {-child.returncode}"
    lines = log.read_text(errors="replace").strip().splitlines()
    return "" if child.returncode == 0 else f"status {child.returncode}: {lines[-1] if lines else 'no message'}"


def table(result: Mapping[str, Any]) -> list[str]:
    """Return the lines of the table: a row for each network, a column for each recipe, and the refusals below."""
    recipes, notes = result["recipes"], []
    lines = [f"| network | {' | '.join(f'`{recipe}`' for recipe in recipes)} |", "| --- |" + " --- |" * len(recipes)]
    for found in result["rows"]:
        texts = [_text(found["cells"][recipe], notes) for recipe in recipes]
        lines.append(f"| {_named(found)} | {' | '.join(texts)} |")
    works, refused, rest = _counted(result)
    absent = [name for name in (*SMALL, *LARGE) if name not in {found["name"] for found in result["rows"]}]
    lines += ["", f"Not measured yet: {', '.join(absent)}."] if absent else []
    lines += [
        "",
        f"{works} files are right, {refused} recipes are refused before work starts, {rest} neither. In a cell: size in"
        " KB and share of same answers as `predict` (± largest difference of numbers, as a share of the largest value);"
        " operators that stayed float in a file of whole numbers; below it the stock file. ✓: at least"
        f" {RIGHT:.0%} same answers, or at most ±{NEAR:.0%}. Beside a network: parameters, and accuracy (or R²) of"
        " `predict`.",
        "",
    ]
    return lines + [f"{number}. {note}" for number, note in enumerate(notes, 1)]


def render(result: Mapping[str, Any]) -> str:
    """Return the result as Markdown."""
    return "\n".join(table(result))


def _counted(result: Mapping[str, Any]) -> tuple[int, int, int]:
    cells = [cell for found in result["rows"] for cell in found["cells"].values()]
    works, refused = sum("bytes" in cell and right(cell) for cell in cells), sum("refused" in cell for cell in cells)
    return works, refused, len(cells) - works - refused


def _named(found: Mapping[str, Any]) -> str:
    if "parameters" not in found:
        return found["name"]
    return f"{found['name']}<br>{found['parameters']:,}, {found['score']:.1%}"


def right(cell: Mapping[str, Any]) -> bool:
    """Return whether the answers of a file are those of `predict`."""
    return cell.get("same", 1) >= RIGHT and cell.get("off", 0) <= NEAR


def _text(cell: Mapping[str, Any], notes: list[str]) -> str:
    for word in ("refused", "failed", "fault"):
        if word in cell:
            if cell[word] not in notes:
                notes.append(cell[word])
            said = f"{word} ({notes.index(cell[word]) + 1})"
            return said if word == "refused" else f"**{said}**"
    stock = cell["stock"]
    theirs = f"{_file(stock)}" if "bytes" in stock else "fails"
    return f"{'✓' if right(cell) else '≠'} {_file(cell)}<br>stock {theirs}"


def _file(cell: Mapping[str, Any]) -> str:
    parts = [f"{cell['bytes'] / 1000:.1f} KB"]
    parts += [f"{cell['same']:.1%}"] if "same" in cell else []
    parts += [f"±{cell['off']:.1%}"] if "off" in cell else []
    count = sum(cell.get("float_operators", {}).values())
    return ", ".join(parts + ([f"{count} float"] if count else []))
