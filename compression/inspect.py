"""`python -m compression.inspect`: list where the bytes of a .tflite file are."""

import functools
import re
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.config.options import option
from zoo.console import cli
from zoo.console.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to inspect."""

    file: Path = option(".tflite file", positional=True, stock_as="file")
    top: int = option("number of the largest tensors to list, 0 for all", 20)


def run(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a file, largest first; the file is not run."""
    options = Options(**given)
    if options.top < 0:
        raise UsageError(f"--top: expected 0 or more, received {options.top}")
    from compression.flatbuffers import flatbuffer

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


def layers_of(names: Sequence[str]) -> list[str]:
    """Return the layer in each tensor's name: conv_1 in `cnn_1/conv_1_1/convolution`.

    A fused operator has several names, and the last one belongs to the layer with the weights. The first part of a name
    is the model, the last one the operation. Tracing appends a number to every part, the same to all: where it is not,
    the number belongs to the layer's own name.
    """
    found = [[part for part in name.rpartition(";")[2].split("/")[:-1] if part != "while"] for name in names]
    parts = [part for each in found for part in each]
    traced = bool(parts) and all(re.search(r"_\d+$", part) for part in parts)
    plain = [[re.sub(r"_\d+$", "", part) if traced else part for part in each[1:]] for each in found]
    return ["/".join(each) or "(other)" for each in plain]


def show(result: Mapping[str, Any]) -> None:
    """Print the inputs and outputs of the file, its operators, and its bytes by layer and by tensor."""
    several = len(result["signatures"]) > 1
    for name, ends in result["signatures"].items() if several else [("", result["signature"])]:
        begin = f"{name} " if several else ""
        for side, rows in ends.items():
            for row in rows:
                scale = f", scale {row['scale']:g}, zero point {row['zero_point']}" if "scale" in row else ""
                print(f"{begin}{side[:-1]:<7} {row['name']}: {row['type']} {row['shape']}{scale}")
    print("operators " + ", ".join(f"{count} {name}" for name, count in result["operators"].items()))
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
    description="Show where the bytes of a .tflite file are.",
)


if __name__ == "__main__":
    sys.exit(main())
