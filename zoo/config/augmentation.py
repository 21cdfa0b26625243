"""Words of `--augment`: how training examples are changed at random, a new way in every epoch. Standard library only.

A recipe joins words by `+`, such as `flip + crop(4) + colour(0.2)`; `RECIPES` has names for common ones. What the words
do to pixels and to samples of sound is in `zoo.data.augmentation`.
"""

import inspect
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from zoo.config import task_facts
from zoo.console import words
from zoo.console.errors import UsageError, nearest

Axis = Literal["horizontal", "vertical", "both"]
Fill = Literal["reflect", "black"]
# Largest magnitude of RandAugment.
MOST_MAGNITUDE = 10


@dataclass(frozen=True)
class Word:
    """A change of training examples.

    Attributes:
        kinds: Kinds of inputs that it changes.
        mixes: Whether an example is mixed with another one, and so are their labels.
        needs_pixels: Whether values are pixels from 0 to 1, beyond which they are cut off.
    """

    kinds: ClassVar[tuple[str, ...]] = ("image",)
    mixes: ClassVar[bool] = False
    needs_pixels: ClassVar[bool] = False

    @property
    def name(self) -> str:
        return type(self).__name__.lower()

    def expect(self, argument: str, low: float, high: float) -> None:
        """Raise UsageError unless an argument has a value from `low` to `high`."""
        value = getattr(self, argument)
        if value is None or not low <= value <= high:
            received = "none" if value is None else f"{value:g}"
            raise UsageError(
                f"{self.name}: {argument}: expected a number from {low:g} to {high:g}, received {received}"
            )


@dataclass(frozen=True)
class Flip(Word):
    """Mirror half of the images left to right, top to bottom, or both. Not for digits, letters and other signs."""

    axis: Axis = "horizontal"


@dataclass(frozen=True)
class Shift(Word):
    """Shift by up to so many pixels along both axes, and fill with black. The same as crop(pixels, fill=black)."""

    pixels: int | None = None
    fill: ClassVar[Fill] = "black"

    def __post_init__(self) -> None:
        self.expect("pixels", 1, 256)

    def most(self, side: int) -> int:
        """Return the largest shift of images of a side, in pixels."""
        return self.pixels


@dataclass(frozen=True)
class Crop(Word):
    """Pad every side and cut out a window of the old size at random (He et al., 2016): a shift by up to the padding.

    The size is the padding in pixels if it is 1 or more, otherwise its share of the side.
    """

    size: float = 0.125
    fill: Fill = "reflect"

    def __post_init__(self) -> None:
        self.expect("size", 0, 256)

    def most(self, side: int) -> int:
        """Return the largest shift of images of a side, in pixels."""
        return round(self.size if self.size >= 1 else self.size * side)


@dataclass(frozen=True)
class Rotate(Word):
    """Rotate by up to so many degrees, either way."""

    degrees: float = 15.0

    def __post_init__(self) -> None:
        self.expect("degrees", 0, 180)


@dataclass(frozen=True)
class Zoom(Word):
    """Enlarge or shrink by up to this share; the aspect ratio is kept."""

    share: float = 0.2

    def __post_init__(self) -> None:
        self.expect("share", 0, 0.9)


@dataclass(frozen=True)
class Colour(Word):
    """Multiply brightness, contrast and, of colour images, saturation by factors that differ from 1 by up to this."""

    needs_pixels: ClassVar[bool] = True
    strength: float = 0.2

    def __post_init__(self) -> None:
        self.expect("strength", 0, 1)


@dataclass(frozen=True)
class Erase(Word):
    """Fill a rectangle with the mean colour, of up to this share of the area, with this probability (Zhong et al.,
    2020)."""

    probability: float = 0.5
    area: float = 0.25

    def __post_init__(self) -> None:
        self.expect("probability", 0, 1)
        self.expect("area", 0.02, 1)


@dataclass(frozen=True)
class RandAugment(Word):
    """Apply so many of 14 changes, chosen for each image, at a magnitude from 0 to 10 (Cubuk et al., 2020)."""

    needs_pixels: ClassVar[bool] = True
    count: int = 2
    magnitude: float = 9.0

    def __post_init__(self) -> None:
        self.expect("count", 1, 14)
        self.expect("magnitude", 0, MOST_MAGNITUDE)


@dataclass(frozen=True)
class Mixup(Word):
    """Average each example, and its label, with another one, at a weight drawn from Beta(alpha, alpha) (Zhang et al.,
    2018)."""

    kinds: ClassVar[tuple[str, ...]] = ("image", "sound")
    mixes: ClassVar[bool] = True
    alpha: float = 0.2

    def __post_init__(self) -> None:
        self.expect("alpha", 0.01, 100)


@dataclass(frozen=True)
class CutMix(Word):
    """Paste a rectangle of another image; its label gets the share of the area, Beta(alpha, alpha) (Yun et al.,
    2019)."""

    mixes: ClassVar[bool] = True
    alpha: float = 1.0

    def __post_init__(self) -> None:
        self.expect("alpha", 0.01, 100)


@dataclass(frozen=True)
class SoundWord(Word):
    """A change of samples of sound."""

    kinds: ClassVar[tuple[str, ...]] = ("sound",)


@dataclass(frozen=True)
class TimeShift(SoundWord):
    """Move sound by up to so many seconds, either way, and fill with silence."""

    seconds: float = 0.1

    def __post_init__(self) -> None:
        self.expect("seconds", 0, 60)


@dataclass(frozen=True)
class Speed(SoundWord):
    """Play sound faster or slower by up to this share; the pitch follows (Ko et al., 2015)."""

    share: float = 0.1

    def __post_init__(self) -> None:
        self.expect("share", 0, 0.5)


