"""A model of one's own, a model file or a built `keras.Model`, opened with its data in place of a run."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.config import task_facts
from zoo.config.catalogue import check_source
from zoo.config.groups import ColumnOptions, DataOptions, SensorOptions, SoundOptions
from zoo.config.train_config import TrainConfig, flag
from zoo.console import cli
from zoo.console.errors import UsageError
from zoo.runs.results import Run
from zoo.system.files import sha256

SUFFIXES = (".keras", ".h5")
# Examples in a training step of a recipe, for a model whose own training is not known.
BATCH_SIZE = 64
# Ranges of pixels that networks are commonly trained on, and by how much accuracy one must be ahead to be taken.
RANGES = ((0.0, 1.0), (0.0, 255.0), (-1.0, 1.0))
AHEAD, TRIED = 0.05, 512

IN_MEMORY = "data in memory"
# Splits in words.
_SPLITS = {"train": "training", "validation": "validation", "test": "test"}
# Options of `TrainConfig` that a recipe does not follow, and why.
_NOT_FOLLOWED = (
    (
        ("label_smoothing", "focal_gamma", "dice", "class_weights", "sampling", "adversarial", "private"),
        "its own loss is trained on its examples as they are",
    ),
    (
        (
            "model",
            "settings",
            "init_from",
            "pretrained",
            "probe",
            "freeze",
            "new_head",
            "unfreeze_every",
            "layer_decay",
        ),
        "the model is trained whole, from its own weights",
    ),
    (
        ("schedule", "weight_decay", "early_stopping", "keep", "average", "snapshots", "precision", "resume"),
        "each stage of a recipe decides it",
    ),
)
NO_RANGE = (
    "--input-range: expected LOW,HIGH, what the model takes for the darkest and the brightest pixel, or --data or"
    " --dataset with images of bytes to find it by"
)
NAMES_OF_ARRAYS = (
    "class_names: expected with arrays as data, received without them; files and named sets name their own classes"
)
# Options of data that are read from files or by name; arrays are used as they are.
_OF_READING = {
    field.name: field.default
    for group in (DataOptions, ColumnOptions, SensorOptions, SoundOptions)
    for field in dataclasses.fields(group)
    if field.name not in ("data", "data_dir", "augment", "shift")
}


@dataclass(frozen=True)
class OpenedModel:
    """A model of one's own with its data; has what `compression.pipeline.source.OpenedRun` has.

    Args:
        path: Model file, None for a model in memory.
        config: Names the data, if they are not given, and how recipes train.
        model: Model in memory.
        data: Data in memory, in a form that `zoo.data.sources.structures.dataset` takes.
        class_names: Names of the classes of such data.
        input_range: What the model takes for the darkest and the brightest pixel of images of bytes.
    """

    path: Path | None
    config: TrainConfig
    model: Any = None
    data: Any = None
    class_names: Sequence[str] | None = None
    input_range: tuple[float, float] | None = None
    task = "own_model"
    artifacts = None

    @property
    def place(self) -> Path | None:
        """Model file."""
        return self.path

    @property
    def model_file(self) -> Path | None:
        """Model file."""
        return self.path

    @property
    def model_bytes(self) -> int:
        """Size of the model file, or of the weights of a model in memory."""
        return self.path.stat().st_size if self.path else 4 * self.model.count_params()

    def load(self) -> tuple[Any, Any]:
        """Load the model and its data; imports Keras and its backend.

        Returns:
            (keras.Model, zoo.data.Dataset).

        Raises:
            UsageError: The model cannot be loaded, or the data do not fit it.
        """
        model = self.load_model()
        data = _with_ids(model, _by_output(model, self._dataset(model)))
        cli.say(_read_as(data))
        return model, data

    def load_model(self) -> Any:
        """Load the model alone; imports Keras and its backend.

        Raises:
            UsageError: The model cannot be loaded, or was never built.
        """
        from strategies import backend

        backend.start("tensorflow")
        from zoo.isolation import models

        model = models.loaded(self.path) if self.model is None else self.model
        _check_built(model)
        return model

    @property
    def has_data(self) -> bool:
        """Whether data were named or given."""
        return any(given is not None for given in (self.data, self.config.data, self.config.dataset))

    def load_options(self) -> dict[str, Any]:
        """Return the options of a command that loads the same data."""
        known = {"data": self.config.data, "dataset": self.config.dataset, "data_dir": self.config.data_dir}
        found = {name: value for name, value in known.items() if value is not None}
        return found | ({"input_range": ",".join(f"{v:g}" for v in self.input_range)} if self.input_range else {})

    def provenance(self) -> dict[str, Any]:
        """Return the origin of a file, for its receipt."""
        if self.path is None:
            found = {"model": self.model.name}
        else:
            found = {"model_file": self.path.name, "model": self.path.stem, "model_sha256": sha256(self.path)}
        return found | {"data": self.config.data_name if self.data is None else IN_MEMORY}

    def _dataset(self, model: Any) -> Any:
        from zoo.data import load
        from zoo.data.sources import structures

        if self.data is not None:
            options = {"class_names": self.class_names, "pixel_range": self.input_range}
            return structures.dataset(self.data, **options)
        path = self.config.data
        if path is not None and path.suffix == task_facts.ARRAYS:
            data = structures.read(path, pixel_range=self.input_range)
        else:
            config = dataclasses.replace(self.config, image_size=self.config.image_size or _image_size(model))
            data = _labelled(model, structures.dataset(load(config), pixel_range=self.input_range))
        if data.spec.kind == "image" and data.test.x.dtype == "uint8" and self.input_range is None:
            data = structures.dataset(data, pixel_range=_range_of(model, data))
        return data


def is_file(path: Path) -> bool:
    """Return whether a path in place of a run names a model file.

    Raises:
        UsageError: It is a SavedModel, or there is no such file.
    """
    if (path / "saved_model.pb").is_file():
        raise UsageError(
            f"{path}: expected a run folder or a model file, received a SavedModel, which Keras 3 cannot take apart;"
            " load it where it was made, and save the model as .keras"
        )
    if path.suffix not in SUFFIXES or path.is_dir():
        return False
    if not path.is_file():
        raise UsageError(f"{path}: expected a model file, found none")
    return True


def opened(path: Path, given: Mapping[str, Any], *, data_needed: bool = True) -> OpenedModel:
    """Open a model file with its data, without importing Keras.

    Args:
        path: Model file that ends in .keras or .h5.
        given: Options of a command; those that name the data and say how recipes train are taken from them.
        data_needed: Whether data must be named.

    Raises:
        UsageError: The data are not named, or not available.
    """
    names = ("dataset", "data", "data_dir", "image_size", "epochs", "batch_size", "learning_rate", "augment")
    names = (*names, "seed", "skip_bad")
    config = training_config({name: given.get(name) for name in names if given.get(name) is not None})
    if given.get("dataset") is None and given.get("data") is None:
        config = dataclasses.replace(config, dataset=None)
    found = OpenedModel(path, config, input_range=given.get("input_range"))
    if data_needed or found.has_data:
        check_data(found)
    return found


def is_guest(source: Any) -> bool:
    """Return whether a Python function was given a model in memory or a model file in place of a run.

    Raises:
        UsageError: It is a SavedModel, or there is no such file.
    """
    return is_file(Path(source)) if isinstance(source, (str, Path)) else not isinstance(source, Run)


def given(
    source: Any,
    data: Any,
    options: Mapping[str, Any],
    function: str,
    *,
    class_names: Sequence[str] | None = None,
    data_needed: bool = True,
) -> OpenedModel:
    """Open a model that a Python function was given, with its data; imports Keras.

    Args:
        source: Built keras.Model, or path of a model file.
        data: Data in a form of `OpenedModel`, their path, or None.
        options: Options of `TrainConfig` and input_range; None where nothing was given.
        function: Name of the function, for messages.
        class_names: Names of the classes of data in memory.
        data_needed: Whether data must be given.

    Raises:
        UsageError: Not a model, or data that are not given or not available.
    """
    import keras

    path = Path(source) if isinstance(source, (str, Path)) else None
    if path is None and not isinstance(source, keras.Model):
        raise UsageError(f"{function}: expected a run, its path or a Keras model, received {type(source).__name__}")
    if path is None:
        _check_built(source)
    options = {name: value for name, value in options.items() if value is not None}
    if data_needed and data is None and options.get("dataset") is None:
        raise UsageError(f"{function}: expected data beside a Keras model, received none")
    pair = options.pop("input_range", None)
    if isinstance(data, (str, Path)):
        options["data"], data = Path(data), None
    if data is not None or options.get("data", Path()).suffix == task_facts.ARRAYS:
        _check_unread(options)
    if class_names is not None and data is None:
        raise UsageError(NAMES_OF_ARRAYS)
    config = training_config(options)
    if "data" not in options and "dataset" not in options:
        config = dataclasses.replace(config, dataset=None)
    found = OpenedModel(path, config, None if path else source, data, class_names, input_range=pair)
    if found.has_data:
        check_data(found)
    return found


def check_options(options: Any, taken: Collection[str]) -> None:
    """Raise UsageError if an option was given that a command takes for runs alone.

    Args:
        options: Options of the command, a dataclass.
        taken: Names of those that it takes for a model file.
    """
    for field in dataclasses.fields(options):
        if field.name not in taken and getattr(options, field.name) != field.default:
            names = ", ".join(flag(name) for name in taken if name not in ("run", "inputs"))
            raise UsageError(f"{flag(field.name)}: expected with a run; a model file takes {names}")


def range_of_run() -> str:
    """Return the sentence that refuses the range of pixels of a run."""
    return "--input-range: expected with a model file, received with a run, which has its own"


def check_data(opened: OpenedModel) -> None:
    """Raise UsageError unless the data are named and there; before Keras is imported."""
    if not opened.has_data:
        raise UsageError(
            f"{opened.path}: expected data beside a model file, to calibrate and to measure: --dataset NAME or"
            " --data PATH"
        )
    if opened.data is None and not (opened.config.data and opened.config.data.suffix == task_facts.ARRAYS):
        check_source(opened.config)


def training_config(given: dict[str, Any]) -> TrainConfig:
    """Return how recipes train a model of one's own.

    Args:
        given: Options of `TrainConfig` that were given. Epochs, learning rate and batch size stay None if they were
            not: each word of a recipe has its usual ones, and a batch is not larger than the data.

    Raises:
        UsageError: An option that no recipe follows.
    """
    given = {name: value for name, value in given.items() if value is not None}
    for names, why in _NOT_FOLLOWED:
        if refused := [name for name in names if name in given]:
            raise UsageError(f"{refused[0]}: expected none with a model of one's own: {why}")
    found = TrainConfig(**given).resolved()
    unknown = {name: None for name in ("epochs", "learning_rate", "batch_size") if name not in given}
    return dataclasses.replace(found, **unknown)


def _check_unread(options: Mapping[str, Any]) -> None:
    """Raise UsageError for an option of data that are read, which arrays would not follow."""
    for name, value in options.items():
        if name in _OF_READING and value != _OF_READING[name]:
            raise UsageError(
                f"{name}: expected with data that are read from other files or by name, received with arrays, which are"
                " used as they are"
            )


def _check_built(model: Any) -> None:
    if not model.built:
        raise UsageError(f"model {model.name}: expected a built model, received one without weights; call it once")


def _image_size(model: Any) -> int | None:
    """Return height and width of the images that a model takes, None if it does not tell."""
    shape = tuple(getattr(model, "input_shape", None) or ())
    square = len(shape) == 4 and isinstance(shape[1], int) and shape[1] == shape[2]
    return shape[1] if square else None


def _read_as(data: Any) -> str:
    """Return what was read in one line: examples, shapes, types and, for bytes, the range that the model gets."""
    from zoo.data.dataset import leaves

    counts = [f"{len(getattr(data, name)):,} {word}" for name, word in _SPLITS.items() if len(getattr(data, name))]
    low, high = data.spec.pixel_range

    def told(array: Any) -> str:
        values = f", bytes as {low:g} to {high:g}" if array.dtype == "uint8" else ""
        return f"{array.dtype} {array.shape[1:]}{values}"

    labels = ", ".join(f"{array.dtype} {array.shape[1:]}" for array in leaves(data.test.y)) or "none"
    inputs = ", ".join(map(told, leaves(data.test.x)))
    return f"{data.spec.name}: {', '.join(counts)} examples; inputs {inputs}; labels {labels}"


def _by_output(model: Any, data: Any) -> Any:
    """Return data with labels in the order of the outputs, if the labels are named and the outputs are a list.

    Raises:
        UsageError: The labels have other names than the outputs.
    """
    names = getattr(model, "output_names", None)
    y = next(getattr(data, split).y for split in _SPLITS if len(getattr(data, split)))
    if not isinstance(y, Mapping) or not names:
        return data
    keyed = isinstance(model.output, Mapping)
    if sorted(y) != sorted(model.output if keyed else names):
        expected, received = (", ".join(sorted(map(str, each))) for each in (model.output if keyed else names, y))
        raise UsageError(f"data: expected labels named as the outputs of the model, {expected}, received {received}")
    if keyed:
        return data

    def ordered(split: Any) -> Any:
        if split.y is None:
            return split
        found = tuple(split.y[name] for name in names)
        return dataclasses.replace(split, y=found if len(found) > 1 else found[0])

    return dataclasses.replace(data, **{name: ordered(getattr(data, name)) for name in _SPLITS})


def _with_ids(model: Any, data: Any) -> Any:
    """Return data whose ids are int32: floats and bytes that are whole and that the model only looks up.

    On the scale of an integer file, neighbouring ids would become one.
    """
    import keras

    from zoo.data import Split
    from zoo.data.dataset import leaves, mapped
    from zoo.introspection.ids import given_as_ids

    splits = {name: getattr(data, name) for name in _SPLITS}
    columns = zip(*(leaves(split.x) for split in splits.values() if len(split)), strict=True)
    whole = [all(_whole_numbers(array) for array in column) for column in columns]
    if not any(whole):
        return data
    few = mapped(lambda array: _as_float(array[:1]), next(split.x for split in splits.values() if len(split)))
    try:
        found = given_as_ids(model, few)
    except Exception:  # data that it does not take, which are refused where they are used
        return data
    ids = list(map(all, zip(whole, found, strict=True)))
    if not any(ids):
        return data

    def cast(split: Split) -> Split:
        marks = keras.tree.pack_sequence_as(split.x, ids)
        x = keras.tree.map_structure(lambda array, mark: array.astype("int32") if mark else array, split.x, marks)
        return dataclasses.replace(split, x=x)

    return dataclasses.replace(data, **{name: cast(split) for name, split in splits.items()})


def _whole_numbers(array: Any) -> bool:
    import numpy as np

    if not isinstance(array, np.ndarray):
        return False
    if array.dtype == np.uint8:
        return array.ndim < 4  # others are images
    return array.dtype.kind == "f" and bool((array == np.rint(array)).all())


def _as_float(array: Any) -> Any:
    return array.astype("float32") if array.dtype == "uint8" else array


def _labelled(model: Any, data: Any) -> Any:
    """Return data without their labels, and say so, if the model tells more classes apart than they name."""
    last, named = (getattr(model, "output_shape", None) or (None,))[-1], len(data.spec.class_names)
    if not isinstance(last, int) or not named or last <= max(named, 2):
        return data
    cli.say(
        f"{data.spec.name}: names {named} classes, and the model tells {last:,} apart, so its labels are not used: the"
        " file is compared with predict alone"
    )
    splits = {name: dataclasses.replace(getattr(data, name), y=None) for name in ("train", "validation", "test")}
    return dataclasses.replace(data, spec=dataclasses.replace(data.spec, class_names=()), **splits)


def _range_of(model: Any, data: Any) -> tuple[float, float]:
    """Return the range of pixels in which a classifier is right most often, and say so.

    Raises:
        UsageError: No range is clearly ahead.
    """
    import numpy as np

    from zoo.tasks.own_model import outputs_of

    few = data.train.take(np.random.default_rng(0).permutation(len(data.train))[:TRIED])
    right = {}
    for pair in RANGES:
        try:
            (outputs, *_) = outputs_of(model, few.x, dataclasses.replace(data.spec, pixel_range=pair))
        except Exception:  # the user's own code may raise anything
            takes = [tuple(each.shape[1:]) for each in getattr(model, "inputs", None) or ()]
            raise UsageError(
                f"model {model.name}: expected images that it takes"
                f"{''.join(f', {shape}' for shape in takes)}, received {few.x.shape[1:]} for each example"
            ) from None
        fits = few.y is not None and outputs.ndim == few.y.ndim + 1
        right[pair] = float((outputs.argmax(-1) == few.y).mean()) if fits else 0.0
    best, second = sorted(RANGES, key=lambda pair: -right[pair])[:2]
    listed = ", ".join(f"{low:g},{high:g}: {right[low, high]:.1%}" for low, high in RANGES)
    if right[best] - right[second] < AHEAD:
        raise UsageError(
            "--input-range: expected LOW,HIGH, what the model takes for the darkest and the brightest pixel; it cannot"
            f" be told from the answers for {len(few)} training images (right with {listed})"
        )
    cli.say(
        f"--input-range {best[0]:g},{best[1]:g}: the answers for {len(few)} training images are right most often with"
        f" it ({listed})"
    )
    return best
