"""`python -m compression.snippets`: write code that runs a .tflite file on Android, iOS and a microcontroller.

The templates use the APIs of litert/kotlin and tflite/swift of github.com/google-ai-edge/LiteRT at commit f674577 of
2026-08-21, and those of github.com/tensorflow/tflite-micro that `compression.devices.micro` names.
"""

import functools
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compression.mcu import detect_snippets, snippets
from compression.mcu.facts import checked_folder, facts_of
from compression.receipts.described import described
from zoo.config.options import option
from zoo.console import cli
from zoo.system.files import write_text


@dataclass(frozen=True, kw_only=True)
class Options:
    """Which file to write code for, and the folder of the code."""

    file: Path = option(".tflite file with one input and one output, or of a detector", positional=True)
    output: Path | None = option("folder for android.kt, ios.swift and microcontroller.cc (default: the file's)")
    name: str | None = option("name of the C array, as for to_c (default: derived from the file's)")


def run(given: Mapping[str, Any]) -> dict[str, Any]:
    """Write the code, and return its paths; microcontroller.cc is written if TFLite Micro can run the file."""
    options = Options(**given)
    folder = checked_folder(options.file, options.output, options.name)
    facts = facts_of(options.file, options.name)
    about = described(options.file)["about"]
    if detect_snippets.decodes(about):
        return _of_detector(options.file, folder, about, facts)
    words = snippets.words_of(options.file, facts)
    paths = [folder / name for name in snippets.SNIPPETS]
    if facts["hindrances"]:
        cli.say(f"no microcontroller.cc: TFLite Micro cannot run {options.file}: {'; '.join(facts['hindrances'])}")
        paths = [path for path in paths if path.suffix != ".cc"]
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        write_text(path, snippets.filled(path.name, words))
    return {"files": [str(path) for path in paths], "inputs": facts["inputs"], "outputs": facts["outputs"]}


def _of_detector(path: Path, folder: Path, about: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Write the code that decodes the outputs of a detector's file."""
    folder.mkdir(parents=True, exist_ok=True)
    made = detect_snippets.files(path, about, facts["sha256"])
    for name, text in made.items():
        write_text(folder / name, text)
    files = [str(folder / name) for name in made]
    return {"files": files, "inputs": facts["inputs"], "outputs": facts["outputs"]}


def show(result: Mapping[str, Any]) -> None:
    """Print the paths of the code."""
    for path in result["files"]:
        print(path)


main = functools.partial(
    cli.command,
    Options,
    run,
    show,
    prog="python -m compression.snippets",
    description="Write code that runs a .tflite file on Android, iOS and a microcontroller.",
)


if __name__ == "__main__":
    sys.exit(main())