@dataclass(frozen=True)
class Gain(SoundWord):
    """Make sound louder or softer by up to so many decibels."""

    decibels: float = 6.0

    def __post_init__(self) -> None:
        self.expect("decibels", 0, 60)


@dataclass(frozen=True)
class Equalize(SoundWord):
    """Make frequencies louder and softer along a random curve of up to so many decibels, as other microphones do."""

    decibels: float = 6.0

    def __post_init__(self) -> None:
        self.expect("decibels", 0, 60)


@dataclass(frozen=True)
class Noise(SoundWord):
    """Mix noise into sound with this probability, at a ratio of sound to noise between these decibels: recordings of
    --noise or of the folder _background_noise_, white noise without them."""

    probability: float = 0.5
    lowest: float = 5.0
    highest: float = 30.0

    def __post_init__(self) -> None:
        self.expect("probability", 0, 1)
        self.expect("lowest", -20, 80)
        self.expect("highest", self.lowest, 80)


@dataclass(frozen=True)
class SpecAugment(SoundWord):
    """Silence so many bands of frequencies and parts of the time, each up to this share of all (Park et al., 2019)."""

    masks: int = 1
    frequency: float = 0.15
    time: float = 0.1

    def __post_init__(self) -> None:
        self.expect("masks", 1, 10)
        self.expect("frequency", 0, 1)
        self.expect("time", 0, 1)


_KINDS = (Flip, Shift, Crop, Rotate, Zoom, Colour, Erase, RandAugment, Mixup, CutMix, TimeShift, Speed, Gain,
          Equalize, Noise, SpecAugment)  # fmt: skip
WORDS: dict[str, type[Word]] = {kind.__name__.lower(): kind for kind in _KINDS}
RECIPES = {
    "none": "",
    "light": "flip + crop(0.125)",
    "standard": "flip + crop(0.125) + rotate(15) + zoom(0.2) + colour(0.2)",
    "strong": "flip + crop(0.125) + randaugment(2, 9) + erase(0.25) + cutmix(1)",
    "sound": "timeshift(0.1) + speed(0.1) + noise(0.5) + specaugment(1)",
}

_BETWEEN = re.compile(r"\+(?![^(]*\))")  # a + outside of parentheses


def spelled_out(text: str | None) -> str | None:
    """Return a recipe with the names of recipes replaced by their words, as a run keeps it.

    So a run means the same after a recipe of that name has changed.
    """
    parts = [part.strip() for part in _BETWEEN.split(text or "")]
    return " + ".join(filter(None, (RECIPES.get(part, part) for part in parts))) or None


def parse(text: str | None, option: str = "--augment") -> tuple[Word, ...]:
    """Return the words of a recipe, in order. The name of a recipe stands for its words.

    Args:
        text: Value of the option; None and an empty text have no words.
        option: Option, for messages.

    Raises:
        UsageError: Unknown word or argument, a value that is not allowed, or a word given twice.
    """
    found: list[Word] = []
    for part in _BETWEEN.split(text or ""):
        name = part.strip()
        if not name and not (text or "").strip():
            continue
        for word in parse(RECIPES[name], option) if name in RECIPES else (_word(part, option),):
            if any(type(other) is type(word) for other in found):
                raise UsageError(f"{option} {text}: {word.name} is given twice{_meant(text)}")
            found.append(word)
    return tuple(found)


def _word(text: str, option: str) -> Word:
    known = {name: inspect.signature(kind).parameters for name, kind in WORDS.items()}
    name = text.partition("(")[0].strip()
    if name not in known and re.fullmatch(r"\w+", name):
        both = [*RECIPES, *known]
        raise UsageError(
            f"{option}: unknown recipe or word {name!r}: expected one of the recipes {', '.join(RECIPES)}, or of the"
            f" words {', '.join(known)}, joined by +{nearest(name, both)}"
        )
    such_as = "a recipe such as standard, or words such as flip or crop(4) joined by +"
    name, arguments = words.parse(option, text, known, what="word", such_as=such_as)
    try:
        return WORDS[name](**arguments)
    except UsageError as error:
        raise UsageError(f"{option} {error}") from None


def _meant(text: str) -> str:
    """Return what the recipes in a text stand for, for a message."""
    named = [part.strip() for part in _BETWEEN.split(text) if part.strip() in RECIPES]
    return "".join(f"; {name} is {RECIPES[name]}" for name in named)


def check_inputs(what: str, found: Sequence[Word], task: str, kind: str) -> None:
    """Raise UsageError unless examples can be changed by these words.

    Args:
        what: Subject of the message.
        found: Words of the recipe.
        task: Name of the task.
        kind: Kind of the inputs.
    """
    if not found:
        return
    facts = task_facts.of(task)
    if unfit := [word for word in found if kind not in word.kinds]:
        wanted = " or ".join(f"{name}s" for name in unfit[0].kinds)
        raise UsageError(f"{what}: {unfit[0].name}: expected {wanted}, received {kind}")
    if facts.not_augmented:
        raise UsageError(f"{what}: expected none for {task}: {facts.not_augmented}")
    if not facts.classifies and (mixing := [word.name for word in found if word.mixes]):
        raise UsageError(f"{what}: {mixing[0]} mixes the classes of two examples, and {task} has no classes to mix")


def check_unmixed(option: str, found: Sequence[Word], why: str) -> None:
    """Raise UsageError if examples are mixed.

    Args:
        option: Option that excludes it, for the message.
        found: Words of the recipe.
        why: Reason.
    """
    if mixing := [word.name for word in found if word.mixes]:
        raise UsageError(f"{option}: expected --augment without {mixing[0]}: {why}")
