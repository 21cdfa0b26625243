"""What every command shares: options from a dataclass, one-sentence errors, exit codes, --json and --debug.

A command's module holds `run(given) -> result` and `show(result)`, and `main`, which is `command` with both filled in.
"""

import argparse
import dataclasses
import errno
import json
import os
import sys
import traceback
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from strategies import StrategyError
from zoo.console import values
from zoo.console.errors import Diverged, Failed, Interrupted, UsageError, nearest


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> typing.NoReturn:
        raise UsageError(message)


def command(
    options: type,
    run: Callable[[Mapping[str, Any]], Any],
    show: Callable[[Any], None],
    argv: Sequence[str] | None = None,
    *,
    prog: str,
    description: str,
) -> int:
    """Parse, run and show one command, and return its exit status.

    Args:
        options: a dataclass whose fields are the options, see `zoo.config.options.option`.
        run: takes the options that were given, by field name; returns a JSON-able result.
        show: prints a result for people; its last line is the path of what was produced, if anything was.
        argv: the words after the command; default those of this process.
        prog: the command as typed.
        description: the first sentence of --help.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    try:
        given = parse(options, words, prog=prog, description=description)
        as_json = given.pop("json")
        given.pop("debug")
        result = run(given)
        if as_json:
            print(json.dumps(result, indent=2, default=str))
        else:
            show(result)
        sys.stdout.flush()
        return 0
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (UsageError, StrategyError) as error:
        return _report(prog, str(error), 2, debug)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            return _report(prog, f"{type(error).__name__}: {error}", 1, debug)
        where = f" while writing {error.filename}" if error.filename else ""
        return _report(prog, f"disk full{where}: free some space, then go on with --resume", 2, debug)
    except (Interrupted, KeyboardInterrupt) as error:
        return _report(prog, str(error) or "interrupted", 130, debug)
    except (Diverged, Failed) as error:
        return _report(prog, str(error), 1, debug)
    except Exception as error:  # the boundary of the process: anything unforeseen becomes one line
        text = " ".join(str(error).split())[:500]
        return _report(prog, f"{type(error).__name__}: {text} (--debug shows where)", 1, debug)


def say(text: str) -> None:
    """Tell a person what is being done, on standard error."""
    print(text, file=sys.stderr, flush=True)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows: aligned on a terminal, tab-separated with a header line in a pipe."""
    if not sys.stdout.isatty():
        for row in (columns, *rows):
            print("\t".join(" ".join(str(cell).split()) for cell in row))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    drawn = Table(*columns, box=box.SIMPLE_HEAD)
    for row in rows:
        drawn.add_row(*map(str, row))
    Console().print(drawn, markup=False)


def parse(options: type, words: Sequence[str], *, prog: str, description: str) -> dict[str, Any]:
    """Return the options that were given, typed, by field name, with json and debug always among them.

    Raises:
        UsageError: an unknown option, or a value that is not of its type.
        SystemExit: after --help.
    """
    parser = _Parser(prog=prog, description=description, allow_abbrev=False, argument_default=argparse.SUPPRESS)
    types = typing.get_type_hints(options)
    flags, resolvers = {}, {}
    for field in dataclasses.fields(options):
        flags[field.name] = _add(parser, field, types[field.name])
        resolvers[field.name] = field.metadata.get("resolve", lambda value: value)
    parser.add_argument("--json", action="store_true", default=False, help="print one JSON object instead")
    parser.add_argument("--debug", action="store_true", default=False, help="show the traceback of an error")
    known, rest = parser.parse_known_args(list(words))
    if rest:
        all_flags = [text for action in parser._actions for text in action.option_strings]
        hint = nearest(rest[0].partition("=")[0], all_flags) if rest[0].startswith("-") else ""
        raise UsageError(f"unexpected argument {rest[0]!r}{hint}; --help lists the options")
    given = vars(known)
    for name, text in given.items():
        if name in types and not isinstance(text, bool):
            given[name] = _typed(flags[name], text, types[name])
    # Last, as a run that is copied stays so when something else is wrong.
    return {name: resolvers[name](value) if name in resolvers else value for name, value in given.items()}


def _add(parser: argparse.ArgumentParser, field: dataclasses.Field, annotation: Any) -> str:
    meta = field.metadata
    text = meta["help"].replace("%", "%%")
    if field.default not in (None, False, dataclasses.MISSING):
        text += f" (default: {field.default})"
    if meta.get("positional"):
        many = typing.get_origin(annotation) is tuple
        parser.add_argument(
            field.name,
            metavar=meta.get("metavar", field.name.upper()),
            help=text,
            nargs=("*" if many else "?") if meta.get("optional") else "+" if many else None,
        )
        return field.name.upper()
    flag = "--" + meta.get("name", field.name).replace("_", "-")
    if annotation is bool:
        parser.add_argument(flag, dest=field.name, action="store_true", help=text)
        return flag
    inner = values.without_none(annotation)
    choices = typing.get_args(inner) if typing.get_origin(inner) is typing.Literal else ()
    default_name = "{" + ",".join(map(str, choices)) + "}" if choices else _METAVARS.get(inner, "TEXT")
    repeat = typing.get_origin(inner) in (dict, Mapping)
    parser.add_argument(
        flag,
        dest=field.name,
        metavar=meta.get("metavar", default_name),
        help=text,
        action="append" if repeat else "store",
    )
    return flag


_METAVARS = {int: "N", float: "X"}


def _typed(flag: str, text: Any, annotation: Any) -> Any:
    if typing.get_origin(annotation) in (dict, Mapping):
        pairs = [part.partition("=") for part in text]
        for name, equals, _ in pairs:
            if not (name and equals):
                raise UsageError(f"{flag}: expected NAME=VALUE, received {name!r}")
        return {name: value for name, _, value in pairs}
    if isinstance(text, list):
        return tuple(values.parse(flag, part, typing.get_args(annotation)[0]) for part in text)
    return values.parse(flag, text, annotation)


def _report(prog: str, message: str, status: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print(f"{prog.removeprefix('python -m ')}: {message}", file=sys.stderr)
    return status
