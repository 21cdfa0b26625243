"""`python -m zoo.pipeline FILE`, or `zoo run FILE`: carry out the commands that a file lists, one after the other."""

import functools
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.config.options import option
from zoo.config.train_config import command_line
from zoo.console import cli
from zoo.console.children import carry_out
from zoo.console.documents import from_json
from zoo.console.errors import UsageError
from zoo.console.verbs import VERBS
from zoo.pipeline import steps
from zoo.pipeline.steps import Step
from zoo.system.files import write_json


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to carry out."""

    pipeline: Path = option("TOML or YAML file with a list of steps, see docs/guides/pipelines.md", positional=True)
    notes: Path | None = option("file that remembers finished steps (default: PIPELINE.done.json)", metavar="FILE")
    again: bool = option("run every step again, including finished ones", False)
    dry_run: bool = option("print the commands without running them", False)


def run(given: Mapping[str, Any]) -> dict[str, Any]:
    """Carry out the steps that are not finished, and return all of them with their paths."""
    options = Options(**given)
    found = steps.read(options.pipeline, VERBS)
    if options.dry_run:
        return {"steps": [{"name": step.name, "command": command_line(step.module, *step.words)} for step in found]}
    notes = options.notes or options.pipeline.with_name(f"{options.pipeline.stem}.done.json")
    before = [] if options.again else _noted(notes)
    done: list[dict[str, Any]] = []
    for number, step in enumerate(found):
        words = step.filled({row["name"]: row["path"] for row in done})
        row = {"name": step.name, "module": step.module, "words": list(words)}
        known = before[number] if number < len(before) else {}
        same = all(known.get(key) == value for key, value in row.items())
        if same and known.get("path") and Path(known["path"]).exists():
            cli.say(f"step {number + 1} of {len(found)}, {step.name}: finished before, {known['path']}")
            done.append(known)
            continue
        write_json(notes, {"steps": [*done, row]})
        done.append(row | _carried_out(step, words, f"step {number + 1} of {len(found)}", again=bool(same and known)))
        before = []  # what later steps read has changed
        write_json(notes, {"steps": done})
    return {"steps": done, "notes": str(notes), "path": done[-1]["path"]}


def _carried_out(step: Step, words: tuple[str, ...], place: str, *, again: bool) -> dict[str, Any]:
    """Carry out one step, and return the path that it wrote and the time that it took.

    Args:
        step: The step.
        words: Its words, with paths in place of references.
        place: The step in a message.
        again: Whether it was begun before, so that it is to be resumed where its command can.
    """
    words = (*words, "--resume") if again and step.resumed else words
    command = command_line(step.module, *words)
    cli.say(f"{place}, {step.name}: $ {command}")
    began = time.monotonic()
    printed = carry_out(step.module, *words, typed=command, again="the same zoo.pipeline goes on").rstrip("\n")
    if printed:
        cli.say(printed)
    return {"path": printed.rpartition("\n")[2], "seconds": round(time.monotonic() - began, 1)}


def _noted(notes: Path) -> list[dict[str, Any]]:
    """Return the steps that a file of notes has, none if there is no such file.

    Raises:
        UsageError: The file is no file of notes.
    """
    if not notes.exists():
        return []
    content = from_json(notes.read_bytes(), f"--notes {notes}")
    rows = content.get("steps") if isinstance(content, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UsageError(f"--notes {notes}: expected the notes of a pipeline, found another JSON file")
    return rows


def show(result: Mapping[str, Any]) -> None:
    """Print the commands of a dry run; otherwise the time of each step, and last the path of the last one."""
    if "path" not in result:
        print("\n".join(step["command"] for step in result["steps"]))
        return
    for step in result["steps"]:
        print(f"{step['name']}: {step['seconds']:.0f} s, {step['path']}")
    print(f"notes:  {result['notes']}")
    print(result["path"])


main = functools.partial(
    cli.command,
    Options,
    run,
    show,
    prog="python -m zoo.pipeline",
    description="Run the commands that a file lists, one after the other. Finished steps are not run again, and an"
    " interrupted training is resumed.",
    examples=("python -m zoo.pipeline shrink.toml", "python -m zoo.pipeline shrink.toml --dry-run"),
)


if __name__ == "__main__":
    sys.exit(main())
