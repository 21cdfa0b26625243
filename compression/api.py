"""What a notebook imports: `from compression.api import compress, verify, search, inspect`.

Each function does what the command of its name does, and returns an object that prints as a table.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compression.receipts.results import CompressedFile, Inspection, SearchResult, Verification
from zoo import stock
from zoo.api import ARRAYS
from zoo.config.options import typed
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.runs.results import Run

if TYPE_CHECKING:
    import keras

    from zoo.data import Dataset

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
        source: Run, run folder or name of a pretrained run; or a built Keras model that gives logits for classes, with
            `data`. It stays as it is.
        recipe: Words joined by +, such as "channels(0.5) + int8"; see `python -m compression`.
        data: Data of a Keras model, in a form that `zoo.api.train` takes: the training split trains and calibrates, the
            test split measures. A run has its own.
        class_names: Names of the classes of arrays, in the order of the class indices.
        output: Folder of the file and its receipt. Default: artifacts in the run folder; required for a Keras model.
        sign: File of an Ed25519 private key that signs the receipt; needs the extra `sign`.
        options: Of a run, further options of `python -m compression.compress`, such as `batch` or `uint8_input`; of a
            Keras model, the options of `TrainConfig` that a recipe which trains follows, such as `epochs` or
            `learning_rate`.

    Returns:
        The file, with its receipt.

    Raises:
        UsageError: A recipe, model and data that do not fit together, before work starts.
        zoo.console.errors.Failed: The conversion failed, or the file cannot be run.

    Example:
        >>> file = compress("runs/cnn-digits", "channels(0.5) + int8")
        >>> file.bytes, file.test["accuracy"]
    """
    if not isinstance(source, (str, Path, Run)):
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
    run: str | Path | Run | None = None,
    *,
    signed_by: str | Path | None = None,
    **options: Any,
) -> Verification:
    """Measure a file again, as `python -m compression.verify` does.

    Args:
        file: File that `compress` returned, its path, or the name of a pretrained run, whose small file is meant.
        run: Run it was made from. Default: the one it lies in.
        signed_by: File of the Ed25519 public key that must have signed the receipt; needs the extra `sign`. With it and
            without a run, only the signature and the hashes are checked.
        options: Further options of the command: `data_dir`.

    Raises:
        UsageError: The file or its receipt is not whole, another key signed it, or it was made from another run.
        zoo.console.errors.Failed: A number of the receipt was not reproduced; the message names it.
    """
    import keras  # noqa: F401  plainly, before a command imports it with its own settings

    from compression import verify as command

    given = typed(options, command.Options, "verify") | {"file": _file(file)}
    if run is None and isinstance(file, CompressedFile):
        run = file.run
    if run is not None:
        given["run"] = _folder(run, "run")
    if signed_by is not None:
        given["signed_by"] = Path(signed_by)
    return Verification(command.run(given))


def search(
    source: str | Path | Run,
    *,
    max_bytes: int | None = None,
    max_latency_ms: float | None = None,
    min_accuracy: float | None = None,
    trials: int = 50,
    output: str | Path | None = None,
    **options: Any,
) -> SearchResult:
    """Search the recipe whose file fits a budget, as `python -m compression.search` does.

    `compression.searching.search.search` takes a Keras model and data of one's own.

    Args:
        source: Run, run folder or name of a pretrained run of a classifier.
        max_bytes: Largest size of the file.
        max_latency_ms: Largest median latency of one call on this machine, in milliseconds.
        min_accuracy: Smallest accuracy on validation examples, in [0, 1].
        trials: Number of recipes to try, including those that stop early.
        output: Folder of the search. Default: search in the run folder. An existing search continues.
        options: Further options of the command, such as `time_limit`, `space` or `jobs`.

    Raises:
        UsageError: A budget below the smallest file.
        zoo.console.errors.Failed: No file is within the budget; the message names the closest.
    """
    import keras  # noqa: F401  plainly, before a command imports it with its own settings

    from compression import search as command

    limits = {"max_bytes": max_bytes, "max_latency_ms": max_latency_ms, "min_accuracy": min_accuracy}
    given = typed(options, command.Options, "search") | {"run": _folder(source, "copy"), "trials": trials}
    given |= {name: value for name, value in limits.items() if value is not None}
    if output is not None:
        given["output"] = Path(output)
    return SearchResult(command.run(given))


def inspect(file: str | Path | CompressedFile, *, top: int = 0) -> Inspection:
    """Return where the bytes of a .tflite file are, without running it.

    Args:
        file: File that `compress` returned, its path, or the name of a pretrained run, whose small file is meant.
        top: Number of the largest tensors to list, 0 for all.

    Raises:
        UsageError: Not a TFLite file.
    """
    from compression import inspect as command

    return Inspection(command.run({"file": _file(file), "top": top}))


def _file(file: str | Path | CompressedFile) -> Path:
    return file.path if isinstance(file, CompressedFile) else stock.path(Path(file), "file")


def _folder(run: str | Path | Run, use: stock.Use) -> Path:
    return run.path if isinstance(run, Run) else stock.path(Path(run), use)


def _compress_model(
    model: "keras.Model",
    recipe: str,
    data: Any,
    class_names: Sequence[str] | None,
    output: str | Path | None,
    sign: str | Path | None,
    options: dict[str, Any],
) -> CompressedFile:
    """Compress a Keras model that no run holds."""
    import keras

    from compression.receipts import signing

    if not isinstance(model, keras.Model):
        raise UsageError(f"compress: expected a run, its path or a Keras model, received {type(model).__name__}")
    for name, value in (("data", data), ("output", output)):
        if value is None:
            raise UsageError(f"compress: expected {name} beside a Keras model, received none")
    key = None if sign is None else signing.private_key(Path(sign))
    from compression.pipeline import pipeline
    from compression.recipes.options import Reporting, StageTraining
    from zoo.console import cli
    from zoo.training.building import check_logits

    config, dataset = _read(data, class_names, options)
    check_logits(model, dataset.spec)
    training, progress = StageTraining(config), Reporting(cli.say, verbose=True)
    made = pipeline.compress(model, dataset, recipe, Path(output), training=training, sign=key, progress=progress)
    return CompressedFile(made.path, made.receipt)


def _read(data: Any, class_names: Sequence[str] | None, options: dict[str, Any]) -> "tuple[TrainConfig, Dataset]":
    """Return how stages of a recipe are trained, and the data."""
    from zoo.data import Dataset, load
    from zoo.data.own import saved

    given = typed(options, TrainConfig, "compress")
    if isinstance(data, Dataset):
        return TrainConfig(**given).resolved(), data
    path = Path(data) if isinstance(data, (str, Path)) else saved(data, ARRAYS, class_names)
    config = TrainConfig(data=path, **given).resolved()
    return config, load(config)
