"""What the page shows of a file, read from the file and its receipt."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compression.flatbuffers import flatbuffer
from compression.flatbuffers.layers import layers_of
from compression.receipts.artifacts import read_receipt, receipt_path, shown_path
from compression.receipts.quantiles import summary
from compression.receipts.wording import short
from zoo.config import task_facts
from zoo.console.figures import ERRORS, by_output, form_of, label

# Histograms: the largest kernels of a file, the bins of each, and the fewest weights that are worth one.
KERNELS, BINS, LEAST_WEIGHTS = 12, 41, 64
# Operators of a graph that is drawn; a larger one would only be a line.
MOST_OPERATORS = 400


def file(path: Path, reference: Mapping[str, Sequence[Mapping[str, Any]]] | None = None) -> dict[str, Any]:
    """Return what the page shows of a file.

    Args:
        path: Path of the file, with its receipt beside it.
        reference: Result of `in_float32` for a file in float32, for files whose model was not described.

    Raises:
        UsageError: The file or its receipt is missing or damaged.
    """
    receipt, model = read_receipt(path), flatbuffer.read(path)
    shown = _shown(path, receipt)
    device = receipt.get("device", {})
    return {
        "file": path.name,
        "path": str(path),
        "recipe": receipt["made"]["recipe"],
        "label": short(receipt["made"]["recipe"]),
        "made_from": receipt["made"].get("run")
        or receipt["made"].get("model_file")
        or receipt["made"].get("model", ""),
        "data": receipt["made"].get("data", ""),
        "bytes": receipt["bytes"],
        "gzip_bytes": receipt["gzip_bytes"],
        "weights_in_float32": receipt["float32_weight_bytes"],
        "scores": _scores(receipt),
        "examples": receipt.get("test", {}).get("examples"),
        "not_run": receipt.get("not_run"),
        "parity": receipt.get("parity", {}),
        "latency": receipt.get("latency", []),
        "processor": receipt["processor"]["name"],
        "device": {name: device.get(name) for name in ("arena_bytes", "cycles", "target", "flash_bytes", "refused")},
        "cycles": device.get("layers", []) if device.get("cycles") else [],
        "layers": _layers(receipt["constants"]),
        "operators": receipt["operators"],
        "float_operators": receipt.get("float_operators", {}),
        "stages": _stages(receipt),
        "graph": graph(model),
        "weights": histograms(weights(model), shown.get("weights") or reference or {}),
        "errors": shown.get("layers"),
        "changed": shown.get("changed"),
    }


def _shown(path: Path, receipt: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was measured for the page besides the receipt, if it is of this very file."""
    try:
        found = json.loads(shown_path(path).read_text(encoding="utf-8"))
        return found if found["sha256"] == receipt["sha256"] else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _scores(receipt: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return each figure of the task with the file's value, its interval, and that of Keras, the first for the plot."""
    test = receipt.get("test", {})
    found = test.get("litert", {}) | test.get("litert", {}).get("against_real", {})
    keras = test.get("keras", {}) | test.get("keras", {}).get("against_real", {})
    facts = task_facts.TASKS.get(receipt["made"].get("task", task_facts.CLASSES))
    wanted = [*(facts.headline if facts else ()), *(facts.figures if facts else ())]
    rows = []
    for name in by_output(found, list(dict.fromkeys(wanted))) if wanted else ():
        if isinstance(found[name], int | float):
            plain = name.rpartition(".")[2]
            row = {"name": name, "label": label(name, found), "value": found[name], "keras": keras.get(name)}
            row |= {"percent": form_of(plain)[1].endswith("%"), "less_is_better": plain in ERRORS}
            rows.append(row | {"interval": test.get("intervals", {}).get(name)})
    return rows


def _stages(receipt: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the stages of a recipe with their sizes and the score of the plot."""
    rows = _scores(receipt)
    name = rows[0]["name"] if rows else ""
    return [
        {"stage": row["stage"], "bytes": row["bytes"], "gzip_bytes": row["gzip_bytes"], "score": row.get(name)}
        for row in receipt.get("stages", ())
    ]


def _layers(constants: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return bytes, zeros and type of the weights of each layer, the largest first."""
    found: dict[str, dict[str, Any]] = {}
    for row, layer in zip(constants, layers_of([row["name"] for row in constants]), strict=True):
        each = found.setdefault(layer, {"layer": layer, "bytes": 0, "types": [], "zeros": 0, "elements": 0})
        each["bytes"] += row["bytes"]
        each["zeros"] += row.get("zeros", 0)
        each["elements"] += row.get("elements", 0)
        if row["type"] not in each["types"] and row.get("elements", 0) >= LEAST_WEIGHTS:
            each["types"].append(row["type"])
    return sorted(found.values(), key=lambda row: -row["bytes"])


def weights(model: Any) -> dict[str, np.ndarray]:
    """Return the real values of the constants that hold weights, by the name of the layer.

    Args:
        model: Result of `flatbuffer.read`.
    """
    rows = [
        (tensor, values)
        for tensor, values in flatbuffer.real_constants(model)
        if values.size >= LEAST_WEIGHTS and values.ndim > 1
    ]
    rows.sort(key=lambda row: -row[1].size)
    found: dict[str, np.ndarray] = {}
    for (_, values), layer in zip(rows, layers_of([name for name, _ in rows]), strict=True):
        found.setdefault(layer, values.reshape(-1))
    return found


def histograms(
    found: Mapping[str, np.ndarray], before: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[dict[str, Any]]:
    """Return the histogram of each of the largest kernels, and that of the same kernel in float32 if it is known.

    Args:
        found: Weights of a file, by layer.
        before: Sizes and quantiles of the kernels of the model in float32, by the path of the layer.
    """
    rows = []
    for layer, values in list(found.items())[:KERNELS]:
        other = _before(layer, values.size, before)
        most = max(float(np.abs(v).max()) for v in (values, other) if v is not None and v.size) or 1.0
        edges = np.linspace(-most, most, BINS + 1)
        rows.append(
            {
                "layer": layer,
                "most": most,
                "after": _shares(values, edges),
                "before": None if other is None else _shares_between(other, edges),
                "distinct": len(np.unique(values)),
                "zeros": float((values == 0).mean()),
            }
        )
    return rows


def in_float32(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the size and the quantiles of each kernel of a file in float32, by layer."""
    return {name: [summary(values)] for name, values in weights(flatbuffer.read(path)).items()}


def _before(layer: str, size: int, known: Mapping[str, Sequence[Mapping[str, Any]]]) -> np.ndarray | None:
    """Return the quantiles of a layer's kernel in float32; None if it is not known which of several it is.

    In the name of a tensor, operations follow the path of the layer.
    """
    parts = layer.split("/")
    paths = ("/".join(parts[:end]) for end in range(len(parts), 0, -1))
    rows = next((known[path] for path in paths if path in known), ())
    chosen = rows if len(rows) == 1 else [row for row in rows if row["size"] == size]
    return np.asarray(chosen[0]["quantiles"]) if len(chosen) == 1 else None


def _shares_between(quantiles: np.ndarray, edges: np.ndarray) -> list[float]:
    """Return the share of values between edges, from their quantiles at equal distances of probability."""
    below = np.interp(edges, quantiles, np.linspace(0, 1, len(quantiles)), left=0, right=1)
    return [round(float(share), 5) for share in np.diff(below)]


def _shares(values: np.ndarray, edges: np.ndarray) -> list[float]:
    return [round(float(share), 5) for share in np.histogram(values, edges)[0] / values.size]


def graph(model: Any) -> list[dict[str, Any]]:
    """Return the operators of the first graph in order; empty if there are more than MOST_OPERATORS.

    Args:
        model: Result of `flatbuffer.read`.

    Returns:
        For each operator its name, its layer, the numbers of the operators whose outputs it takes, and the type and
        the shape of its output.
    """
    nodes, tensors = flatbuffer.nodes(model)[0], flatbuffer.tensors(model)[0]
    if len(nodes) > MOST_OPERATORS:
        return []
    shapes = [[int(size) for size in (() if t.shape is None else t.shape)] for t in model.subgraphs[0].tensors]
    names = layers_of([tensors[outputs[0]]["name"] if outputs else "" for _, _, outputs in nodes])
    made = {index: number for number, (_, _, outputs) in enumerate(nodes) for index in outputs}
    return [
        {
            "operator": operator,
            "layer": layer,
            "takes": sorted({made[i] for i in inputs if i in made}),
            "type": tensors[outputs[0]]["type"] if outputs else "",
            "shape": shapes[outputs[0]] if outputs else [],
        }
        for (operator, inputs, outputs), layer in zip(nodes, names, strict=True)
    ]


def found_in(place: Path) -> list[Path]:
    """Return the files with receipts of a run, a folder or a single file."""
    if place.suffix == ".tflite":
        return [place]
    folder = place / "artifacts" if (place / "artifacts").is_dir() else place
    return [path for path in sorted(folder.glob("*.tflite")) if receipt_path(path).is_file()]
