"""Feature spaces for comparing generated with real images: features of a classifier, or principal components."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data import DataSpec, Split
from zoo.data.images import scaled
from zoo.introspection.hooks import calls_of
from zoo.introspection.layers import layers_of
from zoo.runs.folder import RunFolder, check_classifier
from zoo.runs.inference import probabilities

COMPONENTS = 32  # number of principal components
FITTED = 10_000  # number of images that the components are fitted to
PART = 8192  # images whose components are computed at a time
BATCH = 500  # images per batch


@dataclass(frozen=True)
class Judge:
    """A feature space in which images are compared.

    Args:
        name: Name of the features, as part of a sentence.
        look: Function from images (examples, height, width, channels), uint8 or pixels in [0, 1], to features
            (examples, features) and class probabilities (examples, classes), or None without a classifier.
        recognises: Whether `look` returns class probabilities.
    """

    name: str
    look: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray | None]]
    recognises: bool


def judge(train: Split, classifier: Path | None) -> Judge:
    """Return the feature space of a classifier, or of the training images' pixels without one.

    Args:
        train: Training images.
        classifier: Folder of a classification run, or None.
    """
    return of_run(classifier) if classifier is not None else of_pixels(train)


def of_pixels(train: Split) -> Judge:
    """Return the space of the leading principal components of training images."""
    from sklearn.decomposition import PCA

    few = scaled(train.x[:FITTED]).reshape(min(len(train), FITTED), -1)
    count = min(COMPONENTS, *few.shape)
    found = PCA(count, svd_solver="randomized", random_state=0).fit(few)

    def look(images: np.ndarray) -> tuple[np.ndarray, None]:
        starts = range(0, len(images), PART)  # images may be decoded when they are looked at
        parts = [scaled(images[start : start + PART]) for start in starts]
        return np.concatenate([found.transform(part.reshape(len(part), -1)) for part in parts]), None

    return Judge(f"{count} principal components of pixels", look, recognises=False)


def of_run(path: Path) -> Judge:
    """Return the feature space of a trained classifier: the inputs of its last layer with weights.

    Args:
        path: Folder of the run.
    """
    model = RunFolder(path).load_model()

    def look(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        seen = [_seen(model, scaled(images[start : start + BATCH])) for start in range(0, len(images), BATCH)]
        features, logits = (np.concatenate(parts) for parts in zip(*seen, strict=True))
        return features, probabilities(logits)

    return Judge(f"the features of {path}", look, recognises=True)


def _seen(model: keras.Model, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the features and the logits of a batch."""
    inner = [layer for layer in layers_of(model) if layer._trainable_variables]
    last = calls_of(model, keras.ops.convert_to_tensor(images), inner)[-1]
    features, logits = (keras.ops.convert_to_numpy(keras.ops.cast(x, "float32")) for x in (last.inputs[0], last.output))
    return features.reshape(len(images), -1), logits


def check(config: TrainConfig, spec: DataSpec) -> None:
    """Raise UsageError unless the configured classifier takes images like those of the data.

    Args:
        config: Configuration, which may name a classifier.
        spec: Specification of the data.
    """
    if config.classifier is None:
        return
    theirs = check_classifier(config.classifier)
    if theirs["kind"] != "image" or tuple(theirs["input_shape"]) != spec.input_shape:
        raise UsageError(
            f"--classifier {config.classifier}: expected a run on images of shape {spec.input_shape}, the shape of"
            f" {spec.name}, received a run on {theirs['kind']} inputs of shape {tuple(theirs['input_shape'])}"
        )
    if tuple(theirs["class_names"]) != spec.class_names:
        raise UsageError(
            f"--classifier {config.classifier}: expected a run with the {spec.num_classes} classes of {spec.name}"
            f" ({', '.join(spec.class_names[:5])}, ...), received a run with the classes"
            f" {', '.join(theirs['class_names'][:5])}, ..."
        )
