"""`python -m zoo.augment`: list the recipes and words of `--augment`, or draw what they do to images."""

import functools
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from strategies import backend
from zoo.config import augmentation
from zoo.config.catalogue import check_source
from zoo.config.options import SEEDS, option
from zoo.config.train_config import TrainConfig, flag
from zoo.console import cli
from zoo.console.errors import UsageError
from zoo.data import Dataset, load


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `zoo.augment`."""

    preview: bool = option("write a contact sheet: images as they are, and as the first epochs see them", False)
    augment: str = option("recipe, or words joined by +, such as 'flip + crop(4)'", "standard", metavar="RECIPE")
    dataset: str | None = option("data set: an embedded one or any TFDS name (default: digits)")
    data: Path | None = option("own images: a folder by class, or an .npz file")
    data_dir: Path | None = option("folder of prepared TFDS sets (default: TFDS' own folder)")
    image_size: int | None = option(
        "height and width in pixels to which images are resized (default: the set's own)", within=(1, 4096)
    )
    images: int = option("number of images, of all classes in turn", 6, within=(1, 100))
    epochs: int = option("number of epochs to show of each", 7, within=(1, 50))
    seed: int = option("random seed", 0, within=SEEDS)
    output: Path = option("picture to write", Path("augmented.png"))


def run(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the recipes and words with their meanings, or the path of the contact sheet."""
    options = Options(**given)
    augmentation.parse(options.augment)
    if not options.preview:
        for name in given:
            if name != "preview":
                raise UsageError(f"{flag(name)}: expected together with --preview, received without it")
        meanings = {name: " ".join(kind.__doc__.split()) for name, kind in augmentation.WORDS.items()}
        return {"recipes": augmentation.RECIPES, "words": meanings}
    names = ("augment", "dataset", "data", "data_dir", "image_size", "seed")
    config = TrainConfig(model="cnn", **{name: getattr(options, name) for name in names}).resolved()
    check_source(config)
    data = None if config.dataset_is_tfds else _images(config)  # errors of own data come before TensorFlow's import
    backend.start("tensorflow")
    return {"path": str(_draw(data or _images(config), config, options))}


def _images(config: TrainConfig) -> Dataset:
    data = load(config)
    augmentation.check_inputs(f"--augment with {data.spec.name}", config.augmentation, data.spec.task, data.spec.kind)
    return data


def _draw(data: Dataset, config: TrainConfig, options: Options) -> Path:
    """Draw a row for each image and write the sheet."""
    from zoo.data.augmentation import augmenter
    from zoo.data.images import scaled
    from zoo.reports import contact_sheet

    chosen = _of_all_classes(data.train.y, options.images)
    few, names = data.train.take(chosen), data.spec.class_names
    images, augment = scaled(few.x), augmenter.of(config, len(names))
    columns = [("as they are", images, few.y)]
    for epoch in range(options.epochs):
        found = augment.on_arrays(images, few.y, chosen, epoch) if augment else (images, few.y)
        columns.append((f"epoch {epoch + 1}", *found))
    return contact_sheet.write(options.output, f"--augment {config.augment}", columns, names)


def _of_all_classes(labels: np.ndarray, count: int) -> np.ndarray:
    """Return the indices of examples of all classes in turn, the first of each class first."""
    order = np.argsort(labels, kind="stable")
    classes, starts = np.unique(labels[order], return_index=True)
    ranks = np.arange(len(labels)) - np.repeat(starts, np.diff([*starts, len(labels)]))
    return order[np.lexsort((labels[order], ranks))][:count]


def show(result: Mapping[str, Any]) -> None:
    """Print the path of the sheet, or the recipes and words."""
    if "path" in result:
        print(result["path"])
        return
    for what, entries in result.items():
        cli.table((what, "meaning"), [(name, meaning or "images as they are") for name, meaning in entries.items()])


main = functools.partial(
    cli.command,
    Options,
    run,
    show,
    prog="python -m zoo.augment",
    description="List the recipes and words of --augment of zoo.train, or draw what they do to images.",
    examples=(
        "python -m zoo.augment",
        "python -m zoo.augment --preview --data photos --image-size 96 --augment strong",
    ),
)


if __name__ == "__main__":
    sys.exit(main())
