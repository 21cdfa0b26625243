"""Knowledge distillation (Hinton et al., 2015): a student learns from the probabilities of one teacher or several."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from compression import channels
from compression.copying import copies
from compression.layers import with_kernels
from compression.passes import Distill
from zoo.errors import UsageError, nearest
from zoo.watching import calling


class SoftTargets(keras.losses.Loss):
    """T^2 times the Kullback-Leibler divergence of a student from its teacher's softened probabilities.

    T^2 keeps the gradient's size the same for every temperature T.

    Args:
        temperature: T.
    """

    def __init__(self, temperature: float):
        super().__init__(name="soft_targets")
        self.temperature = temperature

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each example.

        Args:
            y_true: the teacher's probabilities at this temperature.
            y_pred: the student's logits.
        """
        student = ops.log_softmax(y_pred / self.temperature)
        teacher = ops.log(ops.maximum(y_true, keras.config.epsilon()))
        return self.temperature**2 * ops.sum(y_true * (teacher - student), axis=-1)


class Distillation(layers.Layer):
    """The loss of a student: alpha times the labels' and 1 - alpha times the teacher's, and hidden layers' if asked.

    Args:
        config: temperature, alpha, and pairs of hidden layers.
        teachers: built models that give logits; of several, the mean of their probabilities.
        student: built.
        x: (examples, ...), a few examples, which give the hidden layers' shapes.

    Raises:
        UsageError: hidden layers that do not exist, or whose outputs have other shapes before the last axis.
    """

    def __init__(self, config: Distill, teachers: Sequence[keras.Model], student: keras.Model, x: np.ndarray):
        super().__init__(name="distillation")
        self.config = config
        self.soft = SoftTargets(config.temperature)
        self.squared = keras.losses.MeanSquaredError()
        # Behind functions, so that Keras does not take the teachers' variables for the student's.
        self._answer: Callable = lambda inputs: [teacher(inputs, training=False) for teacher in teachers]
        self._teacher: Callable = lambda: teachers[0]
        self._student: Callable = lambda: student
        self._seen = threading.local()  # a strategy runs each replica in a thread of its own
        pairs = [pair.split(":") for pair in config.match]
        self.projections = [self._projection(mine, theirs, x) for mine, theirs in pairs]
        self.built = True

    def _projection(self, mine: str, theirs: str, x: np.ndarray) -> layers.Layer:
        """Return a learned map from a hidden layer to one of the teacher's width (Romero et al., 2015)."""
        shapes = []
        for model, path in ((self._student(), mine), (self._teacher(), theirs)):
            with watching(model, [path], self._seen):
                model(ops.convert_to_tensor(x), training=False)
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
        """Keep the outputs of the student's hidden layers while it is called."""
        with watching(self._student(), [pair.split(":")[0] for pair in self.config.match], self._seen):
            yield

    def loss(self, x: Any, logits: Any, hard: Any) -> Any:
        """Return the loss of a batch.

        Args:
            x: (batch, ...), what the student was given.
            logits: its answer.
            hard: its loss by the labels.
        """
        config, mine = self.config, dict(getattr(self._seen, "outputs", {}))
        with watching(self._teacher(), [pair.split(":")[1] for pair in config.match], self._seen):
            answers = self._answer(x)
        probabilities = sum(ops.softmax(answer / config.temperature) for answer in answers) / len(answers)
        loss = config.alpha * hard + (1 - config.alpha) * self.soft(ops.stop_gradient(probabilities), logits)
        for pair, projection in zip(config.match, self.projections, strict=True):
            student, teacher = pair.split(":")
            target = ops.stop_gradient(self._seen.outputs[teacher])
            loss += config.weight * self.squared(target, projection(mine[student]))
        return loss


def initialise(student: keras.Model, teacher: keras.Model, x: np.ndarray) -> None:
    """Give a student the weights of the teacher's most important units, layer by layer.

    Args:
        student: built; changed in place.
        teacher: built, of the same layers, none of them narrower.
        x: (examples, ...), a few examples, which show what belongs to a unit.

    Raises:
        UsageError: models of other layers, or a teacher that is narrower.
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
            "--recipe distill: init=teacher: expected a teacher with the student's layers, none narrower; weights of"
            f" {differing[0]} against {differing[1]}"
        )
    student.set_weights(smaller.get_weights())


@contextlib.contextmanager
def watching(model: keras.Model, paths: Sequence[str], seen: Any) -> Iterator[None]:
    """Keep the outputs of some layers in `seen.outputs`, by path, while a model is called.

    Raises:
        UsageError: a path that is no layer's.
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
