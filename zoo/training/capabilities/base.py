"""The interface of a capability: an addition to the plain training loop.

The loop (`zoo.training.loop`) names no capability. It asks `zoo.training.capabilities.active` for those of a training
and calls their hooks in this order, each hook for all capabilities in the order of the registry:

    check                     the options and the data are known; nothing has been computed or written
    prepare                   the checkpoint to resume from is known; the random seed is not set yet
    around                    a context around everything that follows
    begin, wrap, rates        inside the strategy's scope, while the model is built and before it is compiled
    started                   the model is compiled, its checkpoint is restored, config.json is written
    callbacks                 before the first call of `fit`
    around_fit                a context around all calls of `fit`
    held_out                  before the first call of `fit`
    stops, before_fit, batches, feed      for each call of `fit`
    record, sections          after training, for metrics.json and the report
    finished                  all files of the run are written

To add a capability, write a subclass of `Capability` in a file of its own in this folder and add it to
`zoo.training.capabilities.REGISTRY`. Its option is declared in `zoo.config.groups.Capabilities`.
"""

import contextlib
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import keras

from zoo.config.train_config import TrainConfig
from zoo.data import Dataset
from zoo.data.batches.pipeline import Gathered
from zoo.runs import checkpoints
from zoo.runs.folder import RunFolder
from zoo.tasks.base import Task
from zoo.training import layerwise
from zoo.training.callbacks import Memory


@dataclass(frozen=True)
class Start:
    """How a training starts.

    Args:
        snapshot: Checkpoint that it resumes from; None for a new run.
        command: Words of the command line, for config.json.
        adapted: Record of `zoo.sizing.adaptation.adapted`, for config.json, if it found a part of the configuration.
    """

    snapshot: checkpoints.Snapshot | None = None
    command: list[str] = field(default_factory=list)
    adapted: Mapping[str, Any] | None = None


