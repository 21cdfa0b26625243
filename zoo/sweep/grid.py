"""Configurations of a sweep: every combination of the values on a command line. Standard library only."""

import dataclasses
import itertools
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zoo.config import registry
from zoo.config.train_config import TrainConfig, flag
from zoo.console import values
from zoo.console.errors import UsageError
from zoo.sizing import adaptation

# Options with a single value: those of the sweep itself, and those whose text may contain a comma.
SINGLE = (
    *("seed", "output", "resume", "deterministic", "skip_bad", "text_column", "label_column", "freeze"),
    *("auto_batch", "adversarial", "private"),
)
BETWEEN = "|"  # separates values of an argument that is a tuple of numbers


@dataclass(frozen=True)
class Point:
    """One configuration of a sweep, trained with several seeds.

    Args:
        varied: Options that differ between configurations, as text: {"--learning-rate": "0.1"}.
        given: Options of `zoo.train`, by field name.
    """

    varied: dict[str, str]
    given: dict[str, Any]

    @property
    def name(self) -> str:
        """The name of the point's folder: `dropout-0.1_units-32-16`."""
        parts = (f"{key.removeprefix('--').removeprefix('set ')}-{text}" for key, text in self.varied.items())
        return "".join(c if c.isalnum() or c in "._-" else "-" for c in "_".join(parts)) or "default"


def points(given: Mapping[str, Any]) -> list[Point]:
    """Return a point for each combination of values. Each is a configuration that can be trained.

    Args:
        given: Options by field name. A text may hold several values, separated by commas. The values of a model's
            argument that is a tuple are separated by `|`.

    Raises:
        UsageError: A value that no run could use.
    """
    axes: list[list[tuple[str, str, Any]]] = []  # (field, label, value) for each value
    hints = typing.get_type_hints(adaptation.Options)
    resolvers = {field.name: field.metadata.get("resolve") for field in dataclasses.fields(adaptation.Options)}
    for name, text in given.items():
        if name == "settings":
            continue
        if name in SINGLE or not isinstance(text, str):
            axes.append([(name, "", text)])
            continue
        parts = [part.strip() for part in text.split(",")]
        typed = [values.parse(flag(name), part, hints[name]) for part in parts]
        if resolve := resolvers[name]:
            typed = [resolve(value) for value in typed]
        axes.append([(name, f"{flag(name)}={part}", value) for part, value in zip(parts, typed, strict=True)])
    models = [value for axis in axes for name, _, value in axis if name == "model"] or [TrainConfig.model]
    for model in models:
        if not (facts := registry.entry(model).facts).swept:
            raise UsageError(
                f"--model {model}: expected a model whose runs are ranked by accuracy, this one gives {facts.gives}"
            )
    for key, text in (given.get("settings") or {}).items():
        axes.append([(f"set {key}", f"--set {key}={part}", part) for part in _parts(models, key, text)])
    for axis in axes:
        labels = [label for _, label, _ in axis]
        if len(set(labels)) < len(labels):
            raise UsageError(f"{labels[0].partition('=')[0]}: expected different values, received one twice")
    return [_point(choice, axes) for choice in itertools.product(*axes)]


def _parts(models: list[str], key: str, text: str) -> list[str]:
    """Return the values of a model's argument, as texts."""
    arguments = [registry.arguments(model).get(key) for model in models]
    if any(known and typing.get_origin(values.without_none(known.annotation)) is tuple for known in arguments):
        return [part.strip() for part in text.split(BETWEEN)]
    return [part.strip() for part in text.replace(BETWEEN, ",").split(",")]


def _point(choice: tuple[tuple[str, str, Any], ...], axes: list[list]) -> Point:
    varied, given, settings = {}, {}, {}
    for (name, label, value), axis in zip(choice, axes, strict=True):
        if name.startswith("set "):
            settings[name.removeprefix("set ")] = value
        else:
            given[name] = value
        if len(axis) > 1:
            key, _, text = label.partition("=")
            varied[key] = text
    given = given | ({"settings": settings} if settings else {})
    adaptation.resolved(*adaptation.separate(given))
    return Point(varied, given)


def option_fields() -> list[tuple[str, Any, dataclasses.Field]]:
    """Return the options of `zoo.train` as (name, type, field). Most become texts that hold several values."""
    hints = typing.get_type_hints(adaptation.Options)
    fields = []
    for field in dataclasses.fields(adaptation.Options):
        if field.name == "resume":
            continue
        several = field.name not in (*SINGLE, "settings") and hints[field.name] is not bool
        default = str(field.default) if several and field.default is not None else field.default
        copy = dataclasses.field(default=default, metadata=field.metadata)
        fields.append((field.name, str | None if several else hints[field.name], copy))
    return fields
