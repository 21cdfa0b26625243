"""`python -m compression.to_c`: write a .tflite file as a C array, for TFLite Micro on a microcontroller."""

import functools
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compression.devices import targets
from compression.devices.targets import Target
from compression.mcu.facts import checked_folder, facts_of
from zoo.config.options import option
from zoo.console import cli
from zoo.console.errors import Failed, UsageError
from zoo.system import temporary
from zoo.system.files import write_text


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to write as C, and the folder of the code."""

    file: Path = option(".tflite file", positional=True)
    output: Path | None = option("folder for NAME.h and NAME.c (default: the file's)", metavar="DIR")
    name: str | None = option("name of the array and its files (default: derived from the file's)")
    target: Target = option(
        "with an Arm accelerator such as ethos-u55-128, the array holds the file that Vela compiles for it", "tflm"
    )
    project: bool = option("also write main.cc and CMakeLists.txt, which build with the sources of TFLite Micro", False)
    force: bool = option("write it even if TFLite Micro cannot run it", False)


def run(given: Mapping[str, Any]) -> dict[str, Any]:
    """Write the header, the source file and, if wanted, a project around them; return their contents as values."""
    options = Options(**given)
    folder = checked_folder(options.file, options.output, options.name)
    if options.target not in ("tflm", *targets.NPUS):
        raise UsageError(
            f"--target {options.target}: expected tflm, or an accelerator such as {targets.DEFAULT}; other processors"
            " take the file as it is"
        )
    if options.target == "tflm":
        return _written(options, options.file, folder)
    targets.check_installed([f"--target {options.target}"])
    from compression.devices import vela
    from compression.flatbuffers import flatbuffer

    flatbuffer.read(options.file)
    with temporary.folder() as place:
        compiled = place / f"{options.file.stem}_{options.target}.tflite"
        if reason := vela.measure(options.file, options.target, compiled).get("refused"):
            raise Failed(f"{options.file}: {reason}")
        return _written(options, compiled, folder)


def _written(options: Options, file: Path, folder: Path) -> dict[str, Any]:
    """Write the code of a file, which may be a compiled one, and return what `run` returns."""
    from compression.mcu import c_array, snippets

    facts = facts_of(file, options.name)
    if facts["hindrances"] and not options.force:
        raise UsageError(
            f"{options.file}: TFLite Micro cannot run it: {'; '.join(facts['hindrances'])};"
            " --force writes it for another runtime"
        )
    texts = {
        f"{facts['name']}.h": c_array.header(facts),
        f"{facts['name']}.c": c_array.source(facts, file.read_bytes()),
    }
    if options.project:
        words = snippets.words_of(file, facts)
        texts |= {
            "main.cc": f"// {c_array.MARK}\n{snippets.filled('microcontroller.cc', words)}",
            "CMakeLists.txt": f"# {c_array.MARK}\n{snippets.filled('CMakeLists.txt', words)}",
        }
    for name in texts:
        path = folder / name
        if path.exists() and c_array.MARK not in path.read_text(errors="replace").partition("\n")[0]:
            raise UsageError(f"{path}: exists, and was not made by to_c; choose another --output or --name")
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        write_text(folder / name, text)
    header, source, *project = (str(folder / name) for name in texts)
    return {"path": source, "header": header, "project": project, **facts}


def show(result: Mapping[str, Any]) -> None:
    """Print inputs and outputs, the operators to register, and the paths of the code."""
    for side in ("input", "output"):
        for i, end in enumerate(result[f"{side}s"]):
            scale = f", scale {end['scale']:g}, zero point {end['zero_point']}" if "scale" in end else ""
            print(f"{side}({i}) {end['name']}: {end['type']} {end['shape']}{scale}")
    methods = result["methods"]
    print(f"tflite::MicroMutableOpResolver<{len(methods)}>: {', '.join(methods)}")
    measured = result["arena_bytes"]
    arena = (
        f"of more than {result['arena_at_least']:,} bytes" if measured is None else f"of {measured:,} bytes (measured)"
    )
    print(f"{result['bytes']:,} bytes of flash, and an arena {arena}")
    for text in result["hindrances"]:
        print(f"TFLite Micro cannot run it: {text}")
    for path in (*result["project"], result["header"]):
        print(path)
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
