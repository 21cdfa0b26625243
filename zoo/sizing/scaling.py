"""Scale the widths of a model to a budget of parameters or operations."""

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
from zoo.introspection import operations
from zoo.sizing import widths
from zoo.sizing.widths import Widths
from zoo.training.building import built, maker

# Relative distance of a factor within the budget and one beyond it at which the search ends.
CLOSE = 1e-9
# Numbers of steps that a recurrent model is counted with. The difference is the cost of one step.
FEW = (2, 3)


@dataclass(frozen=True)
class Scaled:
    """Widths within a budget.

    Args:
        factor: Factor that all widths were multiplied by before they were rounded.
        widths: Widths by constructor argument.
        reached: Number of parameters or operations of the model with them.
    """

    factor: float
    widths: Widths
    reached: int


def scaled(
    config: TrainConfig, spec: DataSpec, free: Widths, *, target: str, budget: int, option: str = "budget"
) -> Scaled:
    """Return the widths with the largest common factor at which a model of the zoo is within a budget.

    Models are built without memory for their weights. The Keras session is cleared, which resets names and defaults.

    Args:
        config: Configuration of the training.
        spec: Form of its data.
        free: Widths to scale, at a factor of 1. Widths that the model does not use stay as they are.
        target: Quantity of the budget, "params" or "flops", see `flops`.
        budget: Maximum of that quantity.
        option: Name of the option that sets the budget, for messages.

    Raises:
        UsageError: The smallest widths exceed the budget.
    """
    count = {"params": parameters, "flops": flops}[target]
    steps = widths.multiples(config.model, config.settings)

    @functools.cache
    def measured(chosen: tuple[tuple[str, Any], ...]) -> int:
        return count(dataclasses.replace(config, settings=config.settings | dict(chosen)), spec)

    def cost(base: Widths, factor: float) -> int:
        return measured(tuple(widths.at(base, steps, factor).items()))

    # A width may be unused, such as that of an embedding if nothing is embedded.
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
    """Return the largest factor below which all factors fit, up to rounding. 0 must fit."""
    low, high = 0.0, 1.0
    while fits(high):
        low, high = high, 2 * high
    while high - low > CLOSE * high:
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def parameters(config: TrainConfig, spec: DataSpec) -> int:
    """Return the number of parameters of a configuration's model."""
    return _without_values(config, spec).count_params()


def flops(config: TrainConfig, spec: DataSpec) -> int:
    """Return the floating-point operations of a call of a configuration's model with one example in inference.

    See `zoo.introspection.operations.count`. Texts have the length of the data.
    """
    # The iterations of a loop are not counted, so recurrent layers are unrolled. All of their steps cost the same.
    if "unroll" not in registry.arguments(config.model):
        return _operations(config, spec)
    unrolled = dataclasses.replace(config, settings=config.settings | {"unroll": True})
    time = spec.input_shape[0]
    few, more = (
        _operations(unrolled, dataclasses.replace(spec, input_shape=(steps, *spec.input_shape[1:]))) for steps in FEW
    )
    return few + (time - FEW[0]) * (more - few)


def _without_values(config: TrainConfig, spec: DataSpec) -> keras.Model:
    """Return the model, built with variables that take no memory."""
    # Variables of earlier models would be initialised when the scope ends.
    keras.utils.clear_session(free_memory=False)
    task = tasks.of(spec.task)
    make, made = maker(config, spec, task), []
    with keras.StatelessScope(initialize_variables=False):
        if on_tensorflow():
            return built(make, spec, task)
        import jax

        # Traced, because initial values would otherwise be computed, and compiled for each shape.
        jax.eval_shape(lambda: made.append(built(make, spec, task)))
    return made[0]


def _operations(config: TrainConfig, spec: DataSpec) -> int:
    model = _without_values(config, spec)
    return operations.of_inference(model, tasks.of(spec.task).inputs(model, spec))
