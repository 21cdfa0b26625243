"""Scaling of a model's widths by a common factor. Standard library only."""

import math
from collections.abc import Mapping
from typing import Any

from zoo.config import registry
from zoo.console.errors import UsageError

Widths = dict[str, float | tuple[int, ...]]
# Decimals of a width multiplier, which is a float.
DECIMALS = 6


def scalable(model: str, settings: Mapping[str, Any], fixed: Mapping[str, Any], option: str) -> Widths:
    """Return the widths of a model that may be scaled, with their values at a factor of 1.

    Args:
        model: Model name in the registry.
        settings: Constructor arguments, including those of the model's preset and default recipe.
        fixed: Constructor arguments chosen by the user, which are not scaled.
        option: Option that asks for the scaling, for the error message.

    Raises:
        UsageError: If the model has no widths, or all of them are fixed.
    """
    declared = registry.widths(model)
    if not declared:
        raise UsageError(f"{option}: expected a model whose widths can be scaled, {model} has none")
    defaults = {name: argument.default for name, argument in registry.arguments(model).items()}
    values = {name: (defaults | dict(settings))[name] for name in declared}
    # A width of 0 or None means that the layer is absent.
    found = {name: value for name, value in values.items() if value and name not in fixed}
    if not found:
        chosen = ", ".join(name for name in declared if name in fixed)
        raise UsageError(f"{option}: expected a free width of {model}, --set fixes all of them ({chosen})")
    return found


def multiples(model: str, settings: Mapping[str, Any]) -> dict[str, float]:
    """Return the number that each width of a model must be a multiple of."""
    defaults = {name: argument.default for name, argument in registry.arguments(model).items()}
    values = defaults | dict(settings)
    return {name: values[of] if isinstance(of, str) else of for name, of in registry.widths(model).items()}


def at(base: Widths, steps: Mapping[str, float], factor: float) -> Widths:
    """Return the widths times a factor, each rounded to the nearest positive multiple of its step.

    Args:
        base: Widths at a factor of 1.
        steps: Number that each width must be a multiple of, by width name.
        factor: Common factor.
    """

    def scaled(width: float, step: float) -> float:
        return round(step * max(1, math.floor(width * factor / step + 0.5)), DECIMALS)

    return {
        name: tuple(scaled(width, steps[name]) for width in value)
        if isinstance(value, tuple)
        else scaled(value, steps[name])
        for name, value in base.items()
    }


def described(widths: Widths) -> str:
    """Return the widths as one line of text: `filters 16,32,32, units 32`."""
    texts = {n: ",".join(map(str, v)) if isinstance(v, tuple) else str(v) for n, v in widths.items()}
    return ", ".join(f"{name} {text}" for name, text in texts.items())
