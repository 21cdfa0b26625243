"""Declare command-line options as fields of a dataclass. Standard library only."""

import functools
from dataclasses import field
from typing import Any

from zoo import stock


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
