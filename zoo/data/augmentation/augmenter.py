"""Apply the words of `--augment` to a batch."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from zoo.config import augmentation
from zoo.config.augmentation import Word
from zoo.config.train_config import TrainConfig
from zoo.data.augmentation import colours, geometry, mixing, randaugment, sounds
from zoo.data.augmentation.draws import Draws
from zoo.data.augmentation.geometry import Affine
from zoo.data.augmentation.sounds import Sounds

# How labels follow an affine map of images of a (height, width).
Follow = Callable[[Affine, Any, tuple[int, int]], Any]
# Largest ratio of the sides of an erased rectangle (Zhong et al., 2020).
MOST_ASPECT = 3.3
LEAST_AREA = 0.02


class Augmenter:
    """Changes the examples of batches at random, the same for the same seed, epoch and example.

    Args:
        words: Words of the recipe, in order.
        seed: Random seed.
        num_classes: Number of classes; if images are mixed, labels become probabilities of the classes.
        follow: Function of an affine map, labels and the (height, width) of their images to the labels of the moved
            images, for labels that are places in an image, such as masks or boxes. None for labels of whole images.
        sound: Rate and noise, if the examples are samples of sound.
        fill: What lies outside an image, whatever the words say: black where labels cannot follow a reflection.
    """

    def __init__(
        self,
        words: Sequence[Word],
        seed: int,
        num_classes: int,
        follow: Follow | None = None,
        sound: Sounds | None = None,
        fill: augmentation.Fill | None = None,
    ):
        self.words, self.seed, self.num_classes, self.follow = tuple(words), seed, num_classes, follow
        self.sound, self.fill = sound, fill
        self.mixes = any(word.mixes for word in words)

    def __call__(self, images: Any, labels: Any, index: Any, epoch: Any) -> tuple[Any, Any]:
        """Return the changed images and their labels; tensors of the backend.

        Args:
            images: Images (batch, height, width, channels), pixels in [0, 1]; or samples of sound (batch, samples).
            labels: Class indices (batch,), unchanged unless images are mixed; or labels that follow their images.
            index: Index of each example among the training examples, (batch,).
            epoch: Epoch of each example (batch,), or of all.
        """
        if self.mixes:
            labels = ops.one_hot(ops.cast(labels, "int32"), self.num_classes, dtype="float32")
        waiting: Affine | None = None  # affine maps are composed until another word needs the pixels
        for stream, word in enumerate(self.words):
            draws = Draws(self.seed, epoch, index, stream)
            if make := _MAPS.get(type(word)):
                found = self._filled(make(word, images, draws))
                if waiting and waiting.fill and found.fill and waiting.fill != found.fill:
                    (images, labels), waiting = self._moved(waiting, images, labels), None
                waiting = found.after(waiting) if waiting else found
                continue
            if waiting:
                (images, labels), waiting = self._moved(waiting, images, labels), None
            if change := _CHANGES.get(type(word)):
                images = change(word, images, draws)
            elif change := _SOUND_CHANGES.get(type(word)):
                images = change(word, images, draws, self.sound)
            elif type(word) is augmentation.RandAugment:
                images, labels = _randaugment(word, images, labels, draws, self._moved)
            else:
                images, labels = _MIXTURES[type(word)](word, images, labels, draws)
        return self._moved(waiting, images, labels) if waiting else (images, labels)

    def _moved(self, affine: Affine, images: Any, labels: Any) -> tuple[Any, Any]:
        """Return images and labels after an affine map."""
        affine = self._filled(affine)
        return affine(images), self.follow(affine, labels, images.shape[1:3]) if self.follow else labels

    def _filled(self, affine: Affine) -> Affine:
        return dataclasses.replace(affine, fill=self.fill) if self.fill and affine.fill else affine

    def on_arrays(
        self, images: np.ndarray, labels: np.ndarray, index: np.ndarray, epoch: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return `__call__` of arrays as arrays, computed on the host."""
        with keras.device("cpu:0"):
            found = self(*map(ops.convert_to_tensor, (images, labels, index.astype(np.int32))), epoch)
        return tuple(map(np.asarray, map(ops.convert_to_numpy, found)))


def of(
    config: TrainConfig,
    num_classes: int,
    follow: Follow | None = None,
    sound: Sounds | None = None,
    fill: augmentation.Fill | None = None,
) -> Augmenter | None:
    """Return the augmenter of a configuration, None if images stay as they are.

    Args:
        config: Resolved configuration.
        num_classes: Number of classes of the data.
        follow: How labels follow their images; see `Augmenter`.
        sound: Rate and noise of sound.
        fill: What lies outside an image; see `Augmenter`.
    """
    words = config.augmentation
    return Augmenter(words, config.seed, num_classes, follow, sound, fill) if words else None


