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
from zoo.pretrained import kept

# Pictures of this side or less keep their size: digits, icons, CIFAR-10.
SMALL = 40
# Side that smaller pictures are brought to for the cnn, which needs 18 pixels for its convolutions and pools.
LEAST, GROWN = 18, 28
# Side of larger pictures: that of MLPerf Tiny's visual wake words, and that of transfer from ImageNet weights.
SIDE, SIDE_OF_IMAGENET = 96, 160
# Pictures with masks of this side or less are learnt by a U-Net; larger ones are brought to a side of 256 pixels.
SMALL_MASKS, SIDE_OF_MASKS = 64, 256
SOUNDS = (".wav", ".flac", ".ogg", ".mp3")


@dataclasses.dataclass(frozen=True)
class Choice:
    """A model for data.

    Args:
        taken_for: What the data were taken for.
        model: Name of the model.
        why: Why this model, as a sentence.
        words: Further words of `zoo.train` for this model.
        reading: Words of `zoo.train` that say how the data are read, for any model.
    """

    taken_for: str
    model: str
    why: str
    words: tuple[str, ...] = ()
    reading: tuple[str, ...] = ()


def choose(data: Path, options: Mapping[str, Any]) -> tuple[Choice, Dataset]:
    """Return the model for data, and the data.

    Args:
        data: Folder of pictures by class, or with masks, table of texts, or arrays.
        options: Options of `zoo.train` that say how the data are read.

    Raises:
        UsageError: The data cannot be read, or are of a kind that no rule is for.
    """
    if data.is_dir() and (sound := next((p for p in data.rglob("*") if p.suffix.lower() in SOUNDS), None)):
        raise UsageError(f"{data}: expected pictures by class, a table or arrays, found sound such as {sound.name}")
    config = TrainConfig(model="simplenet", data=data, **options).resolved()
    found = load(config)
    spec = found.spec
    if task_facts.of(spec.task).own_folder == MASKS:
        return _for_masks(found, options), found
    if spec.kind == "image":
        return _for_pictures(found, options), found
    if spec.kind == "tokens":
        return Choice("texts by class", "transformer", "a transformer becomes an integer file without loops"), found
    if spec.kind == "sequence":
        return Choice("sequences by class", "lstm", "an LSTM reads sequences of any meaning"), found
    if spec.kind == "vector":
        return Choice("vectors by class", "simplenet", "a multi-layer perceptron takes vectors"), found
    raise UsageError(f"{data}: expected pictures, texts, sequences or vectors by class, found {spec.kind}")


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


def described(choice: Choice) -> str:
    """Return a choice as a sentence."""
    words = " ".join((*choice.words, *choice.reading))
    return f"taken for {choice.taken_for}; model {choice.model}{f' ({words})' if words else ''}: {choice.why}"
