"""`python -m compression.attack`: measure the robustness of compressed files on the examples of `zoo.attack`.

The examples were made to mislead the Keras model, and files are measured on the same ones (transfer). An attack on the
file itself may do more harm, so the accuracy here is an upper bound of its robustness.
"""

import functools
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from compression.flatbuffers import interface
from compression.receipts.artifacts import read_receipt
from strategies import backend
from zoo.config.options import option
from zoo.config.train_config import command_line
from zoo.console import cli
from zoo.console.errors import UsageError
from zoo.runs import attacked, sealed
from zoo.runs.folder import RunFolder
from zoo.system.files import sha256


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure."""

    run: Path = option("run folder, after `python -m zoo.attack RUN`", positional=True, stock_as="copy")
    files: tuple[Path, ...] = option(
        ".tflite files of the run (default: all in RUN/artifacts)", (), positional=True, metavar="FILE", optional=True
    )
    attack: Literal["fgsm", "pgd"] = option("attack that made the examples", "pgd")


def run(given: Mapping[str, Any]) -> dict[str, Any]:
    """Measure the accuracy of Keras and of each file, write the accuracies into the run folder, and return them."""
    options = Options(**given)
    folder = RunFolder(options.run)
    made = read_attack(folder, options.attack)
    files = options.files or tuple(sorted((folder.path / "artifacts").glob("*.tflite")))
    if not files:
        raise UsageError(f"{folder.path}: expected .tflite files in its artifacts, found none; make one with compress")
    interfaces = {path: interface_of(path, folder) for path in files}
    stems = [path.stem for path in files]
    named = {path: path.stem if stems.count(path.stem) == 1 else str(path) for path in files}
    backend.start("tensorflow")
    import numpy as np

    from zoo.attack import robustness

    with np.load(folder.attacks / f"{options.attack}.npz") as found:
        x, y = found["x"], found["y"]
    for path, ends in interfaces.items():
        cli.say(f"measuring {path.name} on {len(x) * len(y):,} examples")
        made["accuracy"][named[path]] = [robustness.accuracy(_outputs(path, ends, changed), y) for changed in x]
    made["files_sha256"] = {named[path]: sha256(path) for path in files}
    place = folder.attacks / f"{options.attack}-files"
    robustness.write_table(place.with_suffix(".csv"), made["eps"], made["accuracy"])
    robustness.draw(
        place.with_suffix(".png"), f"{robustness.title(made)}, made on Keras", made["eps"], made["accuracy"]
    )
    sealed.write(place.with_suffix(".json"), made)
    return made | {"path": str(folder.attacks)}


def read_attack(folder: RunFolder, attack: str) -> dict[str, Any]:
    """Return what `zoo.attack` wrote for a run.

    Raises:
        UsageError: It wrote nothing, it attacked other weights, or what it wrote was altered.
    """
    metrics, file = folder.read_metrics(), folder.attacks / f"{attack}.json"
    first = command_line("zoo.attack", folder.path, "--attack", attack)
    if not file.is_file():
        raise UsageError(f"{folder.path}: expected the examples of an attack, found no {file}; make them with: {first}")
    made = attacked.read(file)
    if made["model_sha256"] != metrics["model_sha256"]:
        raise UsageError(f"{file}: expected an attack on this run's model.keras, it was on another; repeat: {first}")
    examples = file.with_suffix(".npz")
    if not examples.is_file() or sha256(examples) != made.get("examples_sha256"):
        raise UsageError(
            f"{examples}: expected the examples of {file.name}, they are missing or altered; repeat: {first}"
        )
    return made


def interface_of(path: Path, folder: RunFolder) -> interface.Interface:
    """Return the interface of a file.

    Raises:
        UsageError: The file is missing, has no receipt, or was not made from this run.
    """
    if not path.is_file():
        raise UsageError(f"{path}: expected a .tflite file, found none")
    receipt = read_receipt(path)
    if (made := receipt["made"]).get("model_sha256") != folder.read_metrics()["model_sha256"]:
        raise UsageError(
            f"{path}: expected a file of {folder.path}, this one was made from {made.get('run', 'another model')}"
        )
    return interface.from_json(receipt["interface"])


def _outputs(path: Path, ends: interface.Interface, x: Any) -> Any:
    """Return the outputs of a file for examples, rounded to bytes if the file takes bytes."""
    from compression.receipts.subject import given
    from compression.runtime import litert
    from zoo.data import Split
    from zoo.data.images import as_bytes

    return litert.run(path, given(Split(as_bytes(x) if ends.uint8 else x, None), ends))


def show(result: Mapping[str, Any]) -> None:
    """Print a row for each eps, and last the folder."""
    from zoo.attack import robustness

    print(f"{robustness.title(result)}, made on Keras")
    robustness.show_table(result)
    print(f"picture: {result['path']}/{result['attack']}-files.png")
    print(result["path"])


main = functools.partial(
    cli.command,
    Options,
    run,
    show,
    prog="python -m compression.attack",
    description="Measure compressed files on the examples that `python -m zoo.attack` made to mislead the Keras model"
    " (transfer).",
)


if __name__ == "__main__":
    sys.exit(main())
