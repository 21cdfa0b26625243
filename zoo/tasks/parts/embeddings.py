"""Embeddings of images and captions, and the scores of their pairs."""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from zoo.data.images import scaled
from zoo.objectives.pair_loss import Head, pair_scores

# Number of images or captions that are encoded at once, and of pairs that the loss compares in evaluation.
BATCH = 256
# Ranks at which recall is measured.
RANKS = (1, 5, 10)
# Maximum number of scores in memory at once.
CELLS = 1 << 24


@dataclass(frozen=True)
class Embedded:
    """Outputs of the two towers of a model, or of an exported file.

    Args:
        images: Embeddings of images, (images, width) float32.
        texts: Embeddings of every caption of a set, (captions, width) float32.
        weights: Weights of `pair_scores`, (width,).
        head: How a pair is scored.
    """

    images: np.ndarray
    texts: np.ndarray
    weights: np.ndarray
    head: Head

    def scores(self, images: np.ndarray, texts: np.ndarray) -> np.ndarray:
        """Return the scores of all pairs of embedded images and texts, (images, texts)."""
        wide = self.weights.size * len(texts) if self.head == "fusion" else len(texts)
        step = max(1, CELLS // max(wide, 1))
        parts = [
            ops.convert_to_numpy(pair_scores(images[i : i + step], texts, self.weights, self.head))
            for i in range(0, len(images), step)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, len(texts)), np.float32)

    def class_scores(self, of_class: tuple[tuple[int, ...], ...]) -> np.ndarray:
        """Return the scores of images with classes, (images, classes), where a class is represented by its captions.

        The cosine head takes the normalised mean of their embeddings (Radford et al., 2021, 3.1.4), the fusion head the
        mean of their scores.

        Args:
            of_class: Indices of the captions of each class.
        """
        if self.head == "fusion":
            texts = [self.scores(self.images, self.texts[list(group)]).mean(axis=1) for group in of_class]
            return np.stack(texts, axis=1)
        means = np.stack([self.texts[list(group)].mean(axis=0) for group in of_class])
        return self.scores(self.images, means / np.linalg.norm(means, axis=1, keepdims=True))


def embedded(model: keras.Model, images: np.ndarray, ids: np.ndarray) -> Embedded:
    """Return the embeddings of images and captions.

    Args:
        model: Model of two towers, such as `zoo.models.CrossModal`.
        images: Images, (images, height, width, channels), bytes or pixels in [0, 1].
        ids: Token ids of captions, (captions, time).
    """
    weights = ops.convert_to_numpy(model.pair_weights())
    return Embedded(_in_batches(model.encode_image, images), _in_batches(model.encode_text, ids), weights, model.head)


def _in_batches(encode: Callable, x: np.ndarray) -> np.ndarray:
    parts = [
        np.asarray(ops.convert_to_numpy(encode(ops.convert_to_tensor(scaled(x[i : i + BATCH])))), np.float32)
        for i in range(0, len(x), BATCH)
    ]
    return np.concatenate(parts)
