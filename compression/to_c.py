"""`python -m compression.to_c`: write a .tflite file as a C array, for TFLite Micro on a microcontroller."""

import functools
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compression.mcu.facts import checked_folder, facts_of
from zoo.config.options import option
from zoo.console import cli
from zoo.console.errors import UsageError
from zoo.system.files import write_text


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to write as C, and the folder of the code."""

    file: Path = option(".tflite file", positional=True)
    output: Path | None = option("folder for NAME.h and NAME.c (default: the file's)", metavar="DIR")
    name: str | None = option("name of the array and its files (default: derived from the file's)")
    force: bool = option("write it even if TFLite Micro cannot run it", False)


def run(given: Mapping[str, Any]) -> dict[str, Any]:
    """Write the header and the source file, and return their contents as values."""
    options = Options(**given)
    folder = checked_folder(options.file, options.output, options.name)
    from compression.mcu import c_array

    facts = facts_of(options.file, options.name)
    if facts["hindrances"] and not options.force:
        raise UsageError(
            f"{options.file}: TFLite Micro cannot run it: {'; '.join(facts['hindrances'])};"
            " --force writes it for another runtime"
        )
    paths = {suffix: folder / f"{facts['name']}.{suffix}" for suffix in ("h", "c")}
    for path in paths.values():
        if path.exists() and c_array.MARK not in path.read_text(errors="replace").partition("\n")[0]:
            raise UsageError(f"{path}: exists, and was not made by to_c; choose another --output or --name")
    folder.mkdir(parents=True, exist_ok=True)
    write_text(paths["h"], c_array.header(facts))
    write_text(paths["c"], c_array.source(facts, options.file.read_bytes()))
    return {"path": str(paths["c"]), "header": str(paths["h"]), **facts}


def show(result: Mapping[str, Any]) -> None:
    """Print inputs and outputs, the operators to register, and the paths of the code."""
    for side in ("input", "output"):
        for i, end in enumerate(result[f"{side}s"]):
            scale = f", scale {end['scale']:g}, zero point {end['zero_point']}" if "scale" in end else ""
            print(f"{side}({i}) {end['name']}: {end['type']} {end['shape']}{scale}")
    methods = result["methods"]
    print(f"tflite::MicroMutableOpResolver<{len(methods)}>: {', '.join(methods)}")
    print(f"{result['bytes']:,} bytes of flash, and an arena of more than {result['arena_at_least']:,} bytes")
    for text in result["hindrances"]:
        print(f"TFLite Micro cannot run it: {text}")
    print(result["header"])
    print(result["path"])


main = functools.partial(
    cli.command,
    Options,
    run,
    show,
    prog="python -m compression.to_c",
    description="Write a .tflite file as a C array for TFLite Micro.",
)


if __name__ == "__main__":
    sys.exit(main())
