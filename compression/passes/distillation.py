"""Knowledge distillation (Hinton et al., 2015): a student learns from the outputs of one or more teachers.

Outputs are logits of classes, or numbers such as values, boxes and reconstructions.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
from keras import layers, ops

from compression.passes import channels
from compression.recipes.passes import Distill
from compression.surgery.copying import copies
from compression.surgery.layers import with_kernels
from zoo.console.errors import UsageError, nearest
from zoo.data.dataset import leaves
from zoo.introspection.hooks import calling
from zoo.introspection.variables import set_weights

# Examples that are enough to follow which layer feeds which, and that are computed at once.
FEW = 8


class _Softened(keras.losses.Loss):
    """T^2 times a Kullback-Leibler divergence at a temperature T.

    The factor T^2 keeps the scale of the gradients independent of the temperature.

    Args:
        temperature: Temperature T.
    """

    def __init__(self, temperature: float):
        super().__init__()
        self.temperature = temperature

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each example.

        Args:
            y_true: Teacher's probabilities at this temperature.
            y_pred: Student's logits.
        """
        return self.temperature**2 * self.divergence(y_true, y_pred / self.temperature)

    def divergence(self, teacher: Any, student: Any) -> Any:
        """Return the divergence of logits from the teacher's probabilities, for each example."""
        raise NotImplementedError


class SoftTargets(_Softened):
    """T^2 times the divergence of a student from its teacher's softened probabilities of classes."""

    def divergence(self, teacher: Any, student: Any) -> Any:
        return ops.sum(teacher * (_log(teacher) - ops.log_softmax(student)), axis=-1)


class SoftDecisions(_Softened):
    """T^2 times the divergence of yes-or-no answers from the teacher's softened ones, the mean over the last axis."""

    def divergence(self, teacher: Any, student: Any) -> Any:
        yes = teacher * (_log(teacher) - ops.log_sigmoid(student))
        no = (1 - teacher) * (_log(1 - teacher) - ops.log_sigmoid(-student))
        return ops.mean(yes + no, axis=-1)


def _log(probability: Any) -> Any:
    return ops.log(ops.maximum(probability, keras.config.epsilon()))


class Differences:
    """Mean squared difference of a student's output from its teacher's, relative to the spread of the teacher's.

    A student whose errors are as large as the spread has a loss of 1, whatever the units are. The spread is measured
    for each place on the last axis.

    Args:
        output: Output of the teacher for some examples, (examples, ..., numbers).
    """

    def __init__(self, output: np.ndarray):
        self.variances = _variances(output)

    def __call__(self, theirs: Any, mine: Any) -> Any:
        """Return the loss of a batch.

        Args:
            theirs: Output of the teacher.
            mine: Output of the student.
        """
        return ops.mean(ops.square(mine - theirs) / self.variances)


def _variances(output: np.ndarray) -> np.ndarray:
    """Return the variance of each place on the last axis; places that hardly vary get a thousandth of the mean one."""
    output = np.asarray(output, np.float64)
    found = output.reshape(-1, output.shape[-1] if output.ndim > 1 else 1).var(axis=0)
    least = max(found.mean() / 1000, np.finfo(np.float32).tiny)
    return np.maximum(found, least).astype(np.float32)


@dataclass(frozen=True)
class Taught:
    """What a student learns of an output.

    Args:
        form: `classes`: one place of the last axis is right; `decisions`: each number stands for yes or no; `numbers`:
            the values themselves.
        probabilities: Whether classes or decisions are given as probabilities, and not as logits.
    """

    form: Literal["classes", "decisions", "numbers"]
    probabilities: bool = False

    def logits(self, output: Any) -> Any:
        """Return the logits of an output of classes or decisions, and numbers as they are."""
        if not self.probabilities:
            return output
        return _log(output) if self.form == "classes" else _log(output) - _log(1 - output)

    def softened(self, output: Any, temperature: float) -> Any:
        """Return what is learnt of a teacher's output: probabilities at a temperature, or numbers as they are."""
        if self.form == "numbers":
            return output
        softened = self.logits(output) / temperature
        return ops.softmax(softened) if self.form == "classes" else ops.sigmoid(softened)

    def loss(self, temperature: float, outputs: Sequence[np.ndarray] | None) -> Callable[[Any, Any], Any]:
        """Return the function of what is learnt, and of the student's logits or numbers, to the loss of a batch.

        Args:
            temperature: Temperature of probabilities.
            outputs: Outputs of the teachers for some examples, of which numbers have their spread.
        """
        if self.form == "numbers":
            return Differences(np.mean(outputs, axis=0))
        return SoftTargets(temperature) if self.form == "classes" else SoftDecisions(temperature)


