"""Look at data and choose a model for them. Every rule says what it chose and why, so that it can be overruled."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.config import task_facts
from zoo.config.masks import MASKS
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data import Dataset, load
from zoo.data.annotations import layouts
from zoo.data.events.source import ITEMS, USERS
from zoo.data.tabular import header
from zoo.data.tabular.table import read
from zoo.pretrained import kept

# Pictures of this side or less keep their size: digits, icons, CIFAR-10.
SMALL = 40
# Side that smaller pictures are brought to for the cnn, which needs 18 pixels for its convolutions and pools.
LEAST, GROWN = 18, 28
# Side of larger pictures: that of MLPerf Tiny's visual wake words, and that of transfer from ImageNet weights.
SIDE, SIDE_OF_IMAGENET = 96, 160
# Pictures with masks of this side or less are learnt by a U-Net; larger ones are brought to a side of 256 pixels.
SMALL_MASKS, SIDE_OF_MASKS = 64, 256


@dataclasses.dataclass(frozen=True)
class Choice:
    """A model for data.

    Args:
        taken_for: What the data were taken for.
        model: Name of the model.
        why: Why this model, as a sentence.
        words: Further words of `zoo.train` for this model.
        reading: Words of `zoo.train` that say how the data are read, for any model.
        recipe: Recipe of the file without a budget.
    """

    taken_for: str
    model: str
    why: str
    words: tuple[str, ...] = ()
    reading: tuple[str, ...] = ()
    recipe: str = "int8"


def choose(data: Path, options: Mapping[str, Any]) -> tuple[Choice, Dataset]:
    """Return the model for data, and the data.

    Args:
        data: Folder of pictures or sounds by class, of pictures with masks or boxes, table, or arrays.
        options: Options of `zoo.train` that say how the data are read.

    Raises:
        UsageError: The data cannot be read, or are of a kind that no rule is for.
    """
    if options.get("normal_class"):
        return _for_anomalies(data, options)
    if _has_events(data, options):
        return _for_events(data, options)
    if options.get("target_column") or options.get("label_columns"):
        return _for_rows(data, options)
    if options.get("horizon"):
        found = load(TrainConfig(model="dlinear", data=data, task="forecasting", **options).resolved())
        why = "two linear layers are hard to beat on series, and their file is small"
        return Choice("time series to forecast", "dlinear", why, reading=("--task", "forecasting")), found
    if options.get("window"):
        found = load(TrainConfig(model="conv1d", data=data, **options).resolved())
        steps, columns = found.spec.input_shape
        why = "convolutions over time become a small file of integers"
        taken = f"windows of {steps} samples of {columns} column{'s' * (columns > 1)}"
        return Choice(taken, "conv1d", why), found
    if layouts.is_annotated(data):
        found = load(TrainConfig(model="detector", data=data, **options).resolved())
        return _for_objects(found), found
    config = TrainConfig(model="simplenet", data=data, **options).resolved()
    found = load(config)
    spec = found.spec
    if task_facts.of(spec.task).own_folder == MASKS:
        return _for_masks(found, options), found
    if spec.kind == "image":
        return _for_pictures(found, options), found
    if spec.kind == "tokens":
        return Choice("texts by class", "transformer", "a transformer becomes an integer file without loops"), found
    if spec.kind == "sound":
        taken = f"sounds of {spec.input_shape[0] / spec.rate:.4g} s at {spec.rate:,} Hz by class"
        why = "a small network for keyword spotting, whose file takes samples"
        return Choice(taken, "ds_cnn", why, ("--augment", "sound")), found
    if spec.kind == "sequence":
        return Choice("sequences by class", "lstm", "an LSTM reads sequences of any meaning"), found
    if spec.kind == "vector":
        return Choice("vectors by class", "simplenet", "a multi-layer perceptron takes vectors"), found
    raise UsageError(f"{data}: expected pictures, texts, sequences or vectors by class, found {spec.kind}")


def _for_anomalies(data: Path, options: Mapping[str, Any]) -> tuple[Choice, Dataset]:
    """Return the autoencoder for normal examples, and the data."""
    found = load(TrainConfig(model="autoencoder", data=data, task="anomaly", **options).resolved())
    spec = found.spec
    kind = {"image": "pictures", "sound": "sounds", "sequence": "windows of sensors"}.get(spec.kind, "features")
    taken = f"normal {kind} ({', '.join(spec.normal)}), from which anomalies are told"
    if spec.kind in ("image", "sequence"):
        why, model = "a convolutional autoencoder keeps places and times, and runs in TFLite Micro", "autoencoder_conv"
    else:
        why, model = "the autoencoder of MLPerf Tiny", "autoencoder"
    return Choice(taken, model, why, reading=("--task", "anomaly")), found


def _has_events(data: Path, options: Mapping[str, Any]) -> bool:
    """Return whether a table has a column of users and one of items, and nothing else was asked to be learnt."""
    if options.get("user_column") or options.get("item_column"):
        return True
    others = ("text_column", "label_column", "target_column", "label_columns", "horizon", "window")
    if not header.is_table(data) or any(options.get(name) for name in others):
        return False
    plain = {"".join(filter(str.isalnum, name.lower())) for name in header.columns_of(data)}
    return all(not plain.isdisjoint(known) for known in (USERS, ITEMS))


def _for_events(data: Path, options: Mapping[str, Any]) -> tuple[Choice, Dataset]:
    """Return the model for events of users and items, and the events."""
    model = "matrix_factorization" if options.get("rating_column") else "two_tower"
    found = load(TrainConfig(model=model, data=data, **options).resolved())
    taken = f"events of {len(found.spec.events.users):,} users and {len(found.spec.events.items):,} items"
    why = (
        "the product of two tables of vectors predicts ratings"
        if options.get("rating_column")
        else "the product of two vectors ranks items, and needs no ratings"
    )
    return Choice(taken, model, why, recipe="dynamic"), found


def _for_rows(data: Path, options: Mapping[str, Any]) -> tuple[Choice, Dataset]:
    """Return the model for rows of a table, and the rows: of classes if the column to predict has texts."""
    if options.get("label_columns"):
        task = "multilabel"
    else:
        (path, *_) = header.in_folder(data).values() if data.is_dir() else (data,)
        header.check_columns(path, options["target_column"], "--target-column")
        first = options["target_column"][0]
        task = "classification" if read(path, columns=[first]).kind(first) == "texts" else "regression"
    found = load(TrainConfig(model="tabular", data=data, task=task, **options).resolved())
    taken = f"rows of {len(found.spec.inputs)} inputs with {task_facts.of(task).gives}"
    why = "a multi-layer perceptron with features of numbers, dates, words and categories takes raw columns"
    return Choice(taken, "tabular", why, reading=("--task", task)), found


def _for_pictures(found: Dataset, options: Mapping[str, Any]) -> Choice:
    height, width, channels = found.spec.input_shape
    side = max(height, width)
    taken = f"pictures of {height}x{width} with {'one channel' if channels == 1 else f'{channels} channels'} by class"
    if side <= SMALL and channels == 1:
        grown = ("--image-size", str(GROWN)) if min(height, width) < LEAST and "image_size" not in options else ()
        return Choice(taken, "cnn", "a few convolutions are enough for small grey pictures", reading=grown)
    if side <= SMALL:
        return Choice(
            taken, "resnet", "MLPerf Tiny's ResNet-8 is measured on pictures of this size", ("--set", "depth=8")
        )
    fetched = channels == 3 and kept.path("efficientnet_lite").is_file()
    wanted = SIDE_OF_IMAGENET if fetched else SIDE
    reading = () if "image_size" in options else ("--image-size", str(wanted))
    if fetched:
        why = "its ImageNet weights are in the cache of zoo.fetch"
        return Choice(taken, "efficientnet_lite", why, ("--pretrained", "imagenet"), reading)
    why = "a small MobileNetV2 fits devices; after `python -m zoo.fetch efficientnet_lite`, trained weights are used"
    return Choice(taken, "mobilenet_v2", why, ("--set", "alpha=0.35", "--augment", "standard"), reading)


def _for_masks(found: Dataset, options: Mapping[str, Any]) -> Choice:
    height, width, _ = found.spec.input_shape
    taken = f"pictures of {height}x{width} with masks"
    if max(height, width) <= SMALL_MASKS:
        why = "a U-Net keeps the borders of small pictures"
        return Choice(taken, "unet", why, ("--set", "filters=8", "--set", "depth=2", "--augment", "standard"))
    large = max(height, width) > SIDE_OF_MASKS and "image_size" not in options
    reading = ("--image-size", str(SIDE_OF_MASKS)) if large else ()
    why = "LR-ASPP on a small MobileNetV2 fits devices"
    words = ("--set", "backbone=mobilenet_v2", "--set", "alpha=0.35", "--set", "filters=64", "--augment", "standard")
    return Choice(taken, "lraspp", why, words, reading)


def _for_objects(found: Dataset) -> Choice:
    height, width, _ = found.spec.input_shape
    why = "a feature pyramid on a small MobileNetV2 keeps boxes and scores apart in an integer file"
    words = ("--set", "backbone=mobilenet_v2", "--set", "alpha=0.35", "--set", "width=48")
    return Choice(f"pictures of {height}x{width} with boxes", "detector", why, words)


def described(choice: Choice) -> str:
    """Return a choice as a sentence."""
    words = " ".join((*choice.words, *choice.reading))
    return f"taken for {choice.taken_for}; model {choice.model}{f' ({words})' if words else ''}: {choice.why}"
