"""Generation: draw images like those of a data set from noise, and measure how close they are to real ones."""

from pathlib import Path
from typing import Any

import keras
import numpy as np

from zoo.config import registry
from zoo.config.run_options import IMAGES, GenerateOptions
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
from zoo.system.files import replacing
from zoo.tasks import base
from zoo.tasks.base import Task
from zoo.tasks.pages import samples as sample_page
from zoo.tasks.parts import drawing, requests
from zoo.tasks.parts.drawing import SHOWN, SURE, codes, columns, draw, grid_labels
from zoo.tasks.parts.sampler import Sampler

# Number of images that scores are measured on, as in most papers on GANs.
SAMPLES = 10_000
# Why most scores have no interval. Shares of samples have one, over samples.
NO_INTERVALS = (
    "Frechet distance, density, coverage, precision and recall compare two sets of images as a whole, and are not means"
    " over examples. A bootstrap, which draws images twice, would change their meaning. Diversity and the share of the"
    " rarest class are not means either"
)


class Generation(Task):
    """Draw images like those of a data set."""

    name = "generation"

    def arguments(self, config: TrainConfig, spec: DataSpec) -> dict[str, Any]:
        judges.check(config, spec)
        return {**config.settings, "num_classes": spec.num_classes}

    def inputs(self, model: keras.Model, spec: DataSpec) -> Any:
        """Return symbolic real images, codes and the shares in which the gradient penalty mixes images."""
        shapes = self.build_shape(spec), (None, model.code_size), (None, 1)
        return tuple(keras.KerasTensor((1, *shape[1:]), "float32") for shape in shapes)

    def compiled_with(self, config: TrainConfig, spec: DataSpec) -> dict[str, Any]:
        """Return the loss of each output, without metrics."""
        return {"loss": _losses(config)}

    def training_batches(self, config: TrainConfig, data: Dataset, batch_size: int, start: int, stop: int) -> Any:
        """Return batches of real images, codes and mixing shares, with targets that the losses ignore."""
        train, settings, outputs = data.train, _settings(config), list(_losses(config))
        classes = data.spec.num_classes if settings["conditional"] else 0

        def make(chosen: np.ndarray, rng: np.random.Generator) -> tuple[Any, dict[str, np.ndarray]]:
            found = train.take(chosen)
            noise = rng.standard_normal((len(chosen), settings["latent_size"]), np.float32)
            mix = rng.random((len(chosen), 1), np.float32)
            nothing = np.zeros((len(chosen), 1), np.float32)
            return (scaled(found.x), drawing.coded(noise, found.y, classes), mix), dict.fromkeys(outputs, nothing)

        return for_engine(
            StepBatches(make, len(train), batch_size=batch_size, seed=config.seed, start=start, stop=stop)
        )

    def callbacks(self, config: TrainConfig, run: RunFolder, data: Dataset) -> list[keras.callbacks.Callback]:
        """Return the callback that draws and scores samples at the end of each epoch.

        Losses only tell how the two networks compare to each other, so epochs are ranked by samples.
        """
        fewest = 1 + max(NEIGHBOURS.values())
        for split, count in (("test", len(data.test)), ("validation", len(data.validation) or fewest)):
            if count < fewest:
                raise UsageError(f"--{split}-split: expected {fewest} images or more to compare with, received {count}")
        return [Sampler(config, run, data, judges.judge(data.train, config.classifier))]

    def rank(self, row: dict[str, Any]) -> tuple[float, ...]:
        return (-row["val_frechet_distance"],)

    def measured_with(self, config: TrainConfig) -> dict[str, Any]:
        return {"classifier": config.classifier}

    def measure(
        self, model: keras.Model, data: Dataset, split: str = "test", classifier: Path | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the scores of samples against a split, the first images of both, and intervals of shares of samples.

        Args:
            model: Model with `code_size`, `latent_size` and `sample`, such as `zoo.models.GAN`.
            data: Data that the split belongs to. Without a classifier, images are compared in principal components of
                the training images.
            split: train, validation or test.
            classifier: Run folder of a classifier, in whose features images are compared.
        """
        examples = data.split(split)
        labels = None
        if drawing.classes(model):
            labels = np.resize(np.random.default_rng(0).permutation(examples.y), SAMPLES)
        made = draw(model, codes(model, SAMPLES, seed=0, labels=labels))
        found = compared(judges.judge(data.train, classifier), examples.x, made, data.spec, labels)
        within = intervals.of_shares(found, dict.fromkeys(("recognised", "as_asked"), len(made)))
        shown = {"made": made[:SHOWN], "real": examples.x[:SHOWN], "intervals": within, "no_intervals": NO_INTERVALS}
        return {"examples": len(examples), **found}, shown

    def remarks(self, history: list[dict[str, Any]]) -> dict[str, Any]:
        return drawing.remarks(history)

    def save(self, run: RunFolder, data: Dataset, shown: dict[str, Any]) -> None:
        """Write the pictures of all epochs as an animation, samples/training.gif."""
        if pictures := sorted(run.samples.glob("epoch-*.png")):
            mosaic.animate(pictures, run.samples / "training.gif")

    def page(self, data: Dataset, scores: dict[str, Any], shown: dict[str, Any]) -> Page:
        return sample_page.page(data, scores, shown)

    def headline(self, test: dict[str, Any], within: Intervals) -> str:
        text = f"Frechet distance {test['frechet_distance']:.3f}, coverage {test['coverage']:.2%}"
        text += f" in {test['compared_in']}"
        if "recognised" in test:
            text += f", recognised {written(test, 'recognised', within)}, rarest class {test['rarest_class']:.2%}"
        return f"{text}, {test['samples']:,} samples"

    def generate(self, run: RunFolder, options: GenerateOptions) -> dict[str, Any]:
        """Draw images, and write them as one picture and as an .npz file."""
        names, count = run.read_config()["data"]["class_names"], IMAGES if options.count is None else options.count
        model, path = run.load_model(), requests.picture(run, options)
        if options.label is None:
            labels, wide = grid_labels(model, count), columns(model, count)
        else:
            labels, wide = np.full(count, names.index(options.label)), int(np.ceil(np.sqrt(count)))
        images = draw(model, codes(model, count, options.seed, labels))
        mosaic.save(mosaic.mosaic(images, wide), path)
        arrays = {"x": images} | ({} if labels is None else {"y": labels.astype(np.int32)})
        with replacing(path.with_suffix(".npz")) as temporary:
            np.savez(temporary, **arrays)
        return {"count": count, "seed": options.seed, "images": str(path.with_suffix(".npz")), "path": str(path)}

    def example_spec(self, input_shape: tuple[int, ...] | None = None, size: int | None = None) -> DataSpec:
        names = tuple(map(str, range(size or 2)))
        return DataSpec("example", "image", input_shape or base.IMAGE, names, task=self.name)

    def example_batch(self, config: TrainConfig, spec: DataSpec, batch_size: int) -> tuple[Any, ...]:
        return base.made_batch(self, config, spec, batch_size)


def compared(
    judge: Judge, real: np.ndarray, made: np.ndarray, spec: DataSpec, labels: np.ndarray | None = None
) -> dict[str, Any]:
    """Return the scores of drawn images against real ones.

    Distances depend on the number of images, so the same number of both is compared. Classes are counted in all of the
    drawn images.

    Args:
        judge: Features in which images are compared.
        real: Real images, (images, height, width, channels), bytes or pixels in [0, 1].
        made: Drawn images, (images, height, width, channels), pixels in [0, 1].
        spec: Form of the data, which names the classes.
        labels: Classes that the images were drawn for, (images,).
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


def _settings(config: TrainConfig) -> dict[str, Any]:
    """Return all constructor arguments of a GAN, defaults included."""
    return {name: argument.default for name, argument in registry.arguments(config.model).items()} | config.settings


def _losses(config: TrainConfig) -> dict[str, keras.losses.Loss]:
    """Return the loss of each output of the model."""
    settings = _settings(config)
    found = {side: Adversarial(settings["loss"], side) for side in ("real", "fake", "generator")}
    penalties = {"gradient_penalty": settings["loss"] == "wasserstein", "r1": settings["r1"] > 0}
    return found | {name: Mean() for name, asked in penalties.items() if asked}


TASK = Generation()