@dataclass
class Training:
    """The state of one training, shared by the loop and its capabilities.

    Args:
        config: Resolved configuration.
        strategy: Distribution strategy, or its counterpart on JAX.
        run: Run folder.
        data: Examples that this process reads.
        task: Task of the data, see `zoo.tasks`.
        verbose: Whether progress is shown on standard error.
        start: How the training starts.
        own_model: Name of a model of one's own; None for that of the configuration.

    Attributes:
        capabilities: Active capabilities in the order of the registry.
        batch_size: Number of examples in a step among those that this process reads.
        origin: What the checkpoints belong to: the options and data that decide the weights.
        steps: Number of steps in an epoch.
        stride: Number of steps between two calls of a callback.
        step: Number of steps done, over all epochs.
        gathered: Batches that the steps gather themselves; None if `fit` is fed with them.
        plain: Model that is saved; set when it is built.
        model: Model that `fit` trains: `plain`, or a wrapper of it.
        memory: History and best weights.
        random: Names of weights of `plain` that are random although others were copied from a run.
        begun_with: Record of the run that the weights were copied from, for config.json.
    """

    config: TrainConfig
    strategy: Any
    run: RunFolder
    data: Dataset
    task: Task
    verbose: bool
    start: Start = field(default_factory=Start)
    own_model: str | None = None
    capabilities: "list[Capability]" = field(default_factory=list)
    batch_size: int = field(init=False)
    origin: dict[str, dict[str, Any]] = field(default_factory=dict)
    steps: int = field(init=False)
    stride: int = 1
    step: int = 0
    gathered: Gathered | None = None
    plain: keras.Model = field(init=False)
    model: keras.Model = field(init=False)
    memory: Memory = field(default_factory=Memory)
    random: list[str] = field(default_factory=list)
    begun_with: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        self.batch_size = self.config.batch_size

    @property
    def total(self) -> int:
        """Number of steps of the whole training."""
        return self.config.epochs * self.steps

    @functools.cached_property
    def order(self) -> layerwise.Order:
        """Layers of the plain model in the order of their use; found by running it once."""
        return layerwise.order(self.plain, self.data.spec, self.task)

    def batches(self, start: int, stop: int) -> Any:
        """Return the batches of the steps from `start` to before `stop`: those of a capability, or of the task."""
        for capability in self.capabilities:
            if capability.makes_batches:
                return capability.batches(start, stop)
        return self.task.training_batches(self.config, self.data, self.batch_size, start, stop)

    def feed(self, start: int, stop: int) -> Any:
        """Return what `fit` is given for these steps: the batches, unless a capability hands them over otherwise."""
        for capability in self.capabilities:
            if (fed := capability.feed(start, stop)) is not None:
                return fed
        return self.batches(start, stop)

    def held_out(self, stride: int) -> tuple[Any, int | None]:
        """Return the validation batches that `fit` and `evaluate` are given, and the number of steps, None for all.

        The batches are None if there are no validation examples, or if `fit` does not evaluate.

        Args:
            stride: Number that the number of batches is a multiple of.
        """
        if not len(self.data.validation):
            return None, None
        for capability in self.capabilities:
            if (found := capability.held_out()) is not None:
                return found
        return self.task.validation_batches(self.data, stride), None

    def stops(self) -> list[int]:
        """Return the steps at which a call of `fit` ends: the rest of an interrupted epoch, and those of capabilities.

        The last of them is the end of the training.
        """
        rest = min(-(-self.step // self.steps) * self.steps, self.total)
        return sorted({rest, self.total, *(stop for capability in self.capabilities for stop in capability.stops())})


class Capability:
    """An addition to the plain training loop. Every hook has a default that changes nothing.

    Args:
        training: State of the training.
    """

    # Whether `batches` makes the batches of the training, in place of the task.
    makes_batches: ClassVar[bool] = False
    # Whether the weights of the best epoch are kept if the configuration says so.
    keeps_best: ClassVar[bool] = True

    def __init__(self, training: Training) -> None:
        self.training = training

    @classmethod
    def wanted(cls, config: TrainConfig, strategy: Any) -> bool:
        """Return whether a training of this configuration, under this strategy, has the capability."""
        raise NotImplementedError

    @property
    def ahead(self) -> int:
        """Number of steps that were trained and that `fit` has not counted yet."""
        return 0

    def check(self) -> None:
        """Raise UsageError if the options do not fit the data."""

    def prepare(self) -> None:
        """Read what the training needs besides its data, or change which examples this process reads."""

    @contextlib.contextmanager
    def around(self) -> Iterator[None]:
        """Surround the training, from the building of the model to the report."""
        yield

    def begin(self) -> None:
        """Change the weights of the plain model, or which of them are trained."""

    def wrap(self, model: keras.Model) -> keras.Model:
        """Return the model that `fit` trains.

        Args:
            model: Plain model, or its wrapper by another capability.
        """
        return model

    def rates(self, rates: tuple[float, ...]) -> tuple[float, ...]:
        """Return the factor of the learning rate for each trainable variable; nothing if one rate serves all.

        Args:
            rates: Factors so far.
        """
        return rates

    def started(self) -> None:
        """Act on the compiled model, or write into the run folder, before the first step."""

    def callbacks(self) -> list[keras.callbacks.Callback]:
        """Return callbacks of `fit`; they are called after an epoch is recorded and before its checkpoint is saved."""
        return []

    @contextlib.contextmanager
    def around_fit(self) -> Iterator[None]:
        """Surround all calls of `fit`."""
        yield

    def stops(self) -> list[int]:
        """Return steps at which a call of `fit` has to end, so that `before_fit` is called."""
        return []

    def before_fit(self) -> None:
        """Change the model between two calls of `fit`; `training.step` steps are done."""

    def batches(self, start: int, stop: int) -> Any:
        """Return the batches of the steps from `start` to before `stop`; called if `makes_batches`."""
        raise NotImplementedError

    def feed(self, start: int, stop: int) -> Any | None:
        """Return what `fit` is given for the steps from `start` to before `stop`; None: the batches."""
        return None

    def held_out(self) -> tuple[Any, int] | None:
        """Return the validation batches that `fit` is given, and their number; None: those of the task."""
        return None

    def record(self) -> dict[str, Any]:
        """Return entries of metrics.json."""
        return {}

    def sections(self, found: Mapping[str, Any]) -> list[str]:
        """Return sections of the report in HTML.

        Args:
            found: Entries of metrics.json, those of `record` among them.
        """
        return []

    def finished(self, metrics: Mapping[str, Any]) -> None:
        """Act on a finished run.

        Args:
            metrics: Content of metrics.json.
        """
