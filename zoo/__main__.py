"""`zoo VERB` or `python -m zoo VERB`: run any command of the project by one short name. Standard library only."""

import functools
import runpy
import sys
from collections.abc import Sequence

import zoo
from strategies.streams import outlasting
from zoo.console.errors import nearest
from zoo.console.verbs import PURPOSES, VERBS


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that a verb names, as `python -m` would, or list all of them.

    Args:
        argv: Verb and its arguments. Default: those of this process.

    Returns:
        Exit status: 0 for the list, 2 for an unknown verb. A command ends the process with its own.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] not in VERBS:
        return outlasting("zoo", functools.partial(_answer, *words[:1]))
    verb, *rest = words
    sys.argv = [verb, *rest]
    runpy.run_module(VERBS[verb], run_name="__main__", alter_sys=True)
    return 0


def _answer(word: str = "--help") -> int:
    """List the commands, show the version, or say that there is no such command."""
    if word in ("-h", "--help"):
        print(_listed())
    elif word == "--version":
        print(zoo.__version__)
    else:
        text = f"zoo: unknown command {word!r}: expected one that `zoo --help` lists{nearest(word, VERBS)}"
        print(text, file=sys.stderr)
        return 2
    return 0


def _listed() -> str:
    width = max(map(len, VERBS)) + 2
    lines = ["usage: zoo VERB ...    (`zoo VERB --help` has the arguments of a command)"]
    for purpose, commands in PURPOSES.items():
        lines += ["", f"{purpose}:", *(f"  {verb:<{width}}{what}" for verb, (_, what) in commands.items())]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
