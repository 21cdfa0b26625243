"""Knowledge distillation (Hinton et al., 2015): a student learns from the outputs of one or more teachers.

Outputs are logits of classes, or numbers such as values, boxes and reconstructions.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from compression.passes import channels
from compression.recipes.passes import Distill
from compression.surgery.copying import copies
from compression.surgery.layers import with_kernels
from zoo.console.errors import UsageError, nearest
from zoo.introspection.hooks import calling

# Examples that are enough to follow which layer feeds which, and that are computed at once.
FEW = 8


class SoftTargets(keras.losses.Loss):
    """T^2 times the Kullback-Leibler divergence of a student from its teacher's softened probabilities.

    The factor T^2 keeps the scale of the gradients independent of the temperature T.

    Args:
        temperature: Temperature T of the softmax.
    """

    def __init__(self, temperature: float):
        super().__init__(name="soft_targets")
        self.temperature = temperature

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each example.

        Args:
            y_true: Teacher's probabilities at this temperature.
            y_pred: Student's logits.
        """
        student = ops.log_softmax(y_pred / self.temperature)
        teacher = ops.log(ops.maximum(y_true, keras.config.epsilon()))
        return self.temperature**2 * ops.sum(y_true * (teacher - student), axis=-1)


class Differences:
    """Squared differences of a student's outputs from its teacher's, relative to the spread of the teacher's.

    The mean over all numbers of an output, then over the outputs: a student whose errors are as large as the spread has
    a loss of 1, whatever the units are. The spread is measured for each place on the last axis.

    Args:
        outputs: Outputs of the teacher for some examples: an array (examples, ..., numbers), or a structure of them.
    """

    def __init__(self, outputs: Any):
        self.variances = keras.tree.map_structure(_variances, outputs)

    def __call__(self, theirs: Any, mine: Any) -> Any:
        """Return the loss of a batch.

        Args:
            theirs: Outputs of the teacher.
            mine: Outputs of the student.
        """
        losses = keras.tree.map_structure(
            lambda found, wanted, variances: ops.mean(ops.square(found - wanted) / variances),
            mine, theirs, self.variances,
        )  # fmt: skip
        found = keras.tree.flatten(losses)
        return sum(found) / len(found)


def _variances(outputs: Any) -> np.ndarray:
    """Return the variance of each place on the last axis; places that hardly vary get a thousandth of the mean one."""
    outputs = np.asarray(outputs, np.float64)
    found = outputs.reshape(-1, outputs.shape[-1]).var(axis=0)
    least = max(found.mean() / 1000, np.finfo(np.float32).tiny)
    return np.maximum(found, least).astype(np.float32)


class Distillation(layers.Layer):
    """Loss of a student: alpha times the label loss, 1 - alpha times the teacher loss, and optionally hidden layers'.

    Args:
        config: Temperature, alpha and pairs of hidden layers.
        teachers: Built models; the probabilities, or the outputs, of several teachers are averaged.
        student: Built model to train.
        x: Examples, (examples, ...), a tuple if the models take several inputs, to find the shapes of hidden layers and
            the spread of numbers.
        numbers: Whether the outputs are numbers. They are logits of classes otherwise.

    Raises:
        UsageError: A hidden layer does not exist, the outputs of a pair differ in more than the last axis, or a teacher
            gives numbers of another shape.
    """

    def __init__(
        self,
        config: Distill,
        teachers: Sequence[keras.Model],
        student: keras.Model,
        x: Any,
        numbers: bool = False,
    ):
        super().__init__(name="distillation")
        self.config = config
        self.soft: Callable = _differences(teachers, student, x) if numbers else SoftTargets(config.temperature)
        self._taught: Callable = _mean if numbers else lambda answers: _probabilities(answers, config.temperature)
        self.squared = keras.losses.MeanSquaredError()
        # Wrapped in functions, so that Keras does not track the teachers' and the student's variables here.
        self._answer: Callable = lambda inputs: [teacher(inputs, training=False) for teacher in teachers]
        self._teacher: Callable = lambda: teachers[0]
        self._student: Callable = lambda: student
        self._seen = threading.local()  # a strategy runs each replica in its own thread
        pairs = [pair.split(":") for pair in config.match]
        self.projections = [self._projection(mine, theirs, x) for mine, theirs in pairs]
        self.built = True

    def _projection(self, mine: str, theirs: str, x: Any) -> layers.Layer:
        """Return a trainable projection from a hidden layer to the teacher's width (Romero et al., 2015)."""
        shapes = []
        for model, path in ((self._student(), mine), (self._teacher(), theirs)):
            with watching(model, [path], self._seen):
                model(_first(x, FEW), training=False)
            shapes.append(self._seen.outputs[path].shape)
        if shapes[0][1:-1] != shapes[1][1:-1]:
            raise UsageError(
                f"--recipe distill: match={mine}:{theirs}: expected outputs that differ in their last axis alone,"
                f" received {tuple(shapes[0][1:])} and {tuple(shapes[1][1:])}"
            )
        projection = layers.Dense(shapes[1][-1], use_bias=False, name=f"projection_{mine.replace('/', '_')}")
        projection.build(shapes[0])
        return projection

    @contextlib.contextmanager
    def watching_student(self) -> Iterator[None]:
        """Record the outputs of the student's hidden layers while it is called."""
        with watching(self._student(), [pair.split(":")[0] for pair in self.config.match], self._seen):
            yield

    def loss(self, x: Any, outputs: Any, hard: Any) -> Any:
        """Return the loss of a batch.

        Args:
            x: Inputs of the student, (batch, ...).
            outputs: Outputs of the student.
            hard: Loss of the student on the labels.
        """
        config, mine = self.config, dict(getattr(self._seen, "outputs", {}))
        with watching(self._teacher(), [pair.split(":")[1] for pair in config.match], self._seen):
            answers = self._answer(x)
        taught = keras.tree.map_structure(ops.stop_gradient, self._taught(answers))
        loss = config.alpha * hard + (1 - config.alpha) * self.soft(taught, outputs)
        for pair, projection in zip(config.match, self.projections, strict=True):
            student, teacher = pair.split(":")
            target = ops.stop_gradient(self._seen.outputs[teacher])
            loss += config.weight * self.squared(target, projection(mine[student]))
        return loss


