"""`python -m zoo.completion SHELL`: a script by which a shell completes the commands of `zoo` and their options."""

import argparse
import functools
import sys
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import strategies
from zoo.config import registry
from zoo.config.options import option
from zoo.config.train_config import EMBEDDED
from zoo.console import cli, values
from zoo.console.verbs import PURPOSES

Shell = Literal["bash", "zsh", "fish", "tcsh", "powershell"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Which shell."""

    shell: Shell = option("shell that will read the script: bash, zsh, fish, tcsh or powershell", positional=True)


def run(given: Mapping[str, Any]) -> dict[str, str]:
    """Return the script."""
    import shtab

    return {"script": shtab.complete(parser(), shell=Options(**given).shell)}


def parser() -> argparse.ArgumentParser:
    """Return a parser of `zoo VERB ...` whose options know what their values may be."""
    whole = argparse.ArgumentParser(prog="zoo", description="Train, compress and prove models.")
    whole.add_argument("--version", action="store_true", help="print the version")
    under = whole.add_subparsers(dest="verb")
    for commands in PURPOSES.values():
        for verb, (module, what) in commands.items():
            options = cli.options_of(module)
            if options is None:
                under.add_parser(verb, help=what, description=what)
                continue
            made, _ = cli.parser_of(options, prog=f"zoo {verb}", description=what)
            for action in made._actions:
                _complete(action, options)
            under.add_parser(verb, help=what, description=what, parents=[made], add_help=False)
    return whole


def _complete(action: argparse.Action, options: type) -> None:
    """Say what the value of an option may be: a name among some, or a path."""
    import shtab

    hint = values.without_none(typing.get_type_hints(options).get(action.dest, str))
    if typing.get_origin(hint) is Literal:
        action.choices = [str(value) for value in typing.get_args(hint)]
    elif hint is Path or Path in typing.get_args(hint) or action.dest == "config":
        action.complete = shtab.FILE
    elif names := _names().get(action.dest):
        action.choices = names


def _names() -> dict[str, list[str]]:
    """Return the names that options take, by the field of the option."""
    return {"model": list(registry.MODELS), "strategy": list(strategies.STRATEGIES), "dataset": list(EMBEDDED)}


def show(result: Mapping[str, str]) -> None:
    """Print the script."""
    print(result["script"])


main = functools.partial(
    cli.command,
    Options,
    run,
    show,
    prog="python -m zoo.completion",
    description="Print a script that lets a shell complete `zoo`: its commands, their options, and names of models.",
    examples=('eval "$(python -m zoo.completion bash)"', "python -m zoo.completion zsh > ~/.zfunc/_zoo"),
)


if __name__ == "__main__":
    sys.exit(main())