def _flip(word: augmentation.Flip, images: Any, draws: Draws) -> Affine:
    def sign(flipped: bool) -> Any:
        return draws.sign() if flipped else 1.0

    return geometry.scale(sign(word.axis != "vertical"), sign(word.axis != "horizontal"), fill=None)


def _shift(word: augmentation.Shift | augmentation.Crop, images: Any, draws: Draws) -> Affine:
    down, right = (word.most(side) for side in images.shape[1:3])
    return geometry.shift(draws.integer(-right, right), draws.integer(-down, down), word.fill)


def _rotate(word: augmentation.Rotate, images: Any, draws: Draws) -> Affine:
    return geometry.rotation(draws.uniform(-word.degrees, word.degrees))


def _zoom(word: augmentation.Zoom, images: Any, draws: Draws) -> Affine:
    factor = draws.uniform(1 - word.share, 1 + word.share)
    return geometry.scale(factor, factor)


def _colour(word: augmentation.Colour, images: Any, draws: Draws) -> Any:
    return colours.jittered(images, *(draws.uniform(1 - word.strength, 1 + word.strength) for _ in range(3)))


def _erase(word: augmentation.Erase, images: Any, draws: Draws) -> Any:
    area, aspect = draws.uniform(LEAST_AREA, word.area), draws.uniform(-1.0, 1.0)
    sides = ops.sqrt(area) * ops.power(MOST_ASPECT, aspect / 2), ops.sqrt(area) * ops.power(MOST_ASPECT, -aspect / 2)
    box = ops.logical_and(mixing.boxes(images, *sides, draws), colours.each(draws.uniform() < word.probability))
    return ops.where(box, ops.mean(images, axis=(1, 2), keepdims=True), images)


def _randaugment(
    word: augmentation.RandAugment, images: Any, labels: Any, draws: Draws, move: randaugment.Move
) -> tuple[Any, Any]:
    for _ in range(word.count):
        level = word.magnitude / augmentation.MOST_MAGNITUDE
        images, labels = randaugment.changed(images, labels, level, draws, move)
    return images, labels


def _mixup(word: augmentation.Mixup, images: Any, labels: Any, draws: Draws) -> tuple[Any, Any]:
    return mixing.mixup(images, labels, mixing.beta(word.alpha, draws))


def _cutmix(word: augmentation.CutMix, images: Any, labels: Any, draws: Draws) -> tuple[Any, Any]:
    side = ops.sqrt(1 - mixing.beta(word.alpha, draws))
    return mixing.cutmix(images, labels, mixing.boxes(images, side, side, draws))


def _time_shift(word: augmentation.TimeShift, x: Any, draws: Draws, sound: Sounds) -> Any:
    most = round(word.seconds * sound.rate)
    return sounds.shifted(x, draws.integer(-most, most))


def _speed(word: augmentation.Speed, x: Any, draws: Draws, sound: Sounds) -> Any:
    return sounds.played(x, draws.uniform(1 - word.share, 1 + word.share))


def _gain(word: augmentation.Gain, x: Any, draws: Draws, sound: Sounds) -> Any:
    return sounds.amplified(x, draws.uniform(-word.decibels, word.decibels))


def _equalize(word: augmentation.Equalize, x: Any, draws: Draws, sound: Sounds) -> Any:
    return sounds.equalized(x, word.decibels, draws)


def _noise(word: augmentation.Noise, x: Any, draws: Draws, sound: Sounds) -> Any:
    ratio, mixed = draws.uniform(word.lowest, word.highest), draws.uniform() < word.probability
    return sounds.noisy(x, ratio, mixed, sound.noise, draws)


def _spec_augment(word: augmentation.SpecAugment, x: Any, draws: Draws, sound: Sounds) -> Any:
    for _ in range(word.masks):
        x = sounds.without_frequencies(x, draws.uniform(0, word.frequency), draws)
        x = sounds.without_times(x, draws.uniform(0, word.time), draws)
    return x


_MAPS: dict[type[Word], Callable[..., Affine]] = {
    augmentation.Flip: _flip,
    augmentation.Shift: _shift,
    augmentation.Crop: _shift,
    augmentation.Rotate: _rotate,
    augmentation.Zoom: _zoom,
}
_CHANGES: dict[type[Word], Callable[..., Any]] = {
    augmentation.Colour: _colour,
    augmentation.Erase: _erase,
}
_MIXTURES: dict[type[Word], Callable[..., tuple[Any, Any]]] = {
    augmentation.Mixup: _mixup,
    augmentation.CutMix: _cutmix,
}
_SOUND_CHANGES: dict[type[Word], Callable[..., Any]] = {
    augmentation.TimeShift: _time_shift,
    augmentation.Speed: _speed,
    augmentation.Gain: _gain,
    augmentation.Equalize: _equalize,
    augmentation.Noise: _noise,
    augmentation.SpecAugment: _spec_augment,
}
