"""`python -m compression.export`: write a run or a model file as SavedModel, ONNX or streaming file, checked."""

import functools
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from compression import tasks
from compression.pipeline import source
from compression.receipts.artifacts import receipt_path
from compression.recipes import language
from compression.recipes.options import ExportOptions
from zoo.config.options import option
from zoo.config.run_options import ModelData
from zoo.console import cli
from zoo.console.errors import UsageError
from zoo.system.files import write_json

_NAMES = {"savedmodel": "saved_model", "onnx": "model.onnx", "streaming": "streaming.tflite", "features": "features"}


@dataclass(frozen=True, kw_only=True)
class Options(ModelData):
    """What to export, and in which format; `compression.compress` makes .tflite files."""

    run: Path = option("run folder, or a model file (.keras, .h5) with its data", positional=True, stock_as="copy")
    to: Literal["savedmodel", "onnx", "streaming", "features"] = option(
        "format; for a run on sound also streaming (a .tflite file that takes the next samples and its states) and"
        " features (C code that computes the features in integers, and an int8 file that takes them)",
        "savedmodel",
    )
    recipe: str | None = option(
        "precision of a streaming file: float32, float16, dynamic, int8 or int4 (default: float32)"
    )
    output: Path | None = option("folder for the export (default: RUN/artifacts)")
    data_dir: Path | None = option("folder of prepared TFDS sets (default: the run's)")


def run(given: Mapping[str, Any]) -> dict[str, Any]:
    """Export, and return what was measured."""
    options = Options(**given)
    recipe = _recipe(options)
    chosen = source.opened(options.run, given)
    path = source.output_of(chosen, options.output) / _NAMES[options.to]
    model, data = chosen.load()
    from compression.pipeline import formats
    from compression.tasks.base import Export

    if options.to == "streaming":
        return _streamed(model, data, path, chosen, recipe)
    if options.to == "features":
        return _with_features(model, data, path, chosen)
    formats.check_installed(options.to)
    if not len(data.test):
        raise UsageError(f"{data.spec.name}: expected test examples to check the export on, it has none")
    kind = tasks.of(data.spec.task)
    exported = kind.exported(model, data)
    form = kind.build(Export(model, exported, data, ExportOptions(batch=None)))
    cli.say(f"exporting {path.name}")
    made = {"task": data.spec.task, **chosen.provenance()}
    receipt = {"made": made} | formats.export(path, options.to, form.subject_on(exported, data.test), form.softmax)
    write_json(receipt_path(path), receipt)
    return {"path": str(path), **receipt}


def _recipe(options: Options) -> language.Recipe:
    """Return the recipe of a streaming file.

    Raises:
        UsageError: A recipe of another format, or one that trains.
    """
    recipe = language.parse(options.recipe or "float32")
    if options.recipe is not None and options.to != "streaming":
        raise UsageError(
            f"--recipe {options.recipe}: expected together with --to streaming, received --to {options.to};"
            " compression.compress makes other .tflite files"
        )
    if recipe.stages or recipe.distill:
        raise UsageError(
            f"--recipe {options.recipe}: expected a precision, since a streaming file has the weights of a run;"
            " received words that train"
        )
    return recipe


def _streamed(model: Any, data: Any, path: Path, chosen: Any, recipe: language.Recipe) -> dict[str, Any]:
    """Write the streaming file of a run on sound, and return what `run` returns."""
    from compression.exporting import streaming as stream
    from compression.pipeline import streaming

    stream.check(model, data.spec.name)
    if recipe.precision != "float32":
        path = path.with_stem(f"{path.stem}-{recipe.file_name}")
    cli.say(f"exporting {path.name}")
    made = {"task": data.spec.task, "format": "streaming", **chosen.provenance()}
    receipt = {"made": made} | streaming.export(model, path, recipe, data)
    write_json(receipt_path(path), receipt)
    return {"path": str(path), "format": "streaming", **receipt}


def _with_features(model: Any, data: Any, path: Path, chosen: Any) -> dict[str, Any]:
    """Write a run on sound with its features outside, and return what `run` returns."""
    from compression.mcu import sound

    sound.check(model, data.spec.name)
    cli.say(f"exporting {path.name}")
    made = {"task": data.spec.task, "format": "features", **chosen.provenance()}
    receipt = {"made": made} | sound.export(model, path, data)
    write_json(path / "receipt.json", receipt)
    return {"path": str(path), "format": "features", **receipt}


def _show_features(result: Mapping[str, Any]) -> None:
    file, keras = result["test"]["litert"], result["test"]["keras"]
    print(f"{result['bytes']:,} bytes of the file, {result['table_bytes']:,} bytes of tables in features.c")
    print(f"test accuracy {file['accuracy']:.2%} on features in whole numbers, Keras {keras['accuracy']:.2%}")
    parity = result["parity"]
    print(
        f"features differ from those in float by {parity['mean_difference_of_features']:.1e} on average, at most"
        f" {parity['largest_difference_of_features']:.1e}"
    )
    print(result["path"])


def _show_streamed(result: Mapping[str, Any]) -> None:
    parity, latency, device = result["parity"], result["latency"], result["device"]
    print(
        f"{result['bytes']:,} bytes; a call takes {result['interface']['samples']:,} samples"
        f" ({result['milliseconds_of_sound_a_call']:g} ms, {result['frames_a_call']} frames) and"
        f" {len(result['interface']['states'])} states of {result['state_bytes']:,} bytes"
    )
    print(
        f"largest difference in probability from Keras {parity['largest_difference']:.1e}, on average"
        f" {parity['mean_difference']:.1e}, and the same answer in {parity['same_answer']:.2%} of"
        f" {parity['frames']:,} frames"
    )
    print(f"latency of a call {latency['median_ms']:.3f} ms, {latency['median_ms_a_frame']:.4f} ms a frame (1 thread)")
    arena = device.get("arena_bytes")
    print(f"arena {arena:,} bytes in TFLite Micro" if arena else device.get("refused", ""))
    print(result["path"])


def show(result: Mapping[str, Any]) -> None:
    """Print the numbers that matter, and last the path."""
    if result["format"] in ("streaming", "features"):
        (_show_streamed if result["format"] == "streaming" else _show_features)(result)
        return
    form = tasks.of(result["made"]["task"])
    scores = result["test"][result["format"]]
    said = f"test {form.headline(scores)}" if scores else "no labels"
    print(f"{result['bytes']:,} bytes; {said} ({result['test']['examples']:,} examples)")
    print(f"largest difference of an output from Keras {result['parity']['largest_difference']:.1e}")
    print(result["path"])


main = functools.partial(
    cli.command,
    Options,
    run,
    show,
    prog="python -m compression.export",
    examples=(
        "python -m compression.export runs/digits --to onnx",
        "python -m compression.export runs/words --to streaming --recipe int8",
        "python -m compression.export mine.keras --data photographs --to onnx --output small",
    ),
    description="Export a run or a model file as a SavedModel, ONNX or streaming file, checked against Keras.",
)


if __name__ == "__main__":
    sys.exit(main())
