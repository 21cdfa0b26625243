"""The widths with which a model stays within a number of parameters, or of operations."""

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from zoo import tasks
from zoo.config import registry
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data import DataSpec
from zoo.data.batches.pipeline import on_tensorflow
from zoo.sizing import widths
from zoo.sizing.widths import Widths
from zoo.training.building import built, maker

# Of two factors, one within the budget and one beyond it, as a share of them, where the search ends.
CLOSE = 1e-9
# Steps that a recurrent model is counted over: what comes on top from one to the other is a step.
FEW = (2, 3)


@dataclass(frozen=True)
class Scaled:
    """Widths within a budget.

    Args:
        factor: that all of them were multiplied by, before they were rounded.
        widths: by constructor argument.
        reached: parameters or operations of the model with them.
    """

    factor: float
    widths: Widths
    reached: int


def scaled(
    config: TrainConfig, spec: DataSpec, free: Widths, *, target: str, budget: int, option: str = "budget"
) -> Scaled:
    """Return the widths of the largest common factor at which a model of the zoo is within the budget.

    Models are built without memory for their weights. Keras' session is cleared: names and defaults begin anew.

    Args:
        config: of the training.
        spec: of its data.
        free: the widths that are scaled, at a factor of 1; those that this model makes no use of stay.
        target: "params", or "flops": see `flops`.
        budget: the most of them.
        option: that asks for it, for the message.

    Raises:
        UsageError: a budget that the smallest widths exceed.
    """
    count = {"params": parameters, "flops": flops}[target]
    steps = widths.multiples(config.model, config.settings)

    @functools.cache
    def measured(chosen: tuple[tuple[str, Any], ...]) -> int:
        return count(dataclasses.replace(config, settings=config.settings | dict(chosen)), spec)

    def cost(base: Widths, factor: float) -> int:
        return measured(tuple(widths.at(base, steps, factor).items()))

    # Such as the width of an embedding where nothing is embedded.
    used = {name: value for name, value in free.items() if cost({name: value}, 1) != cost({name: value}, 2)}
    if not used:
        raise UsageError(f"{option}: expected widths that {target} depend on, received {widths.described(free)}")
    if (floor := cost(used, 0)) > budget:
        raise UsageError(
            f"{option}: expected at least {floor:,}, which {config.model} has at its smallest"
            f" ({widths.described(widths.at(used, steps, 0))}), received {budget:,}"
        )
    factor = _largest(lambda factor: cost(used, factor) <= budget)
    return Scaled(factor, widths.at(used, steps, factor), cost(used, factor))


def _largest(fits: Callable[[float], bool]) -> float:
    """Return the largest factor that fits, up to rounding, of those below which all do; 0 must fit."""
    low, high = 0.0, 1.0
    while fits(high):
        low, high = high, 2 * high
    while high - low > CLOSE * high:
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def parameters(config: TrainConfig, spec: DataSpec) -> int:
    """Return how many numbers the weights of a configuration's model are."""
    return _without_values(config, spec).count_params()


def flops(config: TrainConfig, spec: DataSpec) -> int:
    """Return the floating-point operations of a call of a configuration's model with one example, not in training.

    Counted by TensorFlow's profiler in the traced graph, on JAX by XLA's cost analysis, which both take a product and
    its sum in a matrix multiplication or a convolution for two. TensorFlow leaves activation functions out, XLA the
    zeros between the pixels of a transposed convolution. A text is as long as the data have them.
    """
    # Neither counts how often a loop goes round, so a recurrence is unrolled; every step of it takes the same.
    if "unroll" not in registry.arguments(config.model):
        return _operations(config, spec)
    unrolled = dataclasses.replace(config, settings=config.settings | {"unroll": True})
    time = spec.input_shape[0]
    few, more = (
        _operations(unrolled, dataclasses.replace(spec, input_shape=(steps, *spec.input_shape[1:]))) for steps in FEW
    )
    return few + (time - FEW[0]) * (more - few)


def _without_values(config: TrainConfig, spec: DataSpec) -> keras.Model:
    """Return the model, built, with variables that take no memory."""
    keras.utils.clear_session(
        free_memory=False
    )  # forgets the variables before, which a scope would give values to as it ends
    task = tasks.of(spec.task)
    make, made = maker(config, spec, task), []
    with keras.StatelessScope(initialize_variables=False):
        if on_tensorflow():
            return built(make, spec, task)
        import jax

        # Traced: the first value of a variable that another begins with would be computed, and compiled for each shape.
        jax.eval_shape(lambda: made.append(built(make, spec, task)))
    return made[0]


def _operations(config: TrainConfig, spec: DataSpec) -> int:
    model = _without_values(config, spec)

    def call(trainable: list, non_trainable: list, inputs: Any) -> Any:
        return model.stateless_call(trainable, non_trainable, inputs, training=False)[0]

    shapes = model.trainable_variables, model.non_trainable_variables, _example(model, spec)
    return _of_tensorflow(call, shapes) if on_tensorflow() else _of_jax(call, shapes)


def _example(model: keras.Model, spec: DataSpec) -> Any:
    """Return what a model is called with for one example, as symbols."""
    shapes = tasks.of(spec.task).build_shape(spec)
    if spec.task == "generation":
        shapes = [shapes, (None, model.code_size), (None, 1)]
    dtypes = (spec.input_dtype, "int32" if spec.target_shape else "float32", "float32")
    if not isinstance(shapes, list):
        return keras.KerasTensor((1, *shapes[1:]), dtypes[0])
    return tuple(keras.KerasTensor((1, *shape[1:]), dtype) for shape, dtype in zip(shapes, dtypes, strict=False))


def _of_tensorflow(call: Callable, shapes: Any) -> int:
    import tensorflow as tf

    given = keras.tree.map_structure(lambda x: tf.TensorSpec(x.shape, x.dtype), shapes)
    graph = tf.function(call).get_concrete_function(*given).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    return tf.compat.v1.profiler.profile(graph, options=options | {"output": "none"}).total_float_ops


def _of_jax(call: Callable, shapes: Any) -> int:
    import jax

    given = keras.tree.map_structure(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), shapes)
    return int(jax.jit(call).lower(*given).cost_analysis()["flops"])