class Distillation(layers.Layer):
    """Loss of a student: alpha times the label loss, 1 - alpha times the teacher loss, and optionally hidden layers'.

    The teacher loss is the mean over the outputs. What several teachers give is averaged.

    Args:
        config: Temperature, alpha and pairs of hidden layers.
        teachers: Built models.
        student: Built model to train.
        x: Examples, (examples, ...), a tuple if the models take several inputs, to find the shapes of hidden layers and
            the spread of numbers.
        taught: What is learnt of each output; one stands for all.

    Raises:
        UsageError: A hidden layer does not exist, the outputs of a pair differ in more than the last axis, a teacher
            gives outputs of another shape, or a temperature for numbers alone.
    """

    def __init__(
        self,
        config: Distill,
        teachers: Sequence[keras.Model],
        student: keras.Model,
        x: Any,
        taught: Sequence[Taught] = (Taught("classes"),),
    ):
        super().__init__(name="distillation")
        self.config = config
        outputs = _outputs([student, *teachers], x)
        self.taught = tuple(taught) * (len(outputs[0]) if len(taught) == 1 else 1)
        for found in outputs[1:]:
            _check_same(self.taught, outputs[0], found)
        numbers = [each.form == "numbers" for each in self.taught]
        if all(numbers) and config.temperature != Distill.temperature:
            raise UsageError(
                "--recipe distill: temperature is for probabilities of classes, and the model gives numbers; leave it"
                " out"
            )
        given = [leaves(each.predict(x, batch_size=FEW, verbose=0)) for each in teachers if any(numbers)]
        seen = zip(*given, strict=True) if given else [None] * len(self.taught)
        self.soft = [each.loss(config.temperature, rows) for each, rows in zip(self.taught, seen, strict=True)]
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
            answers = [leaves(answer) for answer in self._answer(x)]
        rows = zip(self.taught, self.soft, zip(*answers, strict=True), leaves(outputs), strict=True)
        losses = []
        for taught, soft, theirs, output in rows:
            target = _mean([taught.softened(each, config.temperature) for each in theirs])
            losses.append(soft(ops.stop_gradient(target), taught.logits(output)))
        loss = config.alpha * hard + (1 - config.alpha) * _mean(losses)
        for pair, projection in zip(config.match, self.projections, strict=True):
            student, teacher = pair.split(":")
            target = ops.stop_gradient(self._seen.outputs[teacher])
            loss += config.weight * self.squared(target, projection(mine[student]))
        return loss


def _first(x: Any, count: int) -> Any:
    return keras.tree.map_structure(lambda array: ops.convert_to_tensor(array[:count]), x)


def _mean(values: Sequence[Any]) -> Any:
    return sum(values) / len(values)


def _outputs(models: Sequence[keras.Model], x: Any) -> list[list[np.ndarray]]:
    """Return the outputs of each model for a few examples."""
    few = _first(x, FEW)
    return [[ops.convert_to_numpy(y) for y in leaves(model(few, training=False))] for model in models]


def _check_same(taught: Sequence[Taught], mine: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> None:
    """Raise UsageError unless a teacher gives outputs of the student's shape and form.

    Args:
        taught: What is learnt of each output.
        mine: Outputs of the student for a few examples.
        theirs: Those of the teacher.
    """
    shapes, given = (", ".join(str(y.shape[1:]) for y in outputs) for outputs in (mine, theirs))
    if shapes != given:
        raise UsageError(
            f"--recipe distill: teacher: expected outputs of the student's shape {shapes}, received {given}"
        )
    for each, output in zip(taught, theirs, strict=True):
        if each.form == "numbers" or each == Taught("decisions"):  # logits may lie between 0 and 1
            continue
        if each.probabilities != _are_probabilities(each.form, output):
            names = ("probabilities", "logits")[:: 1 if each.probabilities else -1]
            raise UsageError(
                f"--recipe distill: teacher: expected {names[0]}, as the student gives them, received {names[1]} from"
                f" {output.min():.3g} to {output.max():.3g}"
            )


def _are_probabilities(form: str, output: np.ndarray) -> bool:
    if output.min() < 0 or output.max() > 1:
        return False
    return form != "classes" or bool(np.allclose(output.sum(-1), 1, atol=1e-3))


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
    set_weights(student, smaller.get_weights())


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
