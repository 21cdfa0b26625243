"""What a notebook imports: `from zoo.api import train, load, evaluate, predict`.

Each function does what the command of its name does, and returns an object that prints as a table. Nothing here changes
the process that calls it: no environment variables, no hidden packages, no redirected output.
"""

import dataclasses
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

import strategies
from zoo import stock
from zoo.config.options import typed
from zoo.config.run_options import PredictOptions
from zoo.config.train_config import TrainConfig
from zoo.console.cli import say
from zoo.console.errors import UsageError, naming, short
from zoo.data import Dataset, npz
from zoo.guests import model as guest
from zoo.isolation import models
from zoo.publish import places
from zoo.runs.folder import PARENT, RunFolder, free_folder
from zoo.runs.results import Predictions, Run, Scores
from zoo.system import temporary

if TYPE_CHECKING:
    import keras

__all__ = ["Dataset", "Predictions", "Run", "Scores", "TrainConfig", "evaluate", "load", "predict", "train"]

# Where arrays and `tf.data` sets are kept, so that other commands find the data of a run again.
ARRAYS = PARENT / "data"


def train(
    model: "str | keras.Model | Callable[[], keras.Model]" = "cnn",
    *,
    data: Any = None,
    dataset: str | None = None,
    class_names: Sequence[str] | None = None,
    config: TrainConfig | None = None,
    callbacks: Sequence["keras.callbacks.Callback"] = (),
    verbose: bool = True,
    **options: Any,
) -> Run:
    """Train a model and write its run folder, as `python -m zoo.train` does.

    Args:
        model: Name from `python -m zoo.list models`; or a Keras model that gives logits, or a function that returns one
            and is called inside the strategy's scope. It is trained by the loss of the task; one that was compiled with
            another loss is refused.
        data: Path of one's own data, as `--data` takes it; or `(x, y)`, `((x_train, y_train), (x_test, y_test))`, a
            `Dataset` or a finite, batched `tf.data.Dataset` of (x, y). Arrays are kept in runs/data, where other
            commands find them.
        dataset: Name of an embedded or TFDS set, in place of data. Default: digits.
        class_names: Names of the classes of arrays, in the order of the class indices.
        config: All options at once, in place of `model` and options by name.
        callbacks: Further Keras callbacks, called after the run's own.
        verbose: Show progress on standard error.
        options: Options of `TrainConfig` by name, such as `epochs=5`, `strategy="mirrored"` or
            `settings={"filters": (16, 32)}`.

    Returns:
        The run: its path, model, metrics and history.

    Raises:
        UsageError: Options or data that do not fit together, before training starts.

    Example:
        >>> run = train("cnn", data=(images, labels), epochs=5)
        >>> run.test["accuracy"]
    """
    own = None if isinstance(model, str) else model
    if own is not None:
        _check_own(own, options if config is None else vars(config))
    if config is None:
        options = typed(options, TrainConfig, "train")
        named = model if own is None else "cnn"  # a model of one's own has no name in the registry
        config = TrainConfig(model=named, dataset=dataset, **_data(data, class_names), **options)
    elif data is not None or dataset is not None or class_names is not None or options:
        raise UsageError("train: expected config or options by name, received both")
    elif own is None and model not in ("cnn", config.model):
        raise UsageError(f"train: expected the model {config.model!r} of config or none beside it, received {model!r}")
    if config.output is None and not config.resume:
        config = dataclasses.replace(config, output=_free_output(config, own))
    from zoo.training.loop import train as fit

    with naming(_written(data, config.data), "data"):
        result = fit(config, model=own, callbacks=_callbacks(callbacks), verbose=verbose, command=["zoo.api.train"])
    return Run(result.run.path, result.model)


def load(source: "str | Path | Run") -> "keras.Model":
    """Load a trained Keras model, ready to predict and without an optimizer.

    Args:
        source: Name of a pretrained run (`python -m zoo.list pretrained`), a run folder, a `.keras` file, or a run that
            `zoo.publish` put on Hugging Face, as `hf:USER/NAME` or `hf:USER/NAME@REVISION`. An existing path wins over
            a name.

    Returns:
        The model. A model of the zoo takes images in [0, 1], token ids or feature vectors, and returns logits.

    Raises:
        UsageError: No such name or path, or a file that is missing, altered or cannot be opened safely.
    """
    path = source.path if isinstance(source, Run) else Path(source)
    if str(source).startswith("hf:") and not path.exists():
        path = places.fetched(str(source))
    if path.suffix == ".keras" and path.is_file():
        import keras  # noqa: F401  plainly, before a command imports it with its own settings

        return models.load(path)
    if not path.exists():
        path = stock.checked(str(source))
    return RunFolder(path).load_model()


