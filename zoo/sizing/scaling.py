"""Model widths that fit a budget of parameters or floating-point operations."""

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

# Relative difference between a factor within the budget and one beyond it at which the search ends.
CLOSE = 1e-9
# Numbers of time steps a recurrent model is counted over; the difference of the counts is the cost of one step.
FEW = (2, 3)


@dataclass(frozen=True)
class Scaled:
    """Widths within a budget.

    Args:
        factor: Common factor of all widths before rounding.
        widths: Widths by constructor argument.
        reached: Number of parameters or operations of the model with these widths.
    """

    factor: float
    widths: Widths
    reached: int


def scaled(
    config: TrainConfig, spec: DataSpec, free: Widths, *, target: str, budget: int, option: str = "budget"
) -> Scaled:
    """Return the widths at the largest common factor that keeps a model of the zoo within the budget.

    Models are built without allocating their weights. The Keras session is cleared, which resets automatic names.

    Args:
        config: Configuration of the training.
        spec: Description of its data.
        free: Widths to scale, at a factor of 1. Widths that do not affect this model stay unchanged.
        target: Quantity with a budget, "params" or "flops" (see `flops`).
        budget: Maximum number of parameters or operations.
        option: Option that asks for the scaling, for error messages.

    Raises:
        UsageError: If the smallest widths exceed the budget, or no width affects the target.
    """
    count = {"params": parameters, "flops": flops}[target]
    steps = widths.multiples(config.model, config.settings)

    @functools.cache
    def measured(chosen: tuple[tuple[str, Any], ...]) -> int:
        return count(dataclasses.replace(config, settings=config.settings | dict(chosen)), spec)

    def cost(base: Widths, factor: float) -> int:
        return measured(tuple(widths.at(base, steps, factor).items()))

    # Some widths have no effect, such as that of an embedding in a model of images.
    used = {name: value for name, value in free.items() if cost({name: value}, 1) != cost({name: value}, 2)}
    if not used:
        raise UsageError(f"{option}: expected widths that {target} depend on, received {widths.described(free)}")
    if (floor := cost(used, 0)) > budget:
        raise UsageError(
            f"{option}: expected at least {floor:,}, the cost of {config.model} at its smallest widths"
            f" ({widths.described(widths.at(used, steps, 0))}), received {budget:,}"
        )
    factor = _largest(lambda factor: cost(used, factor) <= budget)
    return Scaled(factor, widths.at(used, steps, factor), cost(used, factor))


def _largest(fits: Callable[[float], bool]) -> float:
    """Return the largest factor that fits, found by bisection. Fitting is assumed to be monotonic, and 0 to fit."""
    low, high = 0.0, 1.0
    while fits(high):
        low, high = high, 2 * high
    while high - low > CLOSE * high:
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def parameters(config: TrainConfig, spec: DataSpec) -> int:
    """Return the number of parameters of a configuration's model.

    Args:
        config: Configuration of the training.
        spec: Description of its data.
    """
    return _without_values(config, spec).count_params()


def flops(config: TrainConfig, spec: DataSpec) -> int:
    """Return the floating-point operations of one inference call with one example.

    TensorFlow's profiler counts them in the traced graph, or XLA's cost analysis on JAX. Both count a multiply-add of a
    matrix multiplication or convolution as two operations. TensorFlow leaves out activation functions; XLA leaves out
    the zeros inserted by transposed convolutions. Texts have the length of the data's input shape.

    Args:
        config: Configuration of the training.
        spec: Description of its data.
    """
    # Neither tool multiplies by a loop's iterations, so recurrences are unrolled; every step costs the same.
    if "unroll" not in registry.arguments(config.model):
        return _operations(config, spec)
    unrolled = dataclasses.replace(config, settings=config.settings | {"unroll": True})
    time = spec.input_shape[0]
    few, more = (
        _operations(unrolled, dataclasses.replace(spec, input_shape=(steps, *spec.input_shape[1:]))) for steps in FEW
    )
    return few + (time - FEW[0]) * (more - few)


def _without_values(config: TrainConfig, spec: DataSpec) -> keras.Model:
    """Return the built model with variables that occupy no memory."""
    # Forgets earlier variables, which the stateless scope would initialise when it ends.
    keras.utils.clear_session(free_memory=False)
    make, made = maker(config, spec, None), []
    with keras.StatelessScope(initialize_variables=False):
        if on_tensorflow():
            return built(make, spec)
        import jax

        # Tracing avoids computing initial values, which JAX would compile once for each shape.
        jax.eval_shape(lambda: made.append(built(make, spec)))
    return made[0]


def _operations(config: TrainConfig, spec: DataSpec) -> int:
    model = _without_values(config, spec)

    def call(trainable: list, non_trainable: list, inputs: Any) -> Any:
        return model.stateless_call(trainable, non_trainable, inputs, training=False)[0]

    shapes = model.trainable_variables, model.non_trainable_variables, _example(model, spec)
    return _of_tensorflow(call, shapes) if on_tensorflow() else _of_jax(call, shapes)


def _example(model: keras.Model, spec: DataSpec) -> Any:
    """Return symbolic inputs of a model for one example."""
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
