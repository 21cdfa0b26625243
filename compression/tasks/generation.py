"""GANs as files: the generator alone, from noise to an image.

Recipes do not train the two networks against each other. They train the generator alone to draw the images that it drew
before (Aguinaldo et al., 2019).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import keras
import numpy as np

from compression.flatbuffers.interface import Interface
from compression.receipts.receipt import examples_sha256
from compression.receipts.subject import ArraySubject, reference
from compression.runtime import litert
from compression.tasks.base import Export, Form
from zoo.console.errors import UsageError
from zoo.console.figures import Intervals
from zoo.data import Dataset, DataSpec, Split
from zoo.models import Generator
from zoo.scores.judges import judge
from zoo.system.files import write_text
from zoo.tasks import generation
from zoo.tasks.parts import drawing
from zoo.tasks.parts.imitation import psnr

LEARNT_FROM = 10_000  # training codes, and images that the original draws from them
# Random seeds of the training codes and of the test codes.
TRAINING_SEED, TEST_SEED = 3, 0


@dataclass(frozen=True)
class Generation(Form):
    """How a generator becomes a file.

    Args:
        data: Codes, and the images that the original draws from them.
        interface: Input and output of the file.
        images: Data of the run, with whose test images the drawn ones are compared.
        classifier: Run in whose features they are compared; None compares principal components of pixels.
    """

    data: Dataset
    interface: Interface
    images: Dataset
    classifier: Path | None
    softmax: ClassVar[bool] = False

    @classmethod
    def exported(cls, model: keras.Model, data: Dataset) -> keras.Model:
        """Return the generator that a GAN samples with, its normalisations folded into the layers before them."""
        return plain(model)

    @classmethod
    def build(cls, made: Export) -> Self:
        return cls._drawing(made, made.options.batch, made.classifier)

    @classmethod
    def recorded(cls, made: Export, receipt: Mapping[str, Any]) -> Self:
        classifier = receipt.get("test", {}).get("classifier")
        batch = receipt["interface"]["batch"]
        return cls._drawing(made, batch, Path(classifier) if classifier else None)

    @classmethod
    def _drawing(cls, made: Export, batch: int, classifier: Path | None) -> Self:
        model, exported, data = made.model, made.exported, made.data
        spec = data.spec
        classes = spec.class_names if model.code_size > model.latent_size else ()
        learnt = Split(*_examples(model, exported, min(LEARNT_FROM, len(data.train)), TRAINING_SEED, data.train.y))
        test = Split(*_examples(model, exported, generation.SAMPLES, TEST_SEED, data.test.y))
        codes = DataSpec(spec.name, "vector", (model.code_size,), classes, task="imitation")
        imitation = Dataset(codes, learnt, learnt.take(np.arange(0)), test)
        return cls(imitation, Interface("code", (model.code_size,), output="image", batch=batch), data, classifier)

    def subject(self, model: keras.Model, original: keras.Model) -> "DrawnSubject":
        return DrawnSubject(model, self.interface, self.data.test, probabilities=False, original=original, form=self)

    def calibration(self, count: int, seed: int) -> np.ndarray:
        """Return random training codes."""
        train = self.data.train
        return train.x[np.random.default_rng(seed).permutation(len(train))[:count]]

    def examples(self, count: int, seed: int) -> np.ndarray:
        return self.calibration(count, seed)

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes that an image can be asked for; empty if the generator is not conditional."""
        return self.data.spec.class_names

    def about(self) -> dict[str, Any]:
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
        """Write the names of the classes, if there are any."""
        if self.classes:
            write_text(path.with_suffix(".labels.txt"), "".join(f"{name}\n" for name in self.classes))

    @classmethod
    def headline(cls, scores: Mapping[str, Any], intervals: Intervals | None = None) -> str:
        text, real = f"PSNR {scores['psnr']:.2f} dB against the run's own images", scores.get("against_real")
        if real is None:
            return text
        return f"{text}, Frechet distance {real['frechet_distance']:.3f}, coverage {real['coverage']:.2%}"

    @classmethod
    def comparison(cls, test: Mapping[str, Any]) -> str:
        return f"{super().comparison(test)}, in {test['litert']['against_real']['compared_in']}"

    @classmethod
    def parity(cls, parity: Mapping[str, Any]) -> list[str]:
        return [f"largest difference of a pixel from Keras {parity['largest_difference']:.1e}"]

    @classmethod
    def plotted(cls, scores: Mapping[str, Any]) -> tuple[float, str]:
        return scores["psnr"], "PSNR against the run's own images, dB"


@dataclass(frozen=True, kw_only=True)
class DrawnSubject(ArraySubject):
    """Subject of a file that draws images.

    Args:
        form: Form of the file, with the real images.
    """

    form: Generation

    def scored(self, path: Path) -> dict[str, Any]:
        """Return how near a file's images are to the original's."""
        return {"psnr": psnr(litert.run(path, self.examples.x), self.examples.y)}

    def measured(self, path: Path) -> dict[str, Any]:
        form, test = self.form, self.examples
        mine, theirs = litert.run(path, test.x), reference(self, test.x)
        difference = np.abs(mine.astype(np.float64) - theirs)
        look = judge(form.images.train, form.classifier)
        scores = {
            name: {"psnr": psnr(made, test.y), "against_real": self._against_real(look, made)}
            for name, made in (("litert", mine), ("keras", theirs))
        }
        return {
            "test": {
                "examples": len(test),
                # Of the codes alone: the images that Keras draws from them depend on the processor.
                "inputs_sha256": examples_sha256(Split(test.x, form.images.split("test").x)),
                "classifier": form.classifier and str(form.classifier),
                **scores,
            },
            "parity": {
                "largest_difference": float(difference.max()),
                "mean_difference": float(difference.mean()),
            },
            "latency": litert.latency(path, test.x[: self.interface.batch]),
        }

    def _against_real(self, look: Any, made: np.ndarray) -> dict[str, Any]:
        form = self.form
        labels = self.examples.x[:, -len(form.classes) :].argmax(-1) if form.classes else None
        return generation.compared(look, form.images.split("test").x, made, form.images.spec, labels)


def _examples(
    model: keras.Model, original: keras.Model, count: int, seed: int, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return codes, and the images that the original draws from them; classes come as often as in the labels `y`."""
    labels = np.resize(np.random.default_rng(seed).permutation(y), count) if len(y) else None
    x = drawing.codes(model, count, seed, labels)
    return x, np.asarray(original.predict(x, batch_size=drawing.BATCH, verbose=0), np.float32)


def plain(model: keras.Model) -> keras.Model:
    """Return the generator that a GAN samples with, in float32, its normalisations folded into the layers before them.

    Raises:
        UsageError: The model has no generator.
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
    """Return a layer's kernel and bias with the normalisation that follows it folded in."""
    gamma, beta, mean, variance = norm.get_weights()
    scale = gamma / np.sqrt(variance + norm.epsilon)
    shift = beta - mean * scale
    if isinstance(layer, keras.layers.Conv2DTranspose):  # (height, width, outputs, inputs)
        return [kernel * scale[:, None], shift]
    repeats = kernel.shape[-1] // len(scale)  # a flattened map has its channels last
    return [kernel * np.tile(scale, repeats), np.tile(shift, repeats)]