def evaluate(
    run: "str | Path | Run | keras.Model",
    *,
    data: Any = None,
    dataset: str | None = None,
    split: Literal["train", "validation", "test"] = "test",
    **options: Any,
) -> Scores:
    """Measure a trained run on a split of its own data, or on other data.

    Args:
        run: Run, run folder or name of a pretrained run; or a built Keras model or a model file (.keras, .h5), with
            data in a form that `compression.api.compress` takes.
        data: Other data, in a form that `train` takes. All of it is measured unless it names splits.
        dataset: Name of another set, in place of data.
        split: Split to measure.
        options: Further options of `python -m zoo.evaluate`, such as `data_dir` or `groups`.

    Returns:
        The scores by name, with 95 % intervals.

    Raises:
        UsageError: Unfinished run, or data of another form than it was trained on.
    """
    import keras  # noqa: F401  plainly, before a command imports it with its own settings

    from zoo import evaluate as command

    if guest.is_guest(run):
        words = typed({**options, "dataset": dataset}, command.Options, "evaluate")
        chosen = command.Options(run=Path("model"), split=split, **{k: v for k, v in words.items() if v is not None})
        guest.check_options(chosen, command.OF_MODEL_FILES)
        named = {name: getattr(chosen, name) for name in ("dataset", "data_dir", "input_range", "skip_bad")}
        return Scores(command.measured(guest.given(run, data, named, "evaluate"), chosen))
    named = {"dataset": dataset} if dataset else {}
    given = _data(data) | typed(options | named, command.Options, "evaluate")
    if split != "test" or not given:
        given["split"] = split
    with naming(_written(data, given.get("data")), "data"):
        return Scores(command.run({"run": _folder(run, "copy"), **given}))


def predict(
    run: "str | Path | Run | keras.Model", inputs: Any, *, data: Any = None, top: int = 1, **options: Any
) -> Predictions:
    """Predict with a trained run, as `python -m zoo.predict` does.

    Args:
        run: Run, run folder or name of a pretrained run; or a built Keras model or a model file (.keras, .h5).
        inputs: Array of examples, (examples, ...), images as uint8 or as floats in [0, 1]; or a path, a text or a
            sequence of them. A Keras model takes arrays as its own `predict` does, and dictionaries or tuples of them.
        data: For a Keras model, data that tell what its answers mean, in a form that `compression.api.compress` takes.
        top: Number of answers for each input.
        options: Further options of `python -m zoo.predict`, such as `labels` or `text_column`.

    Returns:
        A label and a probability for each input.

    Raises:
        UsageError: Inputs of another form than the run was trained on.
    """
    import keras  # noqa: F401  plainly, before a command imports it with its own settings

    from zoo import predict as command

    if guest.is_guest(run):
        return _predict_model(run, inputs, data, top, options)
    if data is not None:
        raise UsageError("predict: expected data with a Keras model, received them with a run, which has its own")
    options |= {"top": top} if top != 1 else {}
    given = {"run": _folder(run, "run"), **typed(options, PredictOptions, "predict")}
    if isinstance(inputs, (str, Path)):
        inputs = [inputs]
    inputs = list(inputs) if isinstance(inputs, Iterator) else inputs
    several = isinstance(inputs, Collection) and not isinstance(inputs, np.ndarray | Mapping)
    if several and len(inputs) and all(isinstance(one, (str, Path)) for one in inputs):
        return Predictions(command.run({**given, "inputs": tuple(map(str, inputs))}))
    x = _examples(inputs, RunFolder(given["run"]).read_config())
    with temporary.folder() as folder:
        path = folder / "inputs.npz"
        np.savez(path, x=x)
        with naming(path, "inputs"):
            rows = command.run({**given, "inputs": (str(path),)})
    return Predictions([row | {"input": i} for i, row in enumerate(rows)])


