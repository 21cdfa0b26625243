"""Grid of configurations from one command line: every combination of the given values. Standard library only."""

import dataclasses
import itertools
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zoo import stock
from zoo.config import registry
from zoo.config.train_config import TrainConfig, flag
from zoo.console import values
from zoo.console.errors import UsageError
from zoo.sizing import adaptation

# Options that take one value for the whole sweep: its own, and those whose values may contain commas.
SINGLE = (
    *("seed", "output", "resume", "deterministic", "skip_bad", "text_column", "label_column", "freeze"),
    *("auto_batch", "adversarial", "private"),
)
BETWEEN = "|"  # separates the values of an argument that is a list of numbers itself


@dataclass(frozen=True)
class Point:
    """One configuration of a sweep, trained with several seeds.

    Args:
        varied: Values of the varied options, as text by option: {"--learning-rate": "0.1"}.
        given: Options of `zoo.train`, by field name.
    """

    varied: dict[str, str]
    given: dict[str, Any]

    @property
    def name(self) -> str:
        """Folder name of the configuration: `dropout-0.1_units-32-16`."""
        parts = (f"{key.removeprefix('--').removeprefix('set ')}-{text}" for key, text in self.varied.items())
        return "".join(c if c.isalnum() or c in "._-" else "-" for c in "_".join(parts)) or "default"


def points(given: Mapping[str, Any]) -> list[Point]:
    """Return one validated point for each combination of values.

    Args:
        given: Options by field name. A text with several values separated by commas is varied, and so is each text of
            `settings`. Values of a tuple argument are separated by `|` instead.

    Raises:
        UsageError: If no run could use a value.
    """
    axes: list[list[tuple[str, str, Any]]] = []  # one list of (field, label, value) for each option
    hints = typing.get_type_hints(adaptation.Options)
    uses = {field.name: field.metadata.get("stock") for field in dataclasses.fields(adaptation.Options)}
    for name, text in given.items():
        if name == "settings":
            continue
        if name in SINGLE or not isinstance(text, str):
            axes.append([(name, "", text)])
            continue
        parts = [part.strip() for part in text.split(",")]
        typed = [stock.resolved(values.parse(flag(name), part, hints[name]), uses[name]) for part in parts]
        axes.append([(name, f"{flag(name)}={part}", value) for part, value in zip(parts, typed, strict=True)])
    models = [value for axis in axes for name, _, value in axis if name == "model"] or [TrainConfig.model]
    for model in models:
        if registry.entry(model).task == "generation":
            raise UsageError(
                f"--model {model}: expected a model whose runs are ranked by accuracy, this one generates images"
            )
    for key, text in (given.get("settings") or {}).items():
        axes.append([(f"set {key}", f"--set {key}={part}", part) for part in _parts(models, key, text)])
    for axis in axes:
        labels = [label for _, label, _ in axis]
        if len(set(labels)) < len(labels):
            raise UsageError(f"{labels[0].partition('=')[0]}: expected different values, received one of them twice")
    return [_point(choice, axes) for choice in itertools.product(*axes)]


def _parts(models: list[str], key: str, text: str) -> list[str]:
    """Return the values of a constructor argument, as texts."""
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
    """Return the options of `zoo.train` as (name, type, field), most of them changed to accept several values."""
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
