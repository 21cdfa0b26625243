"""What a notebook imports: `from compression.api import compress, verify, search, inspect`.

Each function does what the command of its name does, and returns an object that prints as a table.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compression.receipts.results import CompressedFile, Inspection, SearchResult, Verification
from zoo import stock
from zoo.config.options import changed, typed
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.guests import model as guest
from zoo.runs.results import Run

if TYPE_CHECKING:
    import keras


__all__ = ["CompressedFile", "Inspection", "SearchResult", "Verification", "compress", "inspect", "search", "verify"]


def compress(
    source: "str | Path | Run | keras.Model",
    recipe: str = "int8",
    *,
    data: Any = None,
    class_names: Sequence[str] | None = None,
    output: str | Path | None = None,
    sign: str | Path | None = None,
    **options: Any,
) -> CompressedFile:
    """Carry out a recipe on a trained model and measure the file, as `python -m compression.compress` does.

    Args:
        source: Run, run folder or name of a pretrained run; or a built Keras model or a model file (.keras, .h5), with
            `data`. The file computes what the model's own `predict` computes. The model stays as it is.
        recipe: Words joined by +, such as "channels(0.5) + int8"; see `python -m compression`.
        data: Data of a Keras model: `{"train": (x, y), "test": (x, y)}`, where x and y are arrays, or dictionaries or
            tuples of arrays, or a `tf.data.Dataset` stands for the pair; `(x, y)`, of which a fifth is held out; x
            alone, without labels; a `Dataset`; or a path. The training split trains and calibrates, the test split
            measures. A run has its own.
        class_names: Names of the classes of arrays, in the order of the class indices.
        output: Folder of the file and its receipt. Default: artifacts in the run folder; required for a Keras model.
        sign: File of an Ed25519 private key that signs the receipt; needs the extra `sign`.
        options: Further options of `python -m compression.compress`, such as `batch` or `uint8_input`; of a Keras model
            also those of `TrainConfig` that a recipe which trains follows, such as `epochs` or `learning_rate`.

    Returns:
        The file, with its receipt.

    Raises:
        UsageError: A recipe, model and data that do not fit together, before work starts.
        zoo.console.errors.Failed: The conversion failed, or the file cannot be run.

    Example:
        >>> file = compress("runs/cnn-digits", "channels(0.5) + int8")
        >>> file.bytes, file.test["accuracy"]
    """
    if guest.is_guest(source):
        return _compress_model(source, recipe, data, class_names, output, sign, options)
    if data is not None or class_names is not None:
        raise UsageError("compress: expected data with a Keras model, received them with a run, which has its own")
    import keras  # noqa: F401  plainly, before a command imports it with its own settings

    from compression import compress as command

    given = typed(options, command.Options, "compress") | {"run": _folder(source, "copy"), "recipe": recipe}
    given |= {name: Path(value) for name, value in {"output": output, "sign": sign}.items() if value is not None}
    found = command.run(given)
    return CompressedFile(found.pop("path"), found, given["run"])


def verify(
    file: str | Path | CompressedFile,
    run: "str | Path | Run | keras.Model | None" = None,
    *,
    data: Any = None,
    signed_by: str | Path | None = None,
    **options: Any,
) -> Verification:
    """Measure a file again, as `python -m compression.verify` does.

    Args:
        file: File that `compress` returned, its path, or the name of a pretrained run, whose small file is meant.
        run: Run it was made from, or the Keras model or model file, with `data`. Default: the run it lies in.
        data: Data of a Keras model, in a form that `compress` takes.
        signed_by: File of the Ed25519 public key that must have signed the receipt; needs the extra `sign`. With it and
            without a run, only the signature and the hashes are checked.
        options: Further options of the command, such as `data_dir`.

    Raises:
        UsageError: The file or its receipt is not whole, another key signed it, or it was made from another run.
        zoo.console.errors.Failed: A number of the receipt was not reproduced; the message names it.
    """
    import keras  # noqa: F401  plainly, before a command imports it with its own settings

    from compression import verify as command

    given = typed(options, command.Options, "verify") | {"file": _file(file)}
    if signed_by is not None:
        given["signed_by"] = Path(signed_by)
    if run is None and isinstance(file, CompressedFile):
        run = file.run
    if run is not None and guest.is_guest(run):
        names = ("dataset", "data", "data_dir", "input_range")
        known = {name: given.get(name) for name in names}
        opened = guest.given(run, data, known, "verify")
        options = command.Options(**given, run=opened.path or Path("model"))
        return Verification(command.checked(options, lambda: opened))
    if data is not None:
        raise UsageError("verify: expected data with a Keras model, received them without one")
    if run is not None:
        given["run"] = _folder(run, "run")
    return Verification(command.run(given))


def search(
    source: "str | Path | Run | keras.Model",
    *,
    data: Any = None,
    class_names: Sequence[str] | None = None,
    max_bytes: int | None = None,
    max_latency_ms: float | None = None,
    min_accuracy: float | None = None,
    trials: int = 50,
    output: str | Path | None = None,
    **options: Any,
) -> SearchResult:
    """Search the recipe whose file fits a budget, as `python -m compression.search` does.

    Args:
        source: Run, run folder or name of a pretrained run of a classifier; or a built Keras model that gives classes,
            or a model file (.keras, .h5), with `data`.
        data: Data of a Keras model, in a form that `compress` takes, with a validation split on which recipes are
            selected.
        class_names: Names of the classes of arrays, in the order of the class indices.
        max_bytes: Largest size of the file.
        max_latency_ms: Largest median latency of one call on this machine, in milliseconds.
        min_accuracy: Smallest accuracy on validation examples, in [0, 1].
        trials: Number of recipes to try, including those that stop early.
        output: Folder of the search. Default: search in the run folder; required for a Keras model. An existing search
            continues.
        options: Further options of the command, such as `time_limit`, `space` or `jobs`.

    Raises:
        UsageError: A budget below the smallest file.
        zoo.console.errors.Failed: No file is within the budget; the message names the closest.
    """
    import keras  # noqa: F401  plainly, before a command imports it with its own settings

    from compression import search as command

    limits = {"max_bytes": max_bytes, "max_latency_ms": max_latency_ms, "min_accuracy": min_accuracy}
    given = typed({**options, **limits, "trials": trials}, command.Options, "search")
    given = {name: value for name, value in given.items() if value is not None or name in options}
    if output is not None:
        given["output"] = Path(output)
    if guest.is_guest(source):
        return _search_model(source, data, class_names, given)
    if data is not None or class_names is not None:
        raise UsageError("search: expected data with a Keras model, received them with a run, which has its own")
    given["run"] = _folder(source, "copy")
    return SearchResult(command.run(given))


def inspect(file: str | Path | CompressedFile, *, top: int = 0) -> Inspection:
    """Return where the bytes of a .tflite file are, without running it, or those of a model file.

    Args:
        file: File that `compress` returned, its path, or the name of a pretrained run, whose small file is meant; or a
            model file (.keras, .h5).
        top: Number of the largest tensors to list, 0 for all.

    Raises:
        UsageError: Not a TFLite file, and not a model file that opens safely.
    """
    from compression import inspect as command

    return Inspection(command.run({"file": _file(file), "top": top}))


def _file(file: str | Path | CompressedFile) -> Path:
    return file.path if isinstance(file, CompressedFile) else stock.path(Path(file), "file")


def _folder(run: str | Path | Run, use: stock.Use) -> Path:
    return run.path if isinstance(run, Run) else stock.path(Path(run), use)


def _search_model(
    model: "str | Path | keras.Model", data: Any, class_names: Sequence[str] | None, given: dict[str, Any]
) -> SearchResult:
    """Search with a Keras model, in memory or in a file."""
    from compression import search as command

    if "output" not in given:
        raise UsageError("search: expected output beside a Keras model, received none")
    if isinstance(data, (str, Path)):
        given["data"], data = Path(data), None
    path = Path(model) if isinstance(model, (str, Path)) else None
    options = command.Options(**given, run=path or Path("model"))
    if path is None or data is not None:
        if options.jobs > 1:
            raise UsageError(f"search: jobs={options.jobs}: expected a model file and a path or a data set's name")
        if options.teacher:
            raise UsageError("search: teacher: expected with a run; a Keras model has itself as teacher")
    inputs = command.inputs_of(options, options.output)
    opened = guest.given(model, inputs.options.get("data", data), inputs.options, "search", class_names=class_names)
    return SearchResult(command.carried_out(options, inputs, opened, {}))


def _compress_model(
    model: "str | Path | keras.Model",
    recipe: str,
    data: Any,
    class_names: Sequence[str] | None,
    output: str | Path | None,
    sign: str | Path | None,
    options: dict[str, Any],
) -> CompressedFile:
    """Compress a Keras model, in memory or in a file."""
    import keras  # noqa: F401  plainly, before a command imports it with its own settings

    from compression import compress as command

    names = {field.name for field in dataclasses.fields(command.Options)}
    mine = typed({k: v for k, v in options.items() if k in names}, command.Options, "compress")
    training = typed({k: v for k, v in options.items() if k not in names or k in _BOTH}, TrainConfig, "compress")
    opened = guest.given(
        model, data, training | {"input_range": mine.get("input_range")}, "compress", class_names=class_names
    )
    if output is None:
        raise UsageError("compress: expected output beside a Keras model, received none")
    mine |= {"run": opened.path or Path("model"), "recipe": recipe, "output": Path(output)}
    options = command.Options(**mine, sign=None if sign is None else Path(sign))
    found = command.carried_out(options, opened, changed(TrainConfig(**training)))
    return CompressedFile(found.pop("path"), found)


# Options of `python -m compression.compress` that say how a recipe trains as well.
_BOTH = (
    "dataset",
    "data_dir",
    "seed",
    "strategy",
    "virtual_devices",
    "epochs",
    "batch_size",
    "learning_rate",
    "augment",
)
