"""Options of a command in a TOML or YAML file: `--config FILE`, and `--print-config`, which writes one."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.console.errors import UsageError, nearest
from zoo.console.values import INTEGERS

FLAG, PRINT = "--config", "--print-config"


def expanded(words: Sequence[str], flags: Mapping[str, str]) -> list[str]:
    """Return the words of a command line with `--config FILE` replaced by the options in the file.

    They come first, so that what is typed wins.

    Args:
        words: Words after the command.
        flags: Option as typed, by the name that stands in a file.

    Raises:
        UsageError: The file is missing, is not a table of options, or has an unknown option.
    """
    kept: list[str] = []
    found: list[str] = []
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if name != FLAG:
            kept.append(word)
            continue
        path = value if equals else next(rest, "")
        if not path:
            raise UsageError(f"{FLAG}: expected a TOML or YAML file, received none")
        where = f"{FLAG} {path}"
        found += as_words(where, read(where, Path(path)), flags)
    return [*found, *kept]


def as_words(where: str, values: Mapping[str, Any], flags: Mapping[str, str]) -> list[str]:
    """Return options of a file as words of a command line.

    Args:
        where: Place of the options, for messages.
        values: Values by the name of the option.
        flags: Option as typed, by the name that stands in a file.

    Raises:
        UsageError: An unknown option, or a value that no option takes.
    """
    words: list[str] = []
    for name, value in values.items():
        flag = flags.get(name.replace("-", "_"))
        if flag is None:
            raise UsageError(f"{where}: {name!r} is no option of this command{nearest(name.replace('-', '_'), flags)}")
        words += _as_words(where, name, flag, value)
    return words


def _as_words(where: str, name: str, flag: str, value: Any) -> list[str]:
    """Return an option with a value of a file as words of a command line."""
    if isinstance(value, bool):
        return [flag] if value else []
    if isinstance(value, Mapping):
        return [word for key, inner in value.items() for word in (flag, f"{key}={_text(where, name, inner)}")]
    return [f"{flag}={_text(where, name, value)}"]


def _text(where: str, name: str, value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(_text(where, name, each) for each in value)
    if isinstance(value, int) and not INTEGERS[0] <= value <= INTEGERS[1]:
        raise UsageError(f"{where}: {name}: expected a number of at most 64 bits, received a larger one")
    if isinstance(value, str | int | float):
        return str(value)
    raise UsageError(
        f"{where}: {name}: expected text, a number, true or false, a list or a table, received {type(value).__name__}"
    )


def read(where: str, path: Path) -> dict[str, Any]:
    """Return the content of a TOML or YAML file.

    Args:
        where: The file as it was given, for messages.
        path: The file.

    Raises:
        UsageError: The file is missing, cannot be read, or is no table.
    """
    if not path.is_file():
        raise UsageError(f"{where}: expected a TOML or YAML file, found {'a folder' if path.is_dir() else 'none'}")
    try:
        content = path.read_text(encoding="utf-8")
        if path.suffix.lower() in (".yaml", ".yml"):
            import yaml

            try:
                found = yaml.safe_load(content)
            except yaml.YAMLError as error:
                raise ValueError(" ".join(str(error).split())) from None
            found = {} if found is None else found
        else:
            found = tomllib.loads(content)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where}: expected {_kind(path)}, it cannot be read: {str(error)[:200]}") from None
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise UsageError(f"{where}: expected a table of values by name, received {type(found).__name__}")
    return found


def _kind(path: Path) -> str:
    return "YAML" if path.suffix.lower() in (".yaml", ".yml") else "TOML"


def written(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """Return options as TOML; those that have their default are comments.

    Args:
        values: Values by the name of the option; tables come last, as TOML wants it.
        defaults: Default of each option.
    """
    lines, tables = [], []
    for name, value in values.items():
        if isinstance(value, Mapping):
            if value:
                tables += ["", f"[{name}]", *(f"{json.dumps(key)} = {_toml(inner)}" for key, inner in value.items())]
        elif value is None:
            lines.append(f"# {name} =")
        else:
            lines.append(f"{'# ' * (value == defaults[name])}{name} = {_toml(value)}")
    return "\n".join([*lines, *tables]) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(each) for each in value)}]"
    if isinstance(value, int | float):
        return repr(float(value) if isinstance(value, float) else int(value))
    return json.dumps(str(value), ensure_ascii=False)
