"""The contract of a task, with the defaults that most tasks share."""

import abc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import keras
import numpy as np

from zoo.config import registry, task_facts
from zoo.config.run_options import GenerateOptions, PredictOptions
from zoo.config.task_facts import TaskFacts
from zoo.config.train_config import TrainConfig
from zoo.console.figures import Intervals
from zoo.data import Dataset, DataSpec, Split
from zoo.data.batches.pipeline import Gathered
from zoo.data.text import Vocabulary
from zoo.reports.page import Page
from zoo.runs.folder import RunFolder

Shape = tuple[int | None, ...]
# Size of images and number of classes, and length of texts and number of tokens, where no data say them.
IMAGE, CLASSES, TIME, TOKENS = (28, 28, 1), 10, 128, 10_000


@dataclass(frozen=True)
class Reading:
    """A model's answer to one example, for `zoo.explain`.

    Args:
        inputs: Tensors that the model was called with, a batch of one.
        label: Class, text or token that the model answered.
        probability: Probability of the label, for several steps or tokens the lowest.
        statement: Label and probability as a clause, such as "predicted 9 (54.6 %)".
        logits: (1, classes) or (1, time, classes), for answers that are classes.
        counted: (1, time), false at steps of padding, for a label a step.
        tokens: Tokens of the input without padding, if it is a text.
        written: Tokens of the output, if it is a text.
        spans: Number of queries and of keys without padding, for each part of the model that attends. Parts are found
            by their name in the path of a layer.
    """

    inputs: Any
    label: str
    probability: float
    statement: str
    logits: np.ndarray | None = None
    counted: np.ndarray | None = None
    tokens: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    spans: dict[str, tuple[int | None, int | None]] = field(default_factory=dict)


@dataclass(frozen=True)
class Texts:
    """The vocabularies of a run.

    Args:
        vocabulary: Vocabulary of texts, for pairs of the sources.
        target_vocabulary: Vocabulary of the targets, for pairs.
    """

    vocabulary: Vocabulary | None = None
    target_vocabulary: Vocabulary | None = None