def _first(x: Any, count: int) -> Any:
    return keras.tree.map_structure(lambda array: ops.convert_to_tensor(array[:count]), x)


def _probabilities(answers: Sequence[Any], temperature: float) -> Any:
    return sum(ops.softmax(answer / temperature) for answer in answers) / len(answers)


def _mean(answers: Sequence[Any]) -> Any:
    return keras.tree.map_structure(lambda *found: sum(found) / len(found), *answers)


def _differences(teachers: Sequence[keras.Model], student: keras.Model, x: Any) -> Differences:
    """Return the differences from what teachers give for examples.

    Raises:
        UsageError: A teacher gives other outputs than the student, or outputs of another shape.
    """
    outputs = _mean([teacher.predict(x, batch_size=FEW, verbose=0) for teacher in teachers])
    mine = keras.tree.map_structure(lambda found: tuple(found.shape[1:]), student.predict(_first(x, 1), verbose=0))
    theirs = keras.tree.map_structure(lambda found: tuple(found.shape[1:]), outputs)
    if mine != theirs:
        raise UsageError(
            f"--recipe distill: teacher: expected outputs of the student's shape {mine}, received {theirs}"
        )
    return Differences(outputs)


def initialise(student: keras.Model, teacher: keras.Model, x: np.ndarray) -> None:
    """Initialise a student with the weights of the teacher's most important units, layer by layer.

    Args:
        student: Built model, changed in place.
        teacher: Built model with the same layers, none of them narrower.
        x: A few examples, (examples, ...), to find the weights that belong to each unit.

    Raises:
        UsageError: The models have different layers, or the teacher is narrower.
    """
    smaller = copies(teacher)()
    wanted, found = channels.groups(student, x), channels.groups(smaller, x)
    narrower = {p: len(wanted[p]) for p in found if p in wanted and len(wanted[p]) < len(found[p])}
    if narrower:
        channels.apply(smaller, channels.plan(smaller, keep=narrower, x=x))
    mine, theirs = ([tuple(v.shape) for v in model.weights] for model in (student, smaller))
    if mine != theirs:
        differing = next(
            (pair for pair in zip(mine, theirs, strict=False) if pair[0] != pair[1]), (len(mine), len(theirs))
        )
        raise UsageError(
            "--recipe distill: init=teacher: expected a teacher with the student's layers, none narrower; received"
            f" weights of {differing[0]} (student) and {differing[1]} (teacher)"
        )
    student.set_weights(smaller.get_weights())


@contextlib.contextmanager
def watching(model: keras.Model, paths: Sequence[str], seen: Any) -> Iterator[None]:
    """Record the outputs of some layers in `seen.outputs`, by path, while a model is called.

    Args:
        model: Built Keras model.
        paths: Paths of layers with kernels.
        seen: Object that receives the attribute `outputs`.

    Raises:
        UsageError: A path does not name a layer with kernels.
    """
    named = with_kernels(model)
    seen.outputs = {}

    def keeping(path: str, call: Callable) -> Callable:
        def kept(*args: Any, **kwargs: Any) -> Any:
            seen.outputs[path] = call(*args, **kwargs)
            return seen.outputs[path]

        return kept

    with contextlib.ExitStack() as undo:
        for path in paths:
            if path not in named:
                raise UsageError(
                    f"--recipe distill: match={path}: no layer of this name in {model.name}; layers with kernels are"
                    f" {', '.join(named)}{nearest(path, named)}"
                )
            undo.enter_context(calling(named[path], keeping(path, named[path].call)))
        yield
