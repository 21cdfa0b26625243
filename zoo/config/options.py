"""Declare command-line options as fields of a dataclass. Standard library only."""

import dataclasses
import functools
import typing
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from zoo import stock
from zoo.console import values
from zoo.console.errors import UsageError, nearest

T = TypeVar("T")

# Smallest and largest random seed: what numpy, Keras and TensorFlow all take.
SEEDS = (0, 2**32 - 1)


def option(
    help: str,
    default: Any = None,
    *,
    group: str | None = None,
    name: str | None = None,
    metavar: str | None = None,
    within: tuple[float, float] | None = None,
    positional: bool = False,
    optional: bool = False,
    stock_as: stock.Use | None = None,
) -> Any:
    """Declare a dataclass field that is also a command-line option, see `zoo.console.cli.parse`.

    Args:
        help: Text of `--help`.
        default: Value of an option that is not given.
        group: Heading of `--help` under which the option is listed.
        name: Name on the command line if it is not the field's.
        metavar: Placeholder for the value in `--help`.
        within: Smallest and largest allowed value, checked by the dataclass.
        positional: Whether the value is typed without an option name.
        optional: Whether a positional argument may be left out.
        stock_as: Meaning of a name of `python -m zoo.list pretrained`, if the option takes one.
    """
    resolve = None
    if stock_as is not None:
        help += "; or the name of a pretrained run, see `python -m zoo.list pretrained`"
        resolve = functools.partial(stock.resolved, use=stock_as)
    metadata = {
        "help": help,
        "group": group,
        "name": name,
        "metavar": metavar,
        "within": within,
        "positional": positional,
        "optional": optional,
        "resolve": resolve,
    }
    return dataclasses.field(
        default=default, metadata={key: value for key, value in metadata.items() if value not in (None, False)}
    )


def under(group: str) -> Callable[[type[T]], type[T]]:
    """Return a class decorator that lists all options of a class under one heading; it goes below `@dataclass`."""

    def decorate(options: type[T]) -> type[T]:
        for value in vars(options).values():
            if isinstance(value, dataclasses.Field):
                value.metadata = MappingProxyType({**value.metadata, "group": group})
        return options

    return decorate


def flag(name: str) -> str:
    """Return the option that sets a field."""
    return "--" + name.replace("_", "-")


@functools.cache
def annotations(of: type) -> Mapping[str, Any]:
    """Return the types of the fields of a dataclass by name."""
    return MappingProxyType(typing.get_type_hints(of))


def changed(options: Any) -> dict[str, Any]:
    """Return the options of a dataclass that differ from their defaults, by name."""
    found = {field.name: (getattr(options, field.name), field.default) for field in dataclasses.fields(options)}
    return {name: value for name, (value, default) in found.items() if value != default}


def typed(options: Mapping[str, Any], of: type, function: str) -> dict[str, Any]:
    """Return options by name that were given in Python, in the form that the command line gives them.

    Args:
        options: Options as they were given.
        of: Dataclass whose fields they are.
        function: Name of the function they were given to, for the message.

    Raises:
        UsageError: An option that there is not, or a value of another type.
    """
    known = annotations(of)
    if unknown := [name for name in options if name not in known]:
        raise UsageError(
            f"{function}: expected options among {', '.join(known)}, received {unknown[0]!r}"
            f"{nearest(unknown[0], known)}"
        )
    return {name: values.accept(f"{function}: {name}", value, known[name]) for name, value in options.items()}


def take_types(options: Any) -> None:
    """Bring the values of a frozen dataclass of options into the form that the command line gives them.

    Defaults stay as they are.

    Args:
        options: Instance, in its `__post_init__`.

    Raises:
        UsageError: A value of another type, or one that is not among the choices.
    """
    known = annotations(type(options))
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if value is not field.default:
            taken = values.accept(flag(field.metadata.get("name", field.name)), value, known[field.name])
            object.__setattr__(options, field.name, taken)
