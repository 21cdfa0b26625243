"""Build the model of a configuration for the form of its data, or refuse a pair that does not fit."""

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from strategies import collective
from zoo.config import attacks, registry, task_facts
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data import DataSpec
from zoo.data.batches.pipeline import on_tensorflow
from zoo.introspection.variables import set_weights
from zoo.objectives.adversarial import Attacked
from zoo.objectives.losses import CrossEntropy, FocalLoss
from zoo.tasks.base import Task


def own_name(model: keras.Model | Callable[[], keras.Model]) -> str:
    """Return the name of a model of one's own, or of the function that makes it."""
    return getattr(model, "name", None) or getattr(model, "__name__", "model")


def check_kind(config: TrainConfig, spec: DataSpec, task: Task) -> None:
    """Raise UsageError if the model does not take this kind of data, or is for another task.

    Args:
        config: Configuration with a model of the zoo.
        spec: Form of the data.
        task: Task of the data, see `zoo.tasks`.
    """
    learns = registry.entry(config.model).tasks
    if spec.task not in learns:
        raise UsageError(
            f"--model {config.model}: learns {' or '.join(learns)}, and {spec.name} is for {spec.task};"
            f" models for it are {', '.join(registry.names(spec.task))}"
        )
    takes = registry.entry(config.model).inputs
    if spec.kind not in takes:
        others = [name for name in registry.names(spec.task) if spec.kind in registry.entry(name).inputs]
        raise UsageError(
            f"--model {config.model}: takes {' or '.join(takes)} inputs, and {spec.name} gives {spec.kind};"
            f" models for it are {', '.join(others) or 'none'}"
        )
    if not task_facts.of(spec.task).classifies:
        return
    labelled = bool(task.arguments(config, spec).get("return_sequences"))
    if labelled != spec.per_step:
        have, want = ("a step", "a sequence") if spec.per_step else ("a sequence", "a step")
        raise UsageError(f"--model {config.model}: gives one label {want}, and {spec.name} has one {have}")


def maker(
    config: TrainConfig, spec: DataSpec, task: Task, model: keras.Model | Callable[[], keras.Model] | None = None
) -> Callable[[], keras.Model]:
    """Return a function that makes the model to train; it is called inside the strategy's scope.

    Args:
        config: Configuration, which names a model of the zoo.
        spec: Form of the data.
        task: Task of the data, see `zoo.tasks`.
        model: Model of the user, or a function that makes it, in place of the model of the zoo.

    Raises:
        UsageError: A model of the zoo that is not for such data.
    """
    if model is None:
        check_kind(config, spec, task)
        made = functools.partial(registry.model_class(config.model), **task.arguments(config, spec))
        return lambda: task.wrapped(made(), spec)
    make = functools.partial(_in_scope, model, config.strategy) if isinstance(model, keras.Model) else model
    return functools.partial(_own, make, spec, task)


def _own(make: Callable[[], keras.Model], spec: DataSpec, task: Task) -> keras.Model:
    """Make and build a model of the user, and refuse one that does not give logits for classes."""
    model = make()
    if not model.built:
        model.build(task.build_shape(spec))
    if task.facts.classifies:
        check_logits(model, spec)
        _check_loss(model)
    return model


def _check_loss(model: keras.Model) -> None:
    """Raise UsageError if a model was compiled with another loss than the one that it would be trained with."""
    loss = getattr(model, "loss", None) if getattr(model, "compiled", False) else None
    from_logits = isinstance(loss, keras.losses.SparseCategoricalCrossentropy) and loss.from_logits
    if loss is None or from_logits or isinstance(loss, CrossEntropy | FocalLoss):
        return
    name = loss if isinstance(loss, str) else getattr(loss, "name", None) or type(loss).__name__
    raise UsageError(
        f"model {model.name}: expected a model that is not compiled, or with SparseCategoricalCrossentropy(from_logits="
        f"True), which a classifier is trained with here; received the loss {name}"
    )


def check_logits(model: keras.Model, spec: DataSpec) -> None:
    """Raise UsageError unless a model gives a logit for each class.

    Probabilities are refused, because the loss and the exported file would apply another softmax.

    Args:
        model: Built model.
        spec: Form of its data. The model is called with random examples of this form.
    """
    rng, shape = np.random.default_rng(0), (8, *spec.input_shape)
    x = rng.integers(0, spec.vocabulary_size or 2, shape) if spec.input_dtype == "int32" else rng.random(shape)
    try:
        y = keras.ops.convert_to_numpy(model(x.astype(spec.input_dtype), training=False))
    except Exception as error:  # the user's own code may raise anything
        raise UsageError(
            f"model {model.name}: expected a model that takes {spec.name}, inputs of shape {spec.input_shape};"
            f" {' '.join(str(error).split())[:300]}"
        ) from None
    expected = (8, *spec.input_shape[: int(spec.per_step)])
    if y.ndim != len(expected) + 1 or y.shape[:-1] != expected or y.shape[-1] < spec.num_classes:
        raise UsageError(
            f"model {model.name}: expected outputs of shape {(*expected[1:], spec.num_classes)} for each example, a"
            f" logit for each class of {spec.name}, received {y.shape[1:]}"
        )
    if y.shape[-1] > 1 and (y >= 0).all() and np.allclose(y.sum(-1), 1, atol=1e-3):
        raise UsageError(
            f"model {model.name}: expected logits, received outputs that are probabilities (each row sums to 1); leave"
            " out the softmax at its end: the loss and the exported file apply it"
        )


def _in_scope(model: keras.Model, strategy: str) -> keras.Model:
    """Return the model itself, or a copy with the same weights if it has to be made inside the strategy's scope."""
    if strategy == "none":
        return model
    copy = type(model).from_config(model.get_config())
    if not copy.built:
        copy.build_from_config(model.get_build_config())
    set_weights(copy, model.get_weights())
    return copy


def built(make: Callable[[], keras.Model], spec: DataSpec, task: Task) -> keras.Model:
    """Make and build a model.

    Args:
        make: Function of `maker`.
        spec: Form of the data.
        task: Task of the data, see `zoo.tasks`.

    Raises:
        UsageError: Arguments or a size of the examples that the model does not take.
    """
    try:
        model = make()
        if not model.built:
            model.build(task.build_shape(spec))
    except ValueError as error:
        raise UsageError(" ".join(str(error).split())) from error
    return model


def over_replicas(compiled: dict[str, Any]) -> dict[str, Any]:
    """Let losses and metrics that compare the examples of a batch with each other see the batch of all replicas.

    Args:
        compiled: Losses and metrics, arguments of `keras.Model.compile`.
    """
    for part in keras.tree.flatten(compiled):
        if hasattr(part, "gather") and on_tensorflow():  # on JAX a batch is whole, however many devices share it
            part.gather = collective.of_all_replicas
    return compiled


def attacked(attack: attacks.Attack, spec: DataSpec, model: keras.Model) -> Attacked:
    """Return an attack on a model.

    Args:
        attack: Kind of attack and its arguments.
        spec: Form of the data of the model.
        model: Built model that gives logits.
    """
    return Attacked(model, attack.eps, attack.size, attack.steps, attacks.PIXELS if spec.kind == "image" else None)
