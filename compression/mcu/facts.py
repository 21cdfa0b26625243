"""Properties of a .tflite file for generated code, and the folder of that code."""

import re
from pathlib import Path
from typing import Any

from zoo.console.errors import UsageError
from zoo.system.files import sha256


def checked_folder(file: Path, output: Path | None, name: str | None) -> Path:
    """Return the folder for the code of a .tflite file.

    Args:
        file: Path of the .tflite file.
        output: Folder for the code; None for the folder of the file.
        name: Name of the C array, or None.

    Raises:
        UsageError: The folder is a file, or the name is not a C identifier.
    """
    if name is not None and not re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII):
        raise UsageError(f"--name: expected letters, digits and underscores, a letter first, received {name!r}")
    folder = output or file.parent
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--output {folder}: expected a folder, found a file")
    return folder


def facts_of(path: Path, name: str | None = None) -> dict[str, Any]:
    """Return the properties of a .tflite file that generated code contains, without running the file.

    Args:
        path: Path of the file.
        name: Name of the C array. Default: derived from the file name.

    Returns:
        name, file, bytes and sha256; inputs and outputs in the interpreter's order; operators with their number of
        uses; methods that register them; arena_at_least, a lower bound in bytes; arena_bytes, what the interpreter of
        TFLite Micro takes, None without the extra `device` or if it cannot run the file; hindrances, the reasons why it
        cannot.

    Raises:
        UsageError: The file is missing, is not a TFLite flatbuffer, or is cut short or altered.
    """
    from compression.devices import arena, micro, targets
    from compression.flatbuffers import flatbuffer
    from compression.mcu import c_array

    model = flatbuffer.read(path)
    operators = flatbuffer.operators(model)
    return {
        "name": name or c_array.identifier(path.stem),
        "file": path.name,
        "bytes": path.stat().st_size,
        "sha256": sha256(path),
        **flatbuffer.ends_in_order(model),
        "operators": operators,
        "methods": [method for method in map(micro.method, operators) if method],
        "arena_at_least": micro.arena_at_least(model),
        "arena_bytes": arena.measure(path).get("arena_bytes") if targets.versions() else None,
        "hindrances": micro.hindrances(model),
    }
