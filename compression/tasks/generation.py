"""What a run that draws images is exported as: its generator, from noise to an image.

What a recipe trains is not the game of two networks, but the generator alone, which learns to draw what it drew before
(Aguinaldo et al., 2019).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from compression.flatbuffers.interface import Interface
from compression.receipts.receipt import Subject, examples_sha256, reference
from compression.runtime import litert
from zoo.console.errors import UsageError
from zoo.data import Dataset, DataSpec, Split
from zoo.models import Generator
from zoo.scores.judges import judge
from zoo.system.files import write_text
from zoo.tasks import generation
from zoo.tasks.imitation import psnr

LEARNT_FROM = 10_000  # codes, and images that the original draws of them
# Of the codes that are learnt from, and of those that are measured with.
TRAINING_SEED, TEST_SEED = 3, 0


@dataclass(frozen=True)
class Drawn:
    """How a generator becomes a file, and what it is measured by.

    Args:
        data: codes and the images that the original draws of them.
        interface: of the file.
        images: the run's own data; its test images are what samples are compared with.
        classifier: the run in whose features they are compared; without one, in principal components of pixels.
    """

    data: Dataset
    interface: Interface
    images: Dataset
    classifier: Path | None

    def subject(self, model: keras.Model, original: keras.Model) -> "DrawnSubject":
        """Return what a file of a model is measured against."""
        return DrawnSubject(model, self, original)

    def calibration(self, count: int, seed: int) -> np.ndarray:
        """Return codes as the file takes them."""
        train = self.data.train
        return train.x[np.random.default_rng(seed).permutation(len(train))[:count]]

    def examples(self, count: int, seed: int) -> np.ndarray:
        """Return codes as the model takes them."""
        return self.calibration(count, seed)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that images are asked for by, none where they are drawn without."""
        return self.data.spec.class_names

    def about(self) -> dict[str, Any]:
        """Return what somebody who has only the file must know to use it."""
        latent = self.interface.shape[0] - len(self.classes)
        values = f"{latent} numbers of the standard normal distribution"
        if self.classes:
            values += ", then a 1 for the class that is asked for and a 0 for every other"
        return {
            "task": "generation",
            "labels": list(self.classes),
            "input": {"name": self.interface.name, "shape": list(self.interface.shape), "values": values},
            "output": {"name": self.interface.output, "values": "pixels from 0 to 1"},
        }

    def write_beside(self, path: Path) -> None:
        """Write what goes with a file: the names of the classes, where there are any."""
        if self.classes:
            write_text(path.with_suffix(".labels.txt"), "".join(f"{name}\n" for name in self.classes))


@dataclass(frozen=True)
class DrawnSubject:
    """What a file that draws images was made from and is measured against.

    Args:
        model: in Keras.
        form: the codes, and what their images are compared with.
        original: whose weights in float32 the file's size is compared with.
    """

    model: keras.Model
    form: Drawn
    original: keras.Model

    @property
    def _plain(self) -> Subject:
        """The same as a subject of numbers that are compared as they are."""
        form = self.form
        return Subject(self.model, form.interface, form.data.test, probabilities=False, original=self.original)

    def check_takes(self, path: Path, model: Any) -> None:
        """Raise UsageError unless the file takes codes as the generator does."""
        self._plain.check_takes(path, model)

    def scored(self, path: Path) -> dict[str, Any]:
        """Return how near a file's images are to the original's."""
        test = self.form.data.test
        return {"psnr": psnr(litert.run(path, test.x), test.y)}

    def measured(self, path: Path) -> dict[str, Any]:
        """Return the scores of a file and of Keras, how far they are apart, and what a call takes."""
        form, test = self.form, self.form.data.test
        mine, theirs = litert.run(path, test.x), reference(self._plain, test.x)
        difference = np.abs(mine.astype(np.float64) - theirs)
        look = judge(form.images.train, form.classifier)
        scores = {
            name: {"psnr": psnr(made, test.y), "against_real": self._against_real(look, made)}
            for name, made in (("litert", mine), ("keras", theirs))
        }
        return {
            "test": {
                "examples": len(test),
                "sha256": examples_sha256(test),
                "classifier": form.classifier and str(form.classifier),
                **scores,
            },
            "parity": {
                "largest_difference": float(difference.max()),
                "mean_difference": float(difference.mean()),
            },
            "latency": litert.latency(path, test.x[: form.interface.batch]),
        }

    def _against_real(self, look: Any, made: np.ndarray) -> dict[str, Any]:
        form = self.form
        labels = form.data.test.x[:, -len(form.classes) :].argmax(-1) if form.classes else None
        return generation.compared(look, form.images.split("test").x, made, form.images.spec, labels)


def form_of(model: keras.Model, original: keras.Model, data: Dataset, *, batch: int, classifier: Path | None) -> Drawn:
    """Return how a GAN becomes a file.

    Args:
        model: a GAN.
        original: its generator, see `plain`.
        data: the run's.
        batch: static batch size of the file.
        classifier: see `Drawn`.
    """
    spec = data.spec
    classes = spec.class_names if model.code_size > model.latent_size else ()
    learnt = Split(*_examples(model, original, min(LEARNT_FROM, len(data.train)), TRAINING_SEED, data.train.y))
    test = Split(*_examples(model, original, generation.SAMPLES, TEST_SEED, data.test.y))
    codes = DataSpec(spec.name, "vector", (model.code_size,), classes, task="imitation")
    imitation = Dataset(codes, learnt, learnt.take(np.arange(0)), test)
    interface = Interface("code", (model.code_size,), output="image", batch=batch)
    return Drawn(imitation, interface, data, classifier)


def _examples(model, original, count, seed, y) -> tuple[np.ndarray, np.ndarray]:
    """Return codes, and what the original draws of them; classes come as often as in the data."""
    labels = np.resize(np.random.default_rng(seed).permutation(y), count) if len(y) else None
    x = generation.codes(model, count, seed, labels)
    return x, np.asarray(original.predict(x, batch_size=generation.BATCH, verbose=0), np.float32)


def plain(model: keras.Model) -> keras.Model:
    """Return the generator that a GAN samples with, in float32, its normalisations moved into the layers before them.

    Raises:
        UsageError: a model without one.
    """
    if not isinstance(getattr(model, "average", None), Generator):
        raise UsageError(
            f"model {model.name}: expected a model with a generator, such as zoo.models.GAN; this one has none"
        )
    source = model.average
    changes = {"batch_norm": False, "dtype": "float32", "name": "generator", "trainable": True}
    made = Generator.from_config(source.get_config() | changes)
    made.build((None, model.code_size))
    for index, (mine, theirs) in enumerate(zip(made.hidden, source.hidden, strict=True)):
        weights = theirs.get_weights()
        mine.set_weights(_folded(theirs, weights[0], source.norms[index]) if source.batch_norm else weights)
    made.image.set_weights(source.image.get_weights())
    return made


def _folded(layer: Any, kernel: np.ndarray, norm: Any) -> list[np.ndarray]:
    """Return the kernel and the bias of a layer that gives what the normalisation behind it gave."""
    gamma, beta, mean, variance = norm.get_weights()
    scale = gamma / np.sqrt(variance + norm.epsilon)
    shift = beta - mean * scale
    if isinstance(layer, keras.layers.Conv2DTranspose):  # (height, width, outputs, inputs)
        return [kernel * scale[:, None], shift]
    repeats = kernel.shape[-1] // len(scale)  # a map's channels lie behind each other, position by position
    return [kernel * np.tile(scale, repeats), np.tile(shift, repeats)]
