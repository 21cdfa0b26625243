"""The frame of every command: options from a dataclass, one-sentence errors, exit codes, --json and --debug.

A command's module holds `run(given) -> result`, `show(result)` and `main`, a `functools.partial` of `command`. Options
are fields declared with `zoo.config.options.option`; those with a `group` are listed under its heading in `--help`.
"""

import argparse
import dataclasses
import functools
import importlib
import importlib.util
import json
import shutil
import sys
import textwrap
import traceback
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from strategies import StrategyError
from strategies.streams import lasting
from zoo.console import option_files, values
from zoo.console.errors import INTERRUPTED, Diverged, Failed, Interrupted, UsageError, nearest, of_machine
from zoo.system import temporary
from zoo.system.signals import interrupting

# Options of the frame, which every command has.
FRAME = ("json", "debug", "print_config")


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
    examples: Sequence[str] = (),
    resolved: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None,
) -> int:
    """Parse, run and show one command, and return its exit status.

    Args:
        options: Dataclass whose fields are the options, see `zoo.config.options.option`.
        run: Function that takes the given options by field name and returns a JSON-able result.
        show: Function that prints a result for people; its last line is the path of what was written, if anything was.
        argv: Words after the command; those of this process by default.
        prog: Command as typed.
        description: First sentence of --help.
        examples: Command lines shown at the end of --help.
        resolved: Function that fills in the defaults of given options for --print-config; by default those of the
            fields.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    told = {"prog": prog, "description": description, "examples": examples, "resolved": resolved}
    with lasting() as output, interrupting():
        status, result = _carry_out(options, run, show, words, **told)
        output.flush()
        if not status and output.unreadable:
            print(f"{_short(prog)}: finished, but standard output: {output.lost.strerror}", file=sys.stderr)
            return 0 if _is_on_disk(result) else 1
        return status


def _carry_out(
    options: type,
    run: Callable[[Mapping[str, Any]], Any],
    show: Callable[[Any], None],
    words: Sequence[str],
    *,
    prog: str,
    description: str,
    examples: Sequence[str],
    resolved: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None,
) -> tuple[int, Any]:
    """Return the exit status and the result; the arguments are those of `command`."""
    debug = "--debug" in words
    try:
        given = parse(options, words, prog=prog, description=description, examples=examples)
        as_json = given.pop("json")
        given.pop("debug")
        if given.pop("print_config"):
            chosen, fields = resolved(given) if resolved else given, _named(options)
            defaults = {name: field.default for name, field in fields.items()}
            chosen = {name: chosen.get(field.name, field.default) for name, field in fields.items()}
            print(option_files.written(chosen, defaults), end="")
            return 0, None
        if swept := temporary.sweep_system():
            say(swept)
        with temporary.home():
            result = run(given)
        if as_json:
            print(json.dumps(result, indent=2, default=str))
        else:
            show(result)
        return 0, result
    except (UsageError, StrategyError) as error:
        return _report(prog, str(error), 2, debug), None
    except (Interrupted, KeyboardInterrupt) as error:
        return _report(prog, str(error) or "interrupted", INTERRUPTED, debug), None
    except (Diverged, Failed) as error:
        return _report(prog, str(error), 1, debug), None
    except Exception as error:  # boundary of the process: an unforeseen error becomes one line
        if sentence := of_machine(error):
            return _report(prog, sentence, 2, debug), None
        if isinstance(error, OSError):
            return _report(prog, f"{type(error).__name__}: {error}", 1, debug), None
        text = " ".join(str(error).split())[:500]
        return _report(prog, f"{type(error).__name__}: {text} (--debug shows where)", 1, debug), None


def options_of(module: str) -> type | None:
    """Return the dataclass of the options of a command, None if its options are not declared in one.

    Args:
        module: Module that `python -m` runs.
    """
    inside = importlib.util.find_spec(module).submodule_search_locations
    main = importlib.import_module(f"{module}.__main__" if inside else module).main
    return main.args[0] if isinstance(main, functools.partial) and main.func is command else None


def _named(options: type) -> dict[str, dataclasses.Field]:
    """Return the field of each option by its name in a file; positional arguments are not among them."""
    fields = [field for field in dataclasses.fields(options) if not field.metadata.get("positional")]
    return {field.metadata.get("name", field.name): field for field in fields}


def flags(options: type) -> dict[str, str]:
    """Return each option as typed, by its name in a file; positional arguments are not among them."""
    return {name: "--" + name.replace("_", "-") for name in _named(options)}


def _is_on_disk(result: Any) -> bool:
    """Whether a command wrote its result into files, so that what it prints is only a summary."""
    return isinstance(result, Mapping) and bool({"path", "run", "folder", "files"} & result.keys())


def say(text: str) -> None:
    """Print progress on standard error."""
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


def parse(
    options: type, words: Sequence[str], *, prog: str, description: str, examples: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the given options, typed, by field name; those of FRAME are always among them.

    Args:
        options: Dataclass whose fields are the options.
        words: Words after the command.
        prog: Command as typed.
        description: First sentence of --help.
        examples: Command lines shown at the end of --help.

    Raises:
        UsageError: Unknown option, or a value of the wrong type.
        SystemExit: After --help.
    """
    parser, typed_as = parser_of(options, prog=prog, description=description, examples=examples)
    types, fields = typing.get_type_hints(options), dataclasses.fields(options)
    resolvers = {field.name: field.metadata.get("resolve", lambda value: value) for field in fields}
    limits = {field.name: field.metadata.get("within") for field in fields}
    known, rest = parser.parse_known_args(option_files.expanded(words, flags(options)))
    if rest:
        all_flags = [text for action in parser._actions for text in action.option_strings]
        hint = nearest(rest[0].partition("=")[0], all_flags) if rest[0].startswith("-") else ""
        raise UsageError(f"unexpected argument {rest[0]!r}{hint}; --help lists the options")
    given = vars(known)
    for name, text in given.items():
        if name in types and not isinstance(text, bool):
            given[name] = _typed(typed_as[name], text, types[name])
            _check_within(typed_as[name], given[name], limits[name])
    # Last: resolving a name may copy a pretrained run, which should not happen before another option is refused.
    return {name: resolvers[name](value) if name in resolvers else value for name, value in given.items()}