def _predict_model(
    model: "str | Path | keras.Model", inputs: Any, data: Any, top: int, options: dict[str, Any]
) -> Predictions:
    """Return the answers of a Keras model, in memory or in a file."""
    from zoo import predict as command
    from zoo.guests import prediction

    files = [inputs] if isinstance(inputs, (str, Path)) else inputs
    named = isinstance(files, list | tuple) and len(files) > 0 and all(isinstance(one, (str, Path)) for one in files)
    words = typed({**options, "top": top}, PredictOptions, "predict")
    asked = PredictOptions(run=Path("model"), inputs=tuple(map(str, files)) if named else (), **words)
    command.check_of_model_file(asked)
    known = {name: getattr(asked, name) for name in ("dataset", "data_dir", "input_range")}
    opened = guest.given(model, data, known, "predict", data_needed=False)
    ways = {"top": top, "labels": command.names_of_classes(asked.labels)}
    rows = prediction.of_files(opened, asked.inputs, **ways) if named else prediction.of_arrays(opened, inputs, **ways)
    return Predictions(rows)


def _callbacks(given: Any) -> list["keras.callbacks.Callback"]:
    """Return callbacks as a list, after checking that they are some."""
    import keras

    found = list(given) if isinstance(given, Iterable) else [given]
    for one in found:
        if not isinstance(one, keras.callbacks.Callback):
            raise UsageError(f"train: callbacks: expected instances of keras.callbacks.Callback, received {short(one)}")
    return found


def _examples(inputs: Any, run: Mapping[str, Any]) -> np.ndarray:
    """Return examples in a form that .npz files have.

    Args:
        inputs: Examples as they were given.
        run: Configuration of the run, as its folder has it.
    """
    shape = tuple(run["data"]["input_shape"])
    if isinstance(inputs, Mapping) or hasattr(inputs, "element_spec"):
        raise UsageError(f"inputs: expected an array (examples, ...) for a run, received {type(inputs).__name__}")
    try:
        x = np.asarray(inputs)
    except ValueError:
        raise UsageError("inputs: expected examples of one shape, received examples of several") from None
    if x.dtype.kind not in npz.KINDS:
        what = "objects" if x.dtype == object else str(x.dtype)
        raise UsageError(f"inputs: expected an array of numbers, received {what}")
    if x.shape == shape:
        raise UsageError(
            f"inputs: expected a batch (examples, ...), received one example of shape {shape}; give inputs[None]"
        )
    if not x.size:
        raise UsageError("inputs: expected at least one example, received none")
    in_range = x.dtype.kind != "f" or x.ndim != 4 or (x.min() >= 0 and x.max() <= 1)
    if not in_range and not run.get("own_model"):  # a model of one's own may take pictures in any range
        raise UsageError(f"predict: expected float images in [0, 1] or uint8 ones, received {x.min():g} to {x.max():g}")
    return x


def _data(data: Any, class_names: Sequence[str] | None = None) -> dict[str, Path]:
    """Return the option that names the data: a path, or where arrays were written to."""
    if class_names is not None and (data is None or isinstance(data, (str, Path))):
        raise UsageError(guest.NAMES_OF_ARRAYS)
    if data is None:
        return {}
    if isinstance(data, (str, Path)):
        return {"data": Path(data)}
    from zoo.data.own import saved

    return {"data": saved(data, ARRAYS, class_names)}


def _written(data: Any, path: Path | None) -> Path | None:
    """Return the file that arrays were written to; None if they come from elsewhere."""
    return None if data is None or isinstance(data, (str, Path)) else path


def _folder(run: str | Path | Run, use: stock.Use) -> Path:
    """Return the folder of a run, of one that is there or of a pretrained one."""
    return run.path if isinstance(run, Run) else stock.path(Path(run), use)


def _check_own(model: "keras.Model | Callable[[], keras.Model]", given: Mapping[str, Any]) -> None:
    """Refuse options that make a model of the zoo, and tell that what a model was compiled with is not used.

    Args:
        model: Model of one's own, or a function that makes it.
        given: Options of `TrainConfig` by name.
    """
    name = getattr(model, "name", None) or getattr(model, "__name__", "model")
    for option in ("settings", "pretrained", "input_range"):
        if given.get(option):
            raise UsageError(
                f"{option}: expected with the name of a model, received with the model {name}, which is made without it"
            )
    if getattr(model, "compiled", False):
        say(
            f"model {name}: the optimizer and the metrics that it was compiled with are not used; optimizer and"
            " learning_rate are options, loss and metrics are those of the task"
        )


def _free_output(config: TrainConfig, own: Any) -> Path | None:
    """Return a free folder named after a model of one's own; None for the default, or where another worker chooses."""
    if own is None or not strategies.is_chief(config.strategy):
        return None
    from zoo.training.building import own_name

    return free_folder(PARENT / f"{own_name(own)}-{config.data_name}")
