"""What C code says of a .tflite file, and where the code goes."""

import re
from pathlib import Path
from typing import Any

from zoo.console.errors import UsageError
from zoo.system.files import sha256


def checked_folder(file: Path, output: Path | None, name: str | None) -> Path:
    """Return the folder that code for a file is written into.

    Raises:
        UsageError: there is a file of this name, or the name of the array is none in C.
    """
    if name is not None and not re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII):
        raise UsageError(f"--name: expected letters, digits and underscores, a letter first, received {name!r}")
    folder = output or file.parent
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--output {folder}: expected a folder, found a file")
    return folder


def facts_of(path: Path, name: str | None = None) -> dict[str, Any]:
    """Return what the C code says of a .tflite file; nothing of it is run.

    Args:
        path: of the file.
        name: of the array; default, made of the file's.

    Returns:
        name, file, bytes, sha256; inputs and outputs as the interpreter numbers them; operators with how often each is
        used; methods that register them; arena_at_least in bytes; hindrances, why TFLite Micro cannot run it.

    Raises:
        UsageError: there is no such file, it is not a TFLite flatbuffer, or it is cut short or altered.
    """
    from compression.flatbuffers import flatbuffer
    from compression.mcu import c_array, micro

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
        "hindrances": micro.hindrances(model),
    }
