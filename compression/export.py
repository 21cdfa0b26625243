"""`python -m compression.export`: export a run as a SavedModel or an ONNX file, checked against Keras."""

import functools
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from compression.pipeline import source
from compression.receipts.artifacts import receipt_path
from zoo.config.options import option
from zoo.console import cli
from zoo.system.files import write_json

_NAMES = {"savedmodel": "saved_model", "onnx": "model.onnx"}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to export, and in which format; `compression.compress` makes .tflite files."""

    run: Path = option("run folder", positional=True, stock_as="copy")
    to: Literal["savedmodel", "onnx"] = option("format", "savedmodel")
    output: Path | None = option("folder for the export (default: RUN/artifacts)")
    data_dir: Path | None = option("folder of prepared TFDS sets (default: the run's)")


def run(given: Mapping[str, Any]) -> dict[str, Any]:
    """Export, and return what was measured."""
    options = Options(**given)
    chosen = source.open_run(options.run, given)
    model, data = chosen.load()
    from compression.pipeline import formats
    from compression.surgery import copying
    from compression.tasks.classification import ClassSubject, interface_of

    interface = interface_of(data.spec, batch=None)
    path = (options.output or chosen.run.path / "artifacts") / _NAMES[options.to]
    cli.say(f"exporting {path.name}")
    subject = ClassSubject(copying.in_float32(model), interface, data.split("test"))
    receipt = {"made": chosen.provenance()} | formats.export(path, options.to, subject)
    write_json(receipt_path(path), receipt)
    return {"path": str(path), **receipt}


def show(result: Mapping[str, Any]) -> None:
    """Print the numbers that matter, and last the path."""
    print(
        f"{result['bytes']:,} bytes; test accuracy {result['test'][result['format']]['accuracy']:.2%}, largest"
        f" difference in probability from Keras {result['parity']['largest_difference']:.1e}"
        f" ({result['test']['examples']:,} examples)"
    )
    print(result["path"])


main = functools.partial(
    cli.command,
    Options,
    run,
    show,
    prog="python -m compression.export",
    description="Write a run as a SavedModel or an ONNX file, checked against Keras.",
)


if __name__ == "__main__":
    sys.exit(main())
