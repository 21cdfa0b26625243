"""The steps of a pipeline: read from a file, checked by the parsers of their commands, and told apart when repeated.

A file is TOML or YAML with a list `step`. Each step names a command with `do` and has the options of that command by
their names; positional arguments are options like any other. `{NAME}` stands for the path that an earlier step wrote:
NAME is the step's `name`, by default its command.
"""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.console import cli, option_files
from zoo.console.errors import UsageError, few, nearest

LIST, COMMAND, NAME = "step", "do", "name"
_REFERENCE = re.compile(r"\{([\w-]+)\}")


@dataclass(frozen=True)
class Step:
    """One command of a pipeline.

    Args:
        name: Name by which later steps refer to the path that it writes.
        module: Module of the command.
        words: Words after the command, with references in braces.
        resumed: Whether the command has an option `--resume`, by which it goes on after an interruption.
    """

    name: str
    module: str
    words: tuple[str, ...]
    resumed: bool = False

    def filled(self, paths: Mapping[str, str]) -> tuple[str, ...]:
        """Return the words with paths in place of references.

        Args:
            paths: Path that each earlier step wrote, by its name.
        """
        return tuple(_REFERENCE.sub(lambda found: paths.get(found[1], found[0]), word) for word in self.words)


def read(path: Path, verbs: Mapping[str, str]) -> list[Step]:
    """Return the steps of a file.

    Args:
        path: TOML or YAML file.
        verbs: Module of each command, by its verb.

    Raises:
        UsageError: The file has another form, a step names an unknown command, option or step, or a command would
            refuse its options.
    """
    content = option_files.read(f"PIPELINE {path}", path)
    if strange := [key for key in content if key != LIST]:
        raise UsageError(f"PIPELINE {path}: expected a list named {LIST}, received {strange[0]!r}")
    rows = content.get(LIST)
    if not isinstance(rows, list) or not rows or not all(isinstance(row, Mapping) for row in rows):
        raise UsageError(f"PIPELINE {path}: expected steps, each under [[{LIST}]] with {COMMAND} = COMMAND, found none")
    steps: list[Step] = []
    for number, row in enumerate(rows, 1):
        steps.append(_step(f"PIPELINE {path}, step {number}", row, [step.name for step in steps], verbs))
    return steps


def _step(place: str, row: Mapping[str, Any], earlier: list[str], verbs: Mapping[str, str]) -> Step:
    verb = row.get(COMMAND)
    if not isinstance(verb, str) or verb not in verbs:
        known = {verb: module for verb, module in verbs.items() if cli.options_of(module) is not None}
        received = "none" if verb is None else repr(verb)
        raise UsageError(
            f"{place}: {COMMAND}: expected a command that `zoo --help` lists, received {received}"
            f"{nearest(str(verb), known)}"
        )
    options = cli.options_of(verbs[verb])
    if options is None:
        raise UsageError(f"{place}: {COMMAND} = {verb!r}: this command cannot be a step")
    name = row.get(NAME, verb)
    if not isinstance(name, str) or not _REFERENCE.fullmatch(f"{{{name}}}"):
        raise UsageError(f"{place}: {NAME}: expected letters, digits, - and _, received {name!r}")
    if name in earlier:
        raise UsageError(f"{place}: expected a name of its own, received {name!r} again; give it with {NAME} = NAME")
    given = {key: value for key, value in row.items() if key not in (COMMAND, NAME)}
    resumed = "resume" in {field.name for field in dataclasses.fields(options)}
    if resumed and "output" not in given:
        raise UsageError(f"{place}, {verb}: expected output = FOLDER, so that it can be resumed, received none")
    step = Step(name, verbs[verb], tuple(_words(place, options, given)), resumed)
    for word in step.words:
        for reference in _REFERENCE.findall(word):
            if reference not in earlier:
                known = f"among {few(earlier)}" if earlier else "(this is the first)"
                raise UsageError(
                    f"{place}: {{{reference}}}: expected an earlier step {known}{nearest(reference, earlier)}"
                )
    _check(place, options, verb, step.words)
    return step


def _words(place: str, options: type, given: Mapping[str, Any]) -> list[str]:
    """Return options by name as words of a command line, positional arguments first, in their order."""
    fields = dataclasses.fields(options)
    positional = [field.name for field in fields if field.metadata.get("positional")]
    plain = {key.replace("-", "_"): value for key, value in given.items()}
    words: list[str] = []
    for name in positional:
        if name in plain:
            value = plain.pop(name)
            words += [str(part) for part in (value if isinstance(value, list) else [value])]
    return [*words, *option_files.as_words(place, plain, cli.flags(options))]


def _check(place: str, options: type, verb: str, words: tuple[str, ...]) -> None:
    """Raise UsageError for words that the command would refuse before it looks at its input."""
    try:
        given = cli.parse(options, words, prog=f"zoo {verb}", description="")
        options(**{name: value for name, value in given.items() if name not in cli.FRAME})
    except UsageError as error:
        raise UsageError(f"{place}, {verb}: {error}") from None
    except TypeError as error:  # a required argument is missing
        raise UsageError(f"{place}, {verb}: {error}") from None
