"""Generation: images like those of a set, drawn from noise, and how near they come to real ones."""

from pathlib import Path
from typing import Any

import keras
import numpy as np

from zoo.config import registry
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.console.figures import Intervals, written
from zoo.data import Dataset, DataSpec
from zoo.data.batches.steps import StepBatches, for_engine
from zoo.data.images import scaled
from zoo.objectives.losses import Adversarial, Mean
from zoo.reports import mosaic
from zoo.reports.page import Page
from zoo.runs.folder import RunFolder
from zoo.scores import intervals, judges
from zoo.scores.judges import Judge
from zoo.scores.sample_quality import NEIGHBOURS, diversity, frechet_distance, manifolds
from zoo.tasks.base import gathered

__all__ = ["gathered"]

# The command that a trained run is for, and what it is given.
USED_BY = ("zoo.generate", "--count", "64")
# Images that scores are of, as in most papers on GANs.
SAMPLES = 10_000
BATCH = 500  # images that are drawn at once
# Why most scores have no interval; shares of samples have, over samples.
NO_INTERVALS = (
    "Frechet distance, density, coverage, precision and recall are of two sets of images as a whole, not means over"
    " examples, and a bootstrap, which draws images twice, would change what they measure; diversity and the share of"
    " the rarest class are not means either"
)
SURE = 0.9  # probability from which an image counts as recognised
SHOWN = 64  # images on a page and in a grid
# Epochs one after the other that make a collapse or a divergence.
IN_A_ROW = 3
# Of `diversity`: real images have 1, a generator that learns well more than 0.5.
COLLAPSED = 0.2
# Times the smallest Frechet distance so far.
DIVERGED = 3.0


def arguments(config: TrainConfig, spec: DataSpec) -> dict[str, Any]:
    """Return the constructor arguments of a GAN.

    Raises:
        UsageError: options that it cannot follow, or a classifier of other images.
    """
    if config.shift:
        raise UsageError(f"--shift {config.shift}: expected 0: a generator would learn to draw images that were moved")
    if config.label_smoothing:
        raise UsageError(f"--label-smoothing {config.label_smoothing:g}: expected 0: no labels are learnt here")
    judges.check(config, spec)
    return {**config.settings, "num_classes": spec.num_classes}


def build_shape(spec: DataSpec) -> tuple[int | None, ...]:
    """Return what a GAN is built for: real images."""
    return (None, *spec.input_shape)


def compiled_with(config: TrainConfig, spec: DataSpec) -> dict[str, Any]:
    """Return the loss of each output, and no metrics."""
    return {"loss": _losses(config)}


def training_batches(config: TrainConfig, data: Dataset, batch_size: int, start: int, stop: int) -> Any:
    """Return the global steps from `start` to before `stop`, noise among them, with targets that are not looked at."""
    train, settings, outputs = data.train, _settings(config), list(_losses(config))
    classes = data.spec.num_classes if settings["conditional"] else 0

    def make(chosen: np.ndarray, rng: np.random.Generator) -> tuple[Any, dict[str, np.ndarray]]:
        found = train.take(chosen)
        noise = rng.standard_normal((len(chosen), settings["latent_size"]), np.float32)
        mix = rng.random((len(chosen), 1), np.float32)
        nothing = np.zeros((len(chosen), 1), np.float32)
        return (scaled(found.x), _coded(noise, found.y, classes), mix), dict.fromkeys(outputs, nothing)

    return for_engine(StepBatches(make, len(train), batch_size=batch_size, seed=config.seed, start=start, stop=stop))


def validation_batches(data: Dataset, stride: int) -> None:
    """Return none: a loss says how two networks stand to each other, so the samples are compared instead."""


def callbacks(config: TrainConfig, run: RunFolder, data: Dataset) -> list[keras.callbacks.Callback]:
    """Return what draws and compares samples as an epoch ends.

    Raises:
        UsageError: too few images to compare with.
    """
    from zoo.tasks.sampler import Sampler

    fewest = 1 + max(NEIGHBOURS.values())
    for split, count in (("test", len(data.test)), ("validation", len(data.validation) or fewest)):
        if count < fewest:
            raise UsageError(f"--{split}-split: expected {fewest} images or more to compare with, received {count}")
    return [Sampler(config, run, data, judges.judge(data.train, config.classifier))]


def rank(row: dict[str, Any]) -> tuple[float, ...]:
    """Return what epochs are compared by: the Frechet distance of their samples."""
    return (-row["val_frechet_distance"],)


def measured_with(config: TrainConfig) -> dict[str, Any]:
    """Return the classifier that samples are looked at with."""
    return {"classifier": config.classifier}


