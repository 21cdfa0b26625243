"""Online learning of a classifier: test-then-train with rehearsal, validation and rollback."""

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

# Number of examples after a drift over which the raised learning rate decays.
BOOSTED = 2500
# Maximum and minimum number of held-out examples on which weights are compared.
HELD, LEAST_HELD = 500, 100
# Number of recent examples used to tell a change of the data from a deterioration of the weights.
LATEST = 256
_BEST = "best/"


@dataclass
class Window:
    """Sliding window over examples of a stream.

    Args:
        x: Inputs in the format of a `Split`, (kept, ...).
        y: Class indices, (kept,) int32.
        numbers: Position of each example in the stream, (kept,) int64.
        limit: Maximum number of examples to keep.
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
    """Learner from batches of a stream.

    Its state is a pure function of the initial model, the training split, the settings and the examples.

    Args:
        model: Built classifier that returns logits. It is compiled and trained in place.
        config: Configuration of the run, of which loss, optimizer and class weights are used.
        spec: Description of the data.
        train: Training split of the run, which fills the rehearsal buffer at first.
        settings: Settings with a learning rate.
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
        """Number of examples so far."""
        return self.prequential.examples

    @property
    def rate(self) -> float:
        """Learning rate of the next batch."""
        left = max(self.boosted_until - self.examples, 0) / BOOSTED
        return self.settings.learning_rate * self.settings.boost**left

    def step(self, batch: Split) -> None:
        """Predict examples, then learn those that are not held out.

        Args:
            batch: Examples of the stream, at most `settings.batch_size`.
        """
        if self.held.x.dtype != np.uint8:  # the run was trained on images with pixels in [0, 1]
            batch = Split(scaled(batch.x), batch.y)
        numbers = self.examples + 1 + np.arange(len(batch))
        random = generator(self.settings.seed, int(numbers[0]))
        self.latest.add(batch, numbers)
        for change in self.prequential.add(self._logits(batch.x).argmax(-1) != batch.y):
            self._changed(change)
        share = self.settings.hold_out
        held = np.floor(numbers * share) > np.floor((numbers - 1) * share)  # evenly spread for any share
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
        """Return the logits of up to a batch of examples, always computed on a full batch to avoid retracing."""
        filled = np.resize(scaled(x), (self.settings.batch_size, *x.shape[1:]))
        return keras.ops.convert_to_numpy(self.model.predict_on_batch(filled))[: len(x)]

    def _train(self, new: Split, random: np.random.Generator) -> float:
        """Take a step on new examples and as many rehearsed ones, and return the loss.

        All batches have the same shape: missing examples are filled by repeated ones of weight 0.
        """
        size = self.settings.batch_size
        index = np.resize(np.arange(len(new)), size)
        x, y, weights = new.x[index], new.y[index], (np.arange(size) < len(new)).astype(np.float32)
        if len(self.reservoir):
            old = self.reservoir.sample(size, random)
            x, y = np.concatenate([x, old.x]), np.concatenate([y, old.y])
            weights = np.append(weights, np.ones(size, np.float32))
        elif self.settings.rehearsal:  # the buffer is empty after a drift
            x, y, weights = np.concatenate([x, x]), np.append(y, y), np.append(weights, 0 * weights)
        self.model.optimizer.learning_rate.assign(self.rate)
        loss = self.model.train_on_batch(scaled(x), y, sample_weight=weights * self.class_weights[y])
        return float(np.ravel(loss)[0])

    def _changed(self, change: dict[str, Any]) -> None:
        """Record a change of accuracy; after a drift of the data, discard examples and weights from before it.

        The present weights have learnt most examples since the change. If the best earlier weights do better on these,
        the weights have deteriorated and the data have not drifted.
        """
        before, after, window = change["accuracy_before"], change["accuracy_after"], change["window"]
        if after >= before:
            self.changes.append(change)
            return
        first = change["example"] - window + 1
        since = self.latest.split.take(self.latest.numbers >= first)
        if not self._finite() or self._fell(since, "accuracy since the drop"):
            return
        self.changes.append(change)
        say(
            f"example {change['example']:,}: drift, accuracy {after:.1%} over the last {window:,} predictions,"
            f" {before:.1%} before"
        )
        self.held.forget_before(first)
        self.best_example, self.best = change["example"], checkpoints.capture(self.model)
        self.boosted_until = change["example"] + BOOSTED
        if self.settings.on_drift == "drop":
            self.reservoir.forget_before(first)

    def validate(self) -> None:
        """Compare the weights with the best earlier ones on recent held-out examples, and roll back if they are worse.

        Both are evaluated on the same examples, so that a drift, which affects all weights, causes no rollback.
        """
        self.validated = None
        if self._finite() and len(self.held.y) >= LEAST_HELD:
            self._fell(self.held.split, "held-out accuracy")

    def _finite(self) -> bool:
        """Return whether all weights are finite, after rolling back to the best weights if they are not."""
        try:
            checkpoints.capture(self.model)
        except checkpoints.NotFinite:
            self._roll_back("a weight is not finite")
            return False
        return True

    def _fell(self, examples: Split, what: str) -> bool:
        """Return whether the best weights do better than the present ones on examples, and roll back if so."""
        now = checkpoints.capture(self.model)
        self.validated = accuracy(logits_of(self.model, examples), examples.y)
        checkpoints.restore(self.model, self.best)
        best = accuracy(logits_of(self.model, examples), examples.y)
        if self.validated < best - self.settings.tolerance / 100:
            self._roll_back(f"{what} {self.validated:.1%}, {best:.1%} with the earlier weights")
            self.validated = best
            return True
        checkpoints.restore(self.model, now)
        if self.validated >= best:
            self.best_example, self.best = self.examples, now
        return False

    def _roll_back(self, why: str) -> None:
        say(f"example {self.examples:,}: rollback to the weights of example {self.best_example:,}: {why}")
        self.rollbacks.append({"example": self.examples, "to": self.best_example, "why": why})
        checkpoints.restore(self.model, self.best)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays of a checkpoint."""
        kept = {f"{_BEST}{name}": value for name, value in self.best.items()}
        for name in ("held", "latest", "reservoir"):
            part = getattr(self, name)
            kept |= {f"{name}/{what}": getattr(part, what) for what in ("x", "y", "numbers")}
        return checkpoints.capture(self.model) | kept | self.prequential.arrays()

    def state(self) -> dict[str, Any]:
        """Return the remaining state of a checkpoint, JSON-serialisable."""
        return {name: getattr(self, name) for name in _STATE} | {"seen": self.reservoir.seen}

    def restore(self, arrays: dict[str, np.ndarray], state: dict[str, Any]) -> None:
        """Restore the state that `arrays` and `state` returned.

        Args:
            arrays: Arrays of the checkpoint.
            state: Remaining state of the checkpoint.

        Raises:
            ValueError: If the checkpoint belongs to a different model.
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
        """Return a row of prequential.csv, by column."""
        return {
            "examples": self.examples,
            "accuracy": self.prequential.accuracy,
            "windowed": self.prequential.windowed,
            "held_out": self.validated,
            "learning_rate": self.rate,
            "drifts": len(falls(self.changes)),
            "rollbacks": len(self.rollbacks),
        }


# Attributes of a learner that a checkpoint stores as JSON.
_STATE = ("learnt", "held_out", "boosted_until", "best_example", "changes", "rollbacks")


def falls(changes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the changes after which accuracy was lower."""
    return [change for change in changes if change["accuracy_after"] < change["accuracy_before"]]
