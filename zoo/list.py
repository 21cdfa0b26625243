"""`python -m zoo.list`: models, data sets, strategies, recipes and pretrained runs by name."""

import functools
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import strategies
from zoo import stock
from zoo.config import catalogue, defaults, registry
from zoo.config.options import option
from zoo.config.train_config import EMBEDDED
from zoo.console import cli
from zoo.reports import stock_table


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `python -m zoo.list`."""

    what: Literal["models", "datasets", "strategies", "recipes", "pretrained"] | None = option(
        "list to print: models, datasets, strategies, recipes or pretrained (default: all)",
        positional=True,
        optional=True,
    )
    data_dir: Path | None = option("folder of prepared TFDS sets (default: TFDS' own folder)")


def run(given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return descriptions by name, for each list; for a pretrained run, cells by column."""
    options = Options(**given)
    lists = {
        "models": _models,
        "datasets": _datasets,
        "strategies": _strategies,
        "recipes": _recipes,
        "pretrained": _pretrained,
    }
    chosen = [options.what] if options.what else list(lists)
    return {name: lists[name](options) for name in chosen}


def _models(options: Options) -> dict[str, str]:
    every = registry.MODELS | registry.HUB_MODELS
    return {name: f"{entry.summary}; takes {', '.join(entry.inputs)}" for name, entry in every.items()}


def _datasets(options: Options) -> dict[str, str]:
    folder = options.data_dir or catalogue.default_data_dir()
    prepared = dict.fromkeys(catalogue.prepared_names(folder), f"TFDS, prepared in {folder}")
    known = len(catalogue.tfds_names())
    others = f"any TFDS set of images or texts by class, of pairs of texts, or of plain text ({known} sets), downloaded"
    return EMBEDDED | prepared | {"...": others}


def _strategies(options: Options) -> dict[str, str]:
    return {**strategies.STRATEGIES, **{n: f"not available: {reason}" for n, reason in strategies.REFUSED.items()}}


def _recipes(options: Options) -> dict[str, str]:
    return {name: defaults.summary(settings) for name, settings in defaults.named().items()}


def _pretrained(options: Options) -> dict[str, dict[str, str]]:
    return {name: stock_table.cells(name) for name in stock.index()}


def show(result: Mapping[str, Mapping[str, Any]]) -> None:
    """Print each list as a table on a terminal, tab-separated in a pipe."""
    for what, entries in result.items():
        rows = list(entries.values())
        if rows and isinstance(rows[0], Mapping):  # the command, which --json has, would make the table too wide
            columns = [title for title in rows[0] if title != "command"]
            cli.table(columns, [[row[title] for title in columns] for row in rows])
        else:
            cli.table((what, "description"), list(entries.items()))


main = functools.partial(
    cli.command,
    Options,
    run,
    show,
    prog="python -m zoo.list",
    description="List models, data sets, strategies, recipes and pretrained runs by name.",
)


if __name__ == "__main__":
    sys.exit(main())