def measure(
    model: keras.Model, data: Dataset, split: str = "test", classifier: Path | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the scores of samples against a split, the first of both, and the intervals of shares of samples.

    Args:
        model: of `code_size`, `latent_size` and `sample`, such as `zoo.models.GAN`.
        data: the training images show what is compared in, where there is no classifier.
        split: that samples are compared with.
        classifier: the run in whose features they are.
    """
    examples = data.split(split)
    labels = np.resize(np.random.default_rng(0).permutation(examples.y), SAMPLES) if _classes(model) else None
    made = draw(model, codes(model, SAMPLES, seed=0, labels=labels))
    found = compared(judges.judge(data.train, classifier), examples.x, made, data.spec, labels)
    within = intervals.of_shares(found, dict.fromkeys(("recognised", "as_asked"), len(made)))
    shown = {"made": made[:SHOWN], "real": examples.x[:SHOWN], "intervals": within, "no_intervals": NO_INTERVALS}
    return {"examples": len(examples), **found}, shown


def compared(
    judge: Judge, real: np.ndarray, made: np.ndarray, spec: DataSpec, labels: np.ndarray | None = None
) -> dict[str, Any]:
    """Return how near made images are to real ones.

    Args:
        judge: what they are compared in.
        real: (images, height, width, channels), bytes or pixels in [0, 1]; as many are looked at as are made.
        made: (images, height, width, channels), pixels in [0, 1]; all count for classes, as many as real ones for
            distances, which depend on the number.
        spec: names the classes.
        labels: (images,) the classes that were asked for.
    """
    theirs, _ = judge.look(real[: len(made)])
    mine, answers = judge.look(made)
    few = mine[: len(theirs)]
    found = {
        "compared_in": judge.name,
        "compared": len(few),
        "samples": len(made),
        "frechet_distance": frechet_distance(theirs, few),
        **manifolds(theirs, few),
        "diversity": diversity(theirs, few),
    }
    if answers is None:
        return found
    seen = answers.argmax(-1)
    shares = np.bincount(seen, minlength=spec.num_classes) / len(made)
    asked = {} if labels is None else {"as_asked": float((seen == labels).mean())}
    return found | {
        "recognised": float((answers.max(-1) >= SURE).mean()),
        "rarest_class": float(shares.min()),
        "classes": {name: float(share) for name, share in zip(spec.class_names, shares, strict=True)},
        **asked,
    }


def remarks(history: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the epochs, from 1, at which the generator had collapsed, and those at which training had diverged.

    Collapsed: for IN_A_ROW epochs its samples were less than COLLAPSED times as diverse as real images. Diverged: for
    as many their Frechet distance was more than DIVERGED times the smallest before.
    """
    rows = [row for row in history if "val_frechet_distance" in row]
    alike = [row["val_diversity"] < COLLAPSED for row in rows]
    best = np.minimum.accumulate([row["val_frechet_distance"] for row in rows])
    far = [row["val_frechet_distance"] > DIVERGED * low for row, low in zip(rows, best, strict=True)]
    return {"collapsed": _in_a_row(rows, alike), "diverged": _in_a_row(rows, far)}


def _in_a_row(rows: list[dict[str, Any]], bad: list[bool]) -> list[int]:
    ends = range(IN_A_ROW - 1, len(rows))
    return [int(rows[i]["epoch"]) + 1 for i in ends if all(bad[i + 1 - IN_A_ROW : i + 1])]


def save(run: RunFolder, data: Dataset, shown: dict[str, Any]) -> None:
    """Write the pictures of all epochs as an animation, samples/training.gif."""
    if pictures := sorted(run.samples.glob("epoch-*.png")):
        mosaic.animate(pictures, run.samples / "training.gif")


def page(data: Dataset, found: dict[str, Any], shown: dict[str, Any]) -> Page:
    """Return what a report shows."""
    from zoo.tasks.pages import samples as sample_page

    return sample_page.page(data, found, shown)


def headline(test: dict[str, Any], within: Intervals) -> str:
    """Return the scores that matter in one line."""
    text = f"Frechet distance {test['frechet_distance']:.3f}, coverage {test['coverage']:.2%} in {test['compared_in']}"
    if "recognised" in test:
        text += f", recognised {written(test, 'recognised', within)}, rarest class {test['rarest_class']:.2%}"
    return f"{text}, {test['samples']:,} samples"


def codes(model: keras.Model, count: int, seed: int, labels: np.ndarray | None = None) -> np.ndarray:
    """Return what images are drawn from, (count, code_size) float32: of one seed the first are always the same.

    Args:
        model: as of `measure`.
        count: images.
        seed: of the noise.
        labels: (count,) class indices; for a model that draws by class.
    """
    rng = np.random.Generator(np.random.Philox(key=seed))
    return _coded(rng.standard_normal((count, model.latent_size), np.float32), labels, _classes(model))


def draw(model: keras.Model, codes: np.ndarray) -> np.ndarray:
    """Return images, (count, height, width, channels) float32, pixels in [0, 1]."""
    parts = (model.sample(keras.ops.convert_to_tensor(codes[i : i + BATCH])) for i in range(0, len(codes), BATCH))
    return np.concatenate([np.asarray(keras.ops.convert_to_numpy(part), np.float32) for part in parts])


def grid_labels(model: keras.Model, count: int) -> np.ndarray | None:
    """Return the classes of a grid, one a column; None of a model that draws without."""
    return np.arange(count) % classes if (classes := _classes(model)) else None


def columns(model: keras.Model, count: int) -> int:
    """Return how many images a row of a grid has."""
    return _classes(model) or int(np.ceil(np.sqrt(count)))


def _classes(model: keras.Model) -> int:
    return model.code_size - model.latent_size


def _coded(noise: np.ndarray, labels: np.ndarray | None, classes: int) -> np.ndarray:
    return np.concatenate([noise, np.eye(classes, dtype=np.float32)[labels]], axis=1) if classes else noise


def _settings(config: TrainConfig) -> dict[str, Any]:
    """Return the constructor arguments of a GAN, also those that nobody set."""
    return {name: argument.default for name, argument in registry.arguments(config.model).items()} | config.settings


def _losses(config: TrainConfig) -> dict[str, keras.losses.Loss]:
    """Return the loss of each output of the model."""
    settings = _settings(config)
    found = {side: Adversarial(settings["loss"], side) for side in ("real", "fake", "generator")}
    penalties = {"gradient_penalty": settings["loss"] == "wasserstein", "r1": settings["r1"] > 0}
    return found | {name: Mean() for name, asked in penalties.items() if asked}
