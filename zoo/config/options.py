"""Declare command-line options as fields of a dataclass. Standard library only."""

import functools
import typing
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from zoo import stock
from zoo.console.errors import UsageError, nearest


def option(help: str, default: Any = None, *, stock_as: stock.Use | None = None, **metadata: Any) -> Any:
    """Declare a dataclass field that is also a command-line option, see `zoo.console.cli.parse`.

    Args:
        help: Text of `--help`.
        default: Value of an option that is not given.
        stock_as: What a name of `python -m zoo.list pretrained` stands for, if the option takes one.
        metadata: `positional`, `optional`, `metavar` and `name`, which change how the option is typed.
    """
    if stock_as is not None:
        help += "; or a name of `python -m zoo.list pretrained`"
        metadata["resolve"] = functools.partial(stock.resolved, use=stock_as)
    return field(default=default, metadata={"help": help, **metadata})


def typed(options: Mapping[str, Any], of: type, function: str) -> dict[str, Any]:
    """Return options by name, their paths as `Path`.

    Args:
        options: Options as they were given.
        of: Dataclass whose fields they are.
        function: Name of the function they were given to, for the message.

    Raises:
        UsageError: An option that there is not.
    """
    hints = typing.get_type_hints(of)
    if unknown := [name for name in options if name not in hints]:
        raise UsageError(
            f"{function}: expected options among {', '.join(hints)}, received {unknown[0]!r}"
            f"{nearest(unknown[0], hints)}"
        )
    is_path = {name for name, hint in hints.items() if Path in (hint, *typing.get_args(hint))}
    return {name: Path(v) if name in is_path and isinstance(v, str) else v for name, v in options.items()}
