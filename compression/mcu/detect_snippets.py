"""Fill templates of code that decodes the outputs of a detector's file, in C, Kotlin and Swift."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compression.mcu import snippets
from compression.on_device import detect

NAMES = ("detect.c", "detect.kt", "detect.swift")
# Bytes of a candidate in C: five floats and an integer.
CANDIDATE = 24


def decodes(about: Mapping[str, Any]) -> bool:
    """Return whether a file, by its description, leaves the decoding of boxes to the host."""
    return "decoding" in about


def files(path: Path, about: Mapping[str, Any], sha256: str) -> dict[str, str]:
    """Return the code by the name of its file.

    Args:
        path: Path of the .tflite file.
        about: Its description.
        sha256: Its SHA-256.
    """
    words = _words(path, about) | {"sha256": sha256}
    return {name: snippets.filled(name, words) for name in NAMES}


def _words(path: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    decoding, suppression = about["decoding"], about["suppression"]
    levels, first = decoding["levels"], 0
    rows = []
    for level in levels:
        numbers = (level["stride"], level["rows"], level["columns"], first, len(level["sizes"]))
        rows.append(f"{{{', '.join(map(str, numbers))}}}")
        first += len(level["sizes"])
    sizes = [size for level in levels for size in level["sizes"]]
    kotlin = [
        f"Level({level['stride']}, {level['rows']}, {level['columns']},"
        f" listOf({', '.join(f'Pair({_float(w)}f, {_float(h)}f)' for w, h in level['sizes'])}))"
        for level in levels
    ]
    swift = [
        f"({level['stride']}, {level['rows']}, {level['columns']},"
        f" [{', '.join(f'({_float(w)}, {_float(h)})' for w, h in level['sizes'])}])"
        for level in levels
    ]
    return {
        "file_name": path.name,
        "classes": len(about["labels"]),
        "labels": ", ".join(snippets.literal(label) for label in about["labels"]),
        "rows": decoding["size"][0],
        "columns": decoding["size"][1],
        "candidates": suppression["candidates"],
        "most": suppression["most"],
        "overlap": json.dumps(suppression["overlap"]),
        "bytes": f"{CANDIDATE * suppression['candidates']:,}",
        "levels": ", ".join(rows),
        "sizes": ", ".join(f"{{{_float(w)}f, {_float(h)}f}}" for w, h in sizes),
        "kotlin_levels": ", ".join(kotlin),
        "swift_levels": ", ".join(swift),
        "c_decode": _decode(decoding, "one.", "expf", "f", ";", 12),
        "kotlin_decode": _decode(decoding, "val ", "exp", "f", "", 20),
        "swift_decode": _decode(decoding, "let ", "exp", "", "", 28),
    }


def _decode(decoding: Mapping[str, Any], begin: str, exp: str, suffix: str, end: str, indent: int) -> str:
    """Return the lines that compute the sides of a box, in C, Kotlin or Swift."""
    middle = f"{_float(decoding['middle'])}{suffix}"
    raw = [f"(raw[{i}] - {middle})" for i in range(4)]
    if decoding["coding"] == "distances":
        lines = [
            f"{begin}{side} = {place} {sign} {size} * {exp}{one}"
            for (side, place, sign, size), one in zip(
                (("x1", "x", "-", "width"), ("y1", "y", "-", "height"), ("x2", "x", "+", "width"),
                 ("y2", "y", "+", "height")), raw, strict=True,
            )
        ]  # fmt: skip
    else:
        centre, size = (f"{_float(scale)}{suffix}" for scale in (detect.CENTRE, detect.SIZE))
        half = f"0.5{suffix}"
        lines = [f"x += width * {centre} * {raw[0]}", f"y += height * {centre} * {raw[1]}"]
        for side, place, sign, whole, one in (
            *(("x1", "x", "-", "width", raw[2]), ("y1", "y", "-", "height", raw[3])),
            *(("x2", "x", "+", "width", raw[2]), ("y2", "y", "+", "height", raw[3])),
        ):
            lines.append(f"{begin}{side} = {place} {sign} {half} * {whole} * {exp}({size} * {one})")
    return f"\n{' ' * indent}".join(f"{line}{end}" for line in lines)


def _float(value: float) -> str:
    """Return a number as a literal with a decimal point."""
    text = f"{value:.9g}"
    return text if any(mark in text for mark in ".e") else f"{text}.0"
