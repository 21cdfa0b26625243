"""A classifier that learns from one example after the other: test, then train; rehearse, validate, go back."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from zoo.attack.robustness import accuracy
from zoo.config.train_config import TrainConfig
from zoo.console.cli import say
from zoo.data import DataSpec, Split
from zoo.data.batches.steps import generator
from zoo.data.images import scaled
from zoo.online.prequential import Prequential
from zoo.online.rehearsal import Reservoir
from zoo.online.settings import Settings
from zoo.runs import checkpoints
from zoo.runs.inference import logits_of
from zoo.tasks import classification
from zoo.training import optimization

# Examples after a drift in which the learning rate is raised, less and less.
BOOSTED = 2500
# Held-out examples that weights are compared on: the last of them, and the fewest that say something.
HELD, LEAST_HELD = 500, 100
# The last examples, learnt or not, that tell at a change whether the data or the weights have changed.
LATEST = 256
_BEST = "best/"


@dataclass
class Window:
    """The last examples of a kind.

    Args:
        x: (kept, ...), as a `Split` has them.
        y: (kept,) int32.
        numbers: which example of the stream each is, (kept,) int64.
        limit: most that are kept.
    """

    x: np.ndarray
    y: np.ndarray
    numbers: np.ndarray
    limit: int

    @property
    def split(self) -> Split:
        return Split(self.x, self.y)

    def add(self, examples: Split, numbers: np.ndarray) -> None:
        self.x = np.concatenate([self.x, examples.x])[-self.limit :]
        self.y = np.concatenate([self.y, examples.y])[-self.limit :]
        self.numbers = np.concatenate([self.numbers, numbers])[-self.limit :]

    def forget_before(self, number: int) -> None:
        kept = self.numbers >= number
        self.x, self.y, self.numbers = self.x[kept], self.y[kept], self.numbers[kept]


class Learner:
    """Learns from batches of a stream; a pure function of what it begins with, the settings and the examples.

    Args:
        model: built, gives logits of classes; it is compiled and trained.
        config: of the run that it is from: loss, optimizer, weights of classes.
        spec: of its data.
        train: its training split, which the rehearsal begins with.
        settings: with a learning rate.
    """

    def __init__(self, model: keras.Model, config: TrainConfig, spec: DataSpec, train: Split, settings: Settings):
        self.model, self.settings = model, settings
        model.compile(
            optimizer=optimization.optimizer(config, steps=1),
            loss=classification.TASK.compiled_with(config, spec)["loss"],
        )
        model.optimizer.build(model.trainable_variables)
        self.class_weights = np.ones(spec.num_classes, np.float32)
        if config.class_weights == "balanced":
            self.class_weights = classification.class_weights(train.y, spec.num_classes)
        self.prequential = Prequential()
        self.reservoir = Reservoir.of(train, settings.rehearsal, settings.seed)
        none = train.take(np.arange(0))
        self.held = Window(none.x, none.y, np.zeros(0, np.int64), HELD)
        self.latest = dataclasses.replace(self.held, limit=LATEST)
        self.validated: float | None = None
        self.learnt = self.held_out = self.boosted_until = 0
        self.best_example, self.best = 0, checkpoints.capture(model)
        self.changes: list[dict[str, Any]] = []
        self.rollbacks: list[dict[str, Any]] = []

    @property
    def examples(self) -> int:
        """How many there were."""
        return self.prequential.examples

    @property
    def rate(self) -> float:
        """The learning rate of the next batch."""
        left = max(self.boosted_until - self.examples, 0) / BOOSTED
        return self.settings.learning_rate * self.settings.boost**left

    def step(self, batch: Split) -> None:
        """Predict examples, then learn from those that are not held out.

        Args:
            batch: at most `settings.batch_size` examples.
        """
        if self.held.x.dtype != np.uint8:  # of a run on images whose pixels were given in [0, 1]
            batch = Split(scaled(batch.x), batch.y)
        numbers = self.examples + 1 + np.arange(len(batch))
        random = generator(self.settings.seed, int(numbers[0]))
        self.latest.add(batch, numbers)
        for change in self.prequential.add(self._logits(batch.x).argmax(-1) != batch.y):
            self._changed(change)
        share = self.settings.hold_out
        held = np.floor(numbers * share) > np.floor((numbers - 1) * share)  # evenly spread, of any share
        self.held.add(batch.take(held), numbers[held])
        self.held_out += int(held.sum())
        if held.all():
            return
        new = batch.take(~held)
        loss = self._train(new, random)
        self.learnt += len(new)
        self.reservoir.add(new, numbers[~held], random)
        if not math.isfinite(loss):
            self._roll_back(f"the loss is {loss}")

    def _logits(self, x: np.ndarray) -> np.ndarray:
        """Return the logits of at most a batch of examples, computed in one shape whatever their number."""
        filled = np.resize(scaled(x), (self.settings.batch_size, *x.shape[1:]))
        return keras.ops.convert_to_numpy(self.model.predict_on_batch(filled))[: len(x)]

    def _train(self, new: Split, random: np.random.Generator) -> float:
        """Take a step on new examples and as many rehearsed ones, and return the loss.

        Every batch has one shape: in the place of examples that are missing are others again, of weight 0.
        """
        size = self.settings.batch_size
        index = np.resize(np.arange(len(new)), size)
        x, y, weights = new.x[index], new.y[index], (np.arange(size) < len(new)).astype(np.float32)
        if len(self.reservoir):
            old = self.reservoir.sample(size, random)
            x, y = np.concatenate([x, old.x]), np.concatenate([y, old.y])
            weights = np.append(weights, np.ones(size, np.float32))
        elif self.settings.rehearsal:  # nothing is left after a drift
            x, y, weights = np.concatenate([x, x]), np.append(y, y), np.append(weights, 0 * weights)
        self.model.optimizer.learning_rate.assign(self.rate)
        loss = self.model.train_on_batch(scaled(x), y, sample_weight=weights * self.class_weights[y])
        return float(np.ravel(loss)[0])

    def _changed(self, change: dict[str, Any]) -> None:
        """Remember a change of accuracy; where it fell with the data, forget what belongs to the time before it.

        The weights have learnt most of the examples since, so if the best before them do better on these, it is not the
        data that have changed.
        """
        before, after, window = change["accuracy_before"], change["accuracy_after"], change["window"]
        if after >= before:
            self.changes.append(change)
            return
        first = change["example"] - window + 1
        since = self.latest.split.take(self.latest.numbers >= first)
        if not self._finite() or self._fell(since, "accuracy since it fell"):
            return
        self.changes.append(change)
        say(
            f"example {change['example']:,}: drift, {after:.1%} of the last {window:,} predictions are right and"
            f" {before:.1%} were before"
        )
        self.held.forget_before(first)
        self.best_example, self.best = change["example"], checkpoints.capture(self.model)
        self.boosted_until = change["example"] + BOOSTED
        if self.settings.on_drift == "drop":
            self.reservoir.forget_before(first)

    def validate(self) -> None:
        """Compare the weights with the best before them on the last held-out examples, and go back to these if need be.

        Both are measured on the same examples, so that a drift, which makes all weights worse, is no reason to go back.
        """
        self.validated = None
        if self._finite() and len(self.held.y) >= LEAST_HELD:
            self._fell(self.held.split, "held-out accuracy")

    def _finite(self) -> bool:
        """Go back to the best weights where those there are no numbers any more, and say whether they are."""
        try:
            checkpoints.capture(self.model)
        except checkpoints.NotFinite:
            self._roll_back("a weight is not finite")
            return False
        return True

    def _fell(self, examples: Split, what: str) -> bool:
        """Go back to the best weights where they are better on these examples than the weights as they are."""
        now = checkpoints.capture(self.model)
        self.validated = accuracy(logits_of(self.model, examples), examples.y)
        checkpoints.restore(self.model, self.best)
        best = accuracy(logits_of(self.model, examples), examples.y)
        if self.validated < best - self.settings.tolerance / 100:
            self._roll_back(f"{what} {self.validated:.1%}, {best:.1%} with the weights of then")
            self.validated = best
            return True
        checkpoints.restore(self.model, now)
        if self.validated >= best:
            self.best_example, self.best = self.examples, now
        return False

    def _roll_back(self, why: str) -> None:
        say(f"example {self.examples:,}: back to the weights of example {self.best_example:,}: {why}")
        self.rollbacks.append({"example": self.examples, "to": self.best_example, "why": why})
        checkpoints.restore(self.model, self.best)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what a checkpoint keeps of arrays."""
        kept = {f"{_BEST}{name}": value for name, value in self.best.items()}
        for name in ("held", "latest", "reservoir"):
            part = getattr(self, name)
            kept |= {f"{name}/{what}": getattr(part, what) for what in ("x", "y", "numbers")}
        return checkpoints.capture(self.model) | kept | self.prequential.arrays()

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps besides, JSON-able."""
        return {name: getattr(self, name) for name in _STATE} | {"seen": self.reservoir.seen}

    def restore(self, arrays: dict[str, np.ndarray], state: dict[str, Any]) -> None:
        """Be as when `arrays` and `state` were taken.

        Raises:
            ValueError: of another model.
        """
        checkpoints.restore(self.model, arrays)
        self.best = {name.removeprefix(_BEST): value for name, value in arrays.items() if name.startswith(_BEST)}
        for name, limit in (("held", HELD), ("latest", LATEST)):
            setattr(self, name, Window(*(arrays[f"{name}/{what}"] for what in ("x", "y", "numbers")), limit))
        kept = (arrays[f"reservoir/{what}"] for what in ("x", "y", "numbers"))
        self.reservoir = Reservoir(*kept, self.settings.rehearsal, state["seen"])
        self.prequential = Prequential.of(arrays)
        for name in _STATE:
            setattr(self, name, state[name])

    def row(self) -> dict[str, Any]:
        """Return a row of prequential.csv."""
        return {
            "examples": self.examples,
            "accuracy": self.prequential.accuracy,
            "windowed": self.prequential.windowed,
            "held_out": self.validated,
            "learning_rate": self.rate,
            "drifts": len(falls(self.changes)),
            "rollbacks": len(self.rollbacks),
        }


# Of a learner, what is neither an array nor a part of its own.
_STATE = ("learnt", "held_out", "boosted_until", "best_example", "changes", "rollbacks")


def falls(changes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the changes after which fewer predictions were right."""
    return [change for change in changes if change["accuracy_after"] < change["accuracy_before"]]