def parser_of(
    options: type, *, prog: str, description: str, examples: Sequence[str] = ()
) -> tuple[argparse.ArgumentParser, dict[str, str]]:
    """Return the parser of a command, and each option as typed by the name of its field.

    Args:
        options: Dataclass whose fields are the options.
        prog: Command as typed.
        description: First sentence of --help.
        examples: Command lines shown at the end of --help.
    """
    parser = _parser(prog, description, examples)
    types = typing.get_type_hints(options)
    typed_as, groups = {}, {}
    for field in dataclasses.fields(options):
        group = field.metadata.get("group")
        if group and group not in groups:
            groups[group] = parser.add_argument_group(group)
        typed_as[field.name] = _add(groups.get(group, parser), field, types[field.name])
    if groups:  # enough options that a list of all of them would hide the sections below it
        parser.usage = " ".join(["%(prog)s", *_positionals(parser), "[options]"])
    parser.add_argument(
        option_files.FLAG, metavar="FILE", help="TOML or YAML file of options by name; the command line wins"
    )
    parser.add_argument(
        option_files.PRINT, action="store_true", default=False, help="print the options as TOML and exit"
    )
    parser.add_argument("--json", action="store_true", default=False, help="print the result as one JSON object")
    parser.add_argument("--debug", action="store_true", default=False, help="show the traceback of an error")
    return parser, typed_as


def _parser(prog: str, description: str, examples: Sequence[str]) -> _Parser:
    arguments: dict[str, Any] = {"description": description}
    if examples:  # argparse would join their lines
        width = shutil.get_terminal_size().columns - 2
        arguments = {
            "description": textwrap.fill(description, width),
            "epilog": "\n".join(["examples:", *(f"  {example}" for example in examples)]),
            "formatter_class": argparse.RawDescriptionHelpFormatter,
        }
    return _Parser(prog=prog, allow_abbrev=False, argument_default=argparse.SUPPRESS, **arguments)


def _positionals(parser: argparse.ArgumentParser) -> list[str]:
    """Return the positional arguments as the usage line shows them."""
    shown = {"?": "[{}]", "*": "[{} ...]", "+": "{} [{} ...]", None: "{}"}
    return [shown[a.nargs].replace("{}", str(a.metavar)) for a in parser._get_positional_actions()]


def _add(parser: argparse._ActionsContainer, field: dataclasses.Field, annotation: Any) -> str:
    """Add the option of a field to a parser or to a group of it, and return the option as typed."""
    meta = field.metadata
    text = meta["help"].replace("%", "%%")
    if field.default not in (None, False, (), dataclasses.MISSING):
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
    """Return what was typed after an option as a value of the field's type."""
    if typing.get_origin(annotation) in (dict, Mapping):
        pairs = [part.partition("=") for part in text]
        for name, equals, _ in pairs:
            if not (name and equals):
                raise UsageError(f"{flag}: expected NAME=VALUE, received {name!r}")
        return {name: value for name, _, value in pairs}
    if isinstance(text, list):
        return tuple(values.parse(flag, part, typing.get_args(annotation)[0]) for part in text)
    return values.parse(flag, text, annotation)


def _check_within(flag: str, value: Any, limits: tuple[float, float] | None) -> None:
    if limits and isinstance(value, (int, float)) and not limits[0] <= value <= limits[1]:
        raise UsageError(f"{flag}: expected a value from {limits[0]:g} to {limits[1]:g}, received {value}")


def _report(prog: str, message: str, status: int, debug: bool) -> int:
    """Print an error on standard error and return its exit status."""
    if debug:
        traceback.print_exc()
    print(f"{_short(prog)}: {message}", file=sys.stderr)
    return status


def _short(prog: str) -> str:
    return prog.removeprefix("python -m ")
