"""Parser of words with arguments, such as `prune(0.8, pattern=2:4)`, in recipes and attacks. Standard library only."""

import inspect
import re
from collections.abc import Mapping
from typing import Any

from zoo.console.errors import UsageError, nearest, unknown
from zoo.console.values import parse as parse_value

_WORD = re.compile(r"\s*([A-Za-z_]\w*)\s*(?:\(([^()]*)\))?\s*")


def parse(
    option: str, text: str, words: Mapping[str, Mapping[str, inspect.Parameter]], *, what: str, such_as: str
) -> tuple[str, dict[str, Any]]:
    """Parse one word.

    Args:
        option: Option the word was given to, for messages, such as "--recipe".
        text: Text `word` or `word(value, name=value)`. Several values of one argument are separated by `|`.
        words: Parameters of each known word, by word, in positional order.
        what: Kind of word, for messages, such as "recipe word".
        such_as: Examples of words, for messages.

    Returns:
        The word, and its arguments by name, converted to the types of their annotations.

    Raises:
        UsageError: If the word or an argument does not exist, or a value has the wrong type.
    """
    match = _WORD.fullmatch(text)
    if match is None:
        raise UsageError(f"{option}: expected {such_as}, received {text!r}")
    name, inside = match[1], match[2]
    if name not in words:
        raise unknown(what, name, words)
    return name, _arguments(f"{option} {name}", inside or "", words[name])


def _arguments(word: str, inside: str, known: Mapping[str, inspect.Parameter]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for position, part in enumerate(filter(None, map(str.strip, inside.split(",")))):
        key, equals, value = map(str.strip, part.partition("="))
        if not equals:
            if position >= len(known):
                raise UsageError(f"{word}: expected at most {len(known)} arguments, received also {part!r}")
            key, value = list(known)[position], key
        if key not in known:
            listed = ", ".join(known) or "none"
            raise UsageError(
                f"{word}: no argument {key!r}: expected one of {listed}{nearest(key, known)}"
                if known
                else f"{word}: takes no arguments, received {part!r}"
            )
        if key in found:
            raise UsageError(f"{word}: {key} is given twice")
        found[key] = parse_value(f"{word}({key})", value.replace("|", ","), known[key].annotation)
    return found
