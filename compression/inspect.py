"""`python -m compression.inspect`: list where the bytes of a .tflite file or of a model file are."""

import functools
import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.config.options import option
from zoo.config.train_config import TrainConfig
from zoo.console import cli
from zoo.console.errors import UsageError
from zoo.guests import model as guest


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to inspect."""

    file: Path = option(".tflite file, or a model file (.keras, .h5)", positional=True, stock_as="file")
    top: int = option("number of the largest tensors to list, 0 for all", 20)


def run(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a file, largest first; a .tflite file is not run."""
    options = Options(**given)
    if options.top < 0:
        raise UsageError(f"--top: expected 0 or more, received {options.top}")
    if guest.is_file(options.file):
        return _of_model_file(options)
    from compression.flatbuffers import flatbuffer
    from compression.flatbuffers.layers import layers_of

    model = flatbuffer.read(options.file)
    constants, size = flatbuffer.constants(model), options.file.stat().st_size
    layers: dict[str, int] = defaultdict(int)
    for row, layer in zip(constants, layers_of([row["name"] for row in constants]), strict=True):
        row["layer"] = layer
        layers[row["layer"]] += row["bytes"]
    held = sum(layers.values())
    noted = flatbuffer.metadata_sizes(model)
    layers |= {"(metadata)": sum(noted.values()), "(graph, names, tables)": size - held - sum(noted.values())}
    return {
        "path": str(options.file),
        "bytes": size,
        "signature": flatbuffer.signature(model),
        "signatures": flatbuffer.signatures(model),
        "operators": flatbuffer.operators(model),
        "flex": flatbuffer.flex(model),
        "keeps_state": flatbuffer.keeps_state(model),
        "metadata": noted,
        "layers": dict(sorted(layers.items(), key=lambda item: -item[1])),
        "constants": constants[: options.top or None],
        "more_constants": max(len(constants) - options.top, 0) if options.top else 0,
    }


def _of_model_file(options: Options) -> dict[str, Any]:
    """Return the parts of a model file: its weights by layer, under the names that a recipe's skip and only take."""
    model = guest.OpenedModel(options.file, TrainConfig()).load_model()
    import keras
    import numpy as np

    from compression.surgery import layers

    rows = []
    named = layers.paths(model)
    recurrent = {path: layer for path, layer in named.items() if isinstance(layer, layers.RECURRENT)}
    found = [*named.items(), *recurrent.items()]  # a recurrent layer stands for its cell
    names = {id(weight): path for path, layer in found for weight in layer.weights}
    for weight in model.weights:
        values = keras.ops.convert_to_numpy(weight)
        rows.append(
            {
                "name": weight.path,
                "layer": names.get(id(weight), "(other)"),
                "type": str(weight.dtype),
                "shape": list(weight.shape),
                "bytes": int(values.nbytes),
                "elements": int(values.size),
                "zeros": int((values == 0).sum()),
                "distinct": len(np.unique(values)),
            }
        )
    rows.sort(key=lambda row: -row["bytes"])
    held: dict[str, int] = defaultdict(int)
    for row in rows:
        held[row["layer"]] += row["bytes"]
    size = options.file.stat().st_size
    held["(configuration, optimizer)"] = max(size - sum(held.values()), 0)
    ends = {
        side: [{"name": t.name, "type": str(t.dtype), "shape": list(t.shape)} for t in getattr(model, side, None) or ()]
        for side in ("inputs", "outputs")
    }
    return {
        "path": str(options.file),
        "bytes": size,
        "signature": ends,
        "signatures": {"": ends},
        "operators": {},
        "keeps_state": False,
        "parameters": model.count_params(),
        "layers": dict(sorted(held.items(), key=lambda item: -item[1])),
        "constants": rows[: options.top or None],
        "more_constants": max(len(rows) - options.top, 0) if options.top else 0,
    }


def show(result: Mapping[str, Any]) -> None:
    """Print the inputs and outputs of the file, its operators, and its bytes by layer and by tensor."""
    several = len(result["signatures"]) > 1
    for name, ends in result["signatures"].items() if several else [("", result["signature"])]:
        begin = f"{name} " if several else ""
        for side, rows in ends.items():
            for row in rows:
                scale = f", scale {row['scale']:g}, zero point {row['zero_point']}" if "scale" in row else ""
                print(f"{begin}{side[:-1]:<7} {row['name']}: {row['type']} {row['shape']}{scale}")
    if result["operators"]:
        print("operators " + ", ".join(f"{count} {name}" for name, count in result["operators"].items()))
    if "parameters" in result:
        print(f"{result['parameters']:,} parameters")
    if result["keeps_state"]:
        print("keeps state from one call to the next: call reset_all_variables() before each example")
    share = [(layer, f"{size:,}", f"{size / result['bytes']:.1%}") for layer, size in result["layers"].items()]
    cli.table(("layer", "bytes", "share"), [*share, ("all", f"{result['bytes']:,}", "100.0%")])
    rows = [
        (
            row["name"],
            row["type"],
            "x".join(map(str, row["shape"])) or "scalar",
            f"{row['bytes']:,}",
            row.get("scales", ""),
            f"{row['zeros'] / row['elements']:.1%}" if row.get("elements") else "",
            row.get("distinct", ""),
        )
        for row in result["constants"]
    ]
    cli.table(("tensor", "type", "shape", "bytes", "scales", "zeros", "distinct"), rows)
    if result["more_constants"]:
        print(f"{result['more_constants']} smaller tensors are not listed; --top 0 lists all")
    print(result["path"])


main = functools.partial(
    cli.command,
    Options,
    run,
    show,
    prog="python -m compression.inspect",
    description="Show where the bytes of a .tflite file or of a model file are.",
)


if __name__ == "__main__":
    sys.exit(main())