class Task(abc.ABC):
    """What a model is trained for: its arguments, loss, batches, scores and report, and how a run is used.

    Attributes:
        name: Name of the task, a key of `zoo.config.task_facts.TASKS`.
        truth_is: Word that introduces the truth of an example in a sentence.
    """

    name: ClassVar[str]
    truth_is: ClassVar[str] = "labelled"

    @property
    def facts(self) -> TaskFacts:
        """The properties of the task that are known before Keras is imported."""
        return task_facts.of(self.name)

    # Models.

    @abc.abstractmethod
    def arguments(self, config: TrainConfig, spec: DataSpec) -> dict[str, Any]:
        """Return the constructor arguments of a model of the zoo.

        Args:
            config: Has the arguments that the user set.
            spec: Form of the data, which decides the others.

        Raises:
            UsageError: Options that the task cannot follow.
        """

    def wrapped(self, model: keras.Model, spec: DataSpec) -> keras.Model:
        """Return the model that is trained: a model of the zoo, or one around it that knows what its outputs mean.

        Args:
            model: Model of the zoo, made with `arguments`.
            spec: Form of the data.
        """
        return model

    def build_shape(self, spec: DataSpec) -> Shape | list[Shape]:
        """Return the shape of the inputs that a model is built for, or a list of one shape for each input."""
        return (None, *spec.input_shape)

    def inputs(self, model: keras.Model, spec: DataSpec) -> Any:
        """Return symbolic inputs for a call with one example, a `keras.KerasTensor` or a tuple of them."""
        shapes = self.build_shape(spec)
        if not isinstance(shapes, list):
            return keras.KerasTensor((1, *shapes[1:]), spec.input_dtype)
        dtypes = (spec.input_dtype, "int32" if spec.target_shape else "float32")
        return tuple(keras.KerasTensor((1, *shape[1:]), dtype) for shape, dtype in zip(shapes, dtypes, strict=True))

    # Training.

    def check(self, config: TrainConfig, data: Dataset) -> None:
        """Refuse options that the task cannot follow with these data; nothing by default.

        Raises:
            UsageError: The message names the option.
        """
        return

    @abc.abstractmethod
    def compiled_with(self, config: TrainConfig, spec: DataSpec) -> dict[str, Any]:
        """Return the loss and the metrics, as keyword arguments of `compile`.

        A loss or metric that compares the examples of a batch has an attribute `gather`, a function that training
        replaces by one that gathers tensors from all replicas.
        """

    @abc.abstractmethod
    def training_batches(self, config: TrainConfig, data: Dataset, batch_size: int, start: int, stop: int) -> Any:
        """Return the batches of the global steps from `start` to before `stop`, a pure function of seed and step.

        Args:
            config: Has the seed and the augmentation.
            data: Training examples.
            batch_size: Number of examples in a step, over all replicas.
            start: First global step.
            stop: Global step after the last.
        """

    def reads_parts(self, config: TrainConfig) -> bool:
        """Return whether the training batches of a worker are its part of each batch, see `TrainConfig.part`."""
        return False

    def validation_batches(self, data: Dataset, stride: int) -> Any:
        """Return batches of every validation example, or None if `fit` does not evaluate.

        Args:
            data: Validation examples.
            stride: Number that the number of batches is a multiple of.
        """
        return None

    def validation_parts(self, data: Dataset, replicas: range, count: int) -> Any:
        """Return the validation examples of some replicas, None if a worker takes its part of whole batches.

        Args:
            data: Validation examples.
            replicas: Replicas of this worker: in each step there is a batch for each.
            count: Number of all replicas.
        """
        return None

    def gathered(self, config: TrainConfig, data: Dataset, batch_size: int) -> Gathered | None:
        """Return the training examples for steps that gather their batches in memory, None if batches are made."""
        return None

    def callbacks(self, config: TrainConfig, run: RunFolder, data: Dataset) -> list[keras.callbacks.Callback]:
        """Return callbacks of `fit`. They are called before those that record an epoch, and may add to its logs.

        Raises:
            UsageError: Data that the callbacks cannot use.
        """
        return []

    @abc.abstractmethod
    def rank(self, row: dict[str, Any]) -> tuple[float, ...]:
        """Return the key by which epochs are compared, more is better.

        Args:
            row: Row of the history.
        """

    def concluded(self, model: keras.Model, data: Dataset) -> None:
        """Set what is chosen after training, on the validation split, such as thresholds; nothing for most tasks.

        Args:
            model: Model with its final weights.
            data: Data of the training.
        """
        return

    # Results.

    def measured_with(self, config: TrainConfig) -> dict[str, Any]:
        """Return further keyword arguments of `measure`."""
        return {}

    def measured_again_with(self, config: TrainConfig, run: RunFolder) -> dict[str, Any]:
        """Return further keyword arguments of `measure` for a finished run, which may have been decided in it."""
        return self.measured_with(config)

    @abc.abstractmethod
    def measure(self, model: keras.Model, data: Dataset, split: str = "test") -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the scores of a split, and the results that the report shows.

        Args:
            model: Trained model.
            data: Data that the split belongs to.
            split: train, validation or test.

        Returns:
            Scores by name, with "examples" among them, and results by name. `zoo.tasks.KEPT` lists the results that
            metrics.json keeps.
        """

    def remarks(self, history: list[dict[str, Any]]) -> dict[str, Any]:
        """Return further entries of metrics.json that tell what happened in training.

        Args:
            history: Rows of all epochs.
        """
        return {}

    def beside(self, data: Dataset) -> list[dict[str, Any]]:
        """Return the test scores of simple methods that a network should be at or above.

        Args:
            data: Data of the training.

        Returns:
            For each method its name, what it was trained `on`, its scores by name and the seconds that it took.
        """
        return []

    def save(self, run: RunFolder, data: Dataset, shown: dict[str, Any]) -> None:
        """Write results into the run folder as files.

        Args:
            run: Run folder.
            data: Data that were measured on.
            shown: Results that `measure` returned.
        """
        return

    @abc.abstractmethod
    def page(self, data: Dataset, scores: dict[str, Any], shown: dict[str, Any]) -> Page:
        """Return the task's part of the report.

        Args:
            data: Data that were measured on.
            scores: Scores that `measure` returned.
            shown: Results that `measure` returned.
        """

    @abc.abstractmethod
    def headline(self, test: dict[str, Any], within: Intervals) -> str:
        """Return the most important scores in one line.

        Args:
            test: Scores of the test split.
            within: 95 % intervals by the name of the score.
        """

    # Use of a trained run.

    def predict(self, run: RunFolder, options: PredictOptions) -> list[dict[str, Any]]:
        """Return the answers of `zoo.predict`, for each example its input, label, probability and the top answers.

        Raises:
            UsageError: An input that cannot be read.
        """
        raise NotImplementedError(f"{self.name}: zoo.predict does not use its runs")

    def generate(self, run: RunFolder, options: GenerateOptions) -> list[dict[str, str]] | dict[str, Any]:
        """Return the texts that `zoo.generate` made, input and output of each, or the files that it wrote.

        Raises:
            UsageError: An input that cannot be read.
        """
        raise NotImplementedError(f"{self.name}: zoo.generate does not use its runs")

    def readings(self, model: keras.Model, x: Sequence[np.ndarray], spec: DataSpec, texts: Texts) -> Iterator[Reading]:
        """Yield the model's answers to examples, for `zoo.explain`.

        Args:
            model: Trained model.
            x: Examples, each (1, ...).
            spec: Form of the run's data.
            texts: Vocabularies of the run.
        """
        raise NotImplementedError(f"{self.name}: zoo.explain does not use its runs")

    def truth(self, data: Dataset, split: str, index: int) -> str:
        """Return the class or the text that an example has in the data, empty if it has none.

        Args:
            data: Data of the run.
            split: Name of the split.
            index: Index of the example in it.
        """
        return ""

    # Examples without data.

    @abc.abstractmethod
    def example_spec(self, input_shape: tuple[int, ...] | None = None, size: int | None = None) -> DataSpec:
        """Return a form of data that models of the task can be built for.

        Args:
            input_shape: Shape of one example.
            size: Number of classes, entities or tokens.
        """

    def example_batch(self, config: TrainConfig, spec: DataSpec, batch_size: int) -> tuple[Any, ...]:
        """Return a training batch as `keras.KerasTensor`s, in a tuple of inputs and targets, or with weights."""
        x = keras.KerasTensor((batch_size, *spec.input_shape), spec.input_dtype)
        return x, keras.KerasTensor((batch_size,), "int32")


def made_batch(task: Task, config: TrainConfig, spec: DataSpec, batch_size: int) -> tuple[Any, ...]:
    """Return a training batch of examples that are zeros as `keras.KerasTensor`s, for tasks that make their batches."""
    dtype = np.uint8 if spec.kind == "image" else np.int32
    few = Split(np.zeros((batch_size, *spec.input_shape), dtype), np.zeros(batch_size, np.int32))
    batches = task.training_batches(config, Dataset(spec, few, few, few), batch_size, 0, 1)
    first = next(iter(batches)) if not hasattr(batches, "__getitem__") else batches[0]
    return keras.tree.map_structure(
        lambda x: keras.KerasTensor(x.shape, keras.backend.standardize_dtype(x.dtype)), first
    )


def standardized_by(config: TrainConfig, spec: DataSpec) -> dict[str, Any]:
    """Return the arguments with which a model standardises its inputs, if the data and the model have them."""
    known = registry.arguments(config.model)
    return {"mean": spec.mean, "std": spec.std} if spec.mean and {"mean", "std"} <= known.keys() else {}


def percent(probability: float) -> str:
    """Return a probability for a sentence: "54.6 %"."""
    return f"{100 * probability:.1f} %"


def short(text: str, limit: int = 60) -> str:
    """Return a text, cut if it is longer than the limit."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def ranked(p: np.ndarray, names: Sequence[str], top: int) -> dict[str, Any]:
    """Return the most probable class of an example, or one class for each step, for `zoo.predict`.

    Args:
        p: Probabilities, (classes,) or (time, classes).
        names: Names of the classes.
        top: Number of classes to list, if there is one label.
    """
    if p.ndim == 2:
        return {"label": " ".join(names[i] for i in p.argmax(-1)), "probability": float(p.max(-1).min())}
    order = p.argsort()[::-1][:top]
    best = {"label": names[order[0]], "probability": float(p[order[0]])}
    if top == 1:
        return best
    return best | {"top": [{"label": names[i], "probability": float(p[i])} for i in order]}


def length_of(ids: np.ndarray) -> int:
    """Return the number of ids of (1, time) before the padding."""
    return int(np.flatnonzero(ids[0])[-1]) + 1


def tokens_of(ids: np.ndarray, vocabulary: Vocabulary | None) -> list[str]:
    """Return the tokens of (1, time) ids without padding, as ids if there is no vocabulary."""
    known = ids[0, : length_of(ids)]
    return [str(i) for i in known] if vocabulary is None else vocabulary.pieces(known)
