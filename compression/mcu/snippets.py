"""Fill templates of code that runs a .tflite file on Android, iOS and a microcontroller.

The templates use the interfaces of litert/kotlin and tflite/swift in github.com/google-ai-edge/LiteRT at commit f674577
of 2026-08-21, and of github.com/tensorflow/tflite-micro at the commit that `compression.devices.micro` names.
"""

import json
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.console.errors import UsageError

TEMPLATES = Path(__file__).with_name("snippet_templates")
# Templates of `python -m compression.snippets`; the others belong to `compression.to_c`.
SNIPPETS = ("android.kt", "ios.swift", "microcontroller.cc")
# Types and conversions of a file's values in Kotlin, in Swift and in TfLiteTensor's union; uint8 pixels stay bytes.
_KOTLIN_WRITES = {
    "float32": ("FloatArray", "input.writeFloat(values)"),
    "int8": (
        "FloatArray",
        "input.writeInt8(ByteArray(values.size) { i ->\n"
        "            (values[i] / @{input_scale}f + @{input_zero}).roundToInt().coerceIn(-128, 127).toByte()\n"
        "        })",
    ),
    "uint8": ("ByteArray", "input.writeInt8(values)"),
    "int32": ("IntArray", "input.writeInt(values)"),
}
_KOTLIN_READS = {
    "float32": "return output.readFloat()",
    "int8": "return output.readInt8().map { (it - @{output_zero}) * @{output_scale}f }.toFloatArray()",
}
_SWIFT_WRITES = {
    "float32": ("Float", "Float", "values"),
    "int8": (
        "Float",
        "Int8",
        "values.map { value in\n"
        "            Int8(max(-128, min(127, (value / @{input_scale} + @{input_zero}).rounded())))\n"
        "        }",
    ),
    "uint8": ("UInt8", "UInt8", "values"),
    "int32": ("Int32", "Int32", "values"),
}
_SWIFT_READS = {"float32": ("Float", "$0"), "int8": ("Int8", "(Float($0) - @{output_zero}) * @{output_scale}")}
# What training did to pictures of another aspect ratio; see `zoo.data.fitting`.
_FITS = {"crop": "crop the middle", "pad": "pad with black", "stretch": "stretch"}
_UNION = {"float32": "f", "int8": "int8", "uint8": "uint8", "int32": "i32"}


class _Template(string.Template):
    delimiter = "@"  # Kotlin and Swift use the default delimiter $


def filled(template: str, words: Mapping[str, Any]) -> str:
    """Return a template with its placeholders filled in; values may contain placeholders themselves.

    Args:
        template: Name of a file in TEMPLATES.
        words: Values by placeholder, as returned by `words_of`.
    """
    text = (TEMPLATES / template).read_text()
    return _Template(_Template(text).safe_substitute(words)).substitute(words)


def words_of(path: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of the templates' placeholders for a file.

    Args:
        path: Path of the .tflite file.
        facts: Result of `compression.mcu.facts.facts_of`.

    Raises:
        UsageError: The file is of a kind for which no code can be written.
    """
    from compression.flatbuffers import flatbuffer
    from compression.mcu import c_array
    from compression.receipts.described import described

    model = flatbuffer.read(path)
    keys = list(flatbuffer.signatures(model))
    counts = [len(keys), len(facts["inputs"]), len(facts["outputs"])]
    if counts != [1, 1, 1]:
        raise UsageError(
            f"{path}: expected a file of one signature with one input and one output, received"
            f" {counts[0]} signatures, {counts[1]} inputs and {counts[2]} outputs"
        )
    if flatbuffer.keeps_state(model):
        raise UsageError(
            f"{path}: expected a file without variable tensors, this one keeps state between calls, which the generated"
            " code does not reset"
        )
    (given,), (made,) = facts["inputs"], facts["outputs"]
    if given["type"] not in _KOTLIN_WRITES or made["type"] not in _KOTLIN_READS:
        raise UsageError(
            f"{path}: expected an input of {', '.join(_KOTLIN_WRITES)} and an output of {' or '.join(_KOTLIN_READS)},"
            f" received {given['type']} and {made['type']}"
        )
    kotlin, swift = _KOTLIN_WRITES[given["type"]], _SWIFT_WRITES[given["type"]]
    words = {
        "file": literal(path.name),
        "stem": literal(path.stem),
        "extension": literal(path.suffix.removeprefix(".")),
        "sha256": facts["sha256"],
        "type": "".join(part.capitalize() for part in facts["name"].split("_")),
        "name": facts["name"],
        "macro": f"{facts['name']}_tflite".upper(),
        "signature": literal(keys[0]),
        "kotlin_imports": "import kotlin.math.roundToInt\n" if given["type"] == "int8" else "",
        "kotlin_given": kotlin[0],
        "kotlin_write": kotlin[1],
        "kotlin_made": "FloatArray",
        "kotlin_read": _KOTLIN_READS[made["type"]],
        **dict(zip(("swift_given", "swift_in", "swift_write"), swift, strict=True)),
        "swift_made": "Float",
        **dict(zip(("swift_out", "swift_read"), _SWIFT_READS[made["type"]], strict=True)),
        "c_in": _UNION[given["type"]],
        "c_out": _UNION[made["type"]],
    }
    more_of_input = told_of(described(path)["about"].get("input", {}))
    for side, end, more in (("input", given, more_of_input), ("output", made, "")):
        words |= {
            side: c_array.about(end) + more,
            f"{side}_name": literal(end["name"]),
            f"{side}_elements": end["elements"],
            f"{side}_shape": end["shape"],
            f"{side}_scale": f"{end.get('scale', 1):.9g}",
            f"{side}_zero": f"({end.get('zero_point', 0)})",
        }
    return words


def told_of(about: Mapping[str, Any]) -> str:
    """Return what an input takes besides numbers of its shape, to follow the line about it; empty if that is all.

    Args:
        about: Description of the input, from that of the file.
    """
    if about.get("fit") in _FITS:
        return f"; pictures of another aspect ratio: {_FITS[about['fit']]}"
    if not about.get("rate"):
        return ""
    what = "samples of sound from -1 to 1" if about["kind"] == "sound" else "samples of sensors"
    return f"; {what}, {about['rate']:.6g} in a second"


def literal(text: str) -> str:
    """Return a text as a string literal that is valid in Kotlin and Swift.

    Raises:
        UsageError: The text contains characters with a special meaning in either language.
    """
    if not text.isprintable() or set(text) & set('"\\$@'):
        raise UsageError(f"{text!r}: expected a name without quotes, backslashes, $ and @, to write it into code")
    return json.dumps(text, ensure_ascii=False)
