"""Write a .tflite file as C: a header that describes inputs and outputs, and a source file with the bytes."""

import re
from collections.abc import Mapping
from typing import Any

from compression.devices import micro

# Marks generated files, so that no other file is overwritten.
MARK = "made by python -m compression.to_c"
_IN_A_LINE = 16
# Bytes for TFLite Micro's own data where they are not measured.
ROOM = 16 * 1024
_C_TYPES = {
    "float32": "Float32",
    "int8": "Int8",
    "uint8": "UInt8",
    "int16": "Int16",
    "int32": "Int32",
    "int64": "Int64",
}
_C_TYPES |= {"bool": "Bool", "float16": "Float16", "float64": "Float64"}


def identifier(text: str) -> str:
    """Return a C identifier for a file name: letters, digits and underscores, without a leading digit."""
    name = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_") or "model"
    return f"model_{name}" if name[0].isdigit() else name


def quoted(text: str) -> str:
    """Return a text as a C string literal that is also safe inside a line comment."""

    def escaped(byte: int) -> str:  # a question mark could start a trigraph
        return chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}"

    return '"' + "".join(map(escaped, text.encode())) + '"'


def about(end: Mapping[str, Any]) -> str:
    """Describe an input or output: name, type, shape and, if quantized, the formula of its real values."""
    real = f", real value = {end['scale']:.9g} * (value - {end['zero_point']})" if "scale" in end else ""
    return f"{quoted(end['name'])}: {end['type']} {end['shape']}{real.replace('- -', '+ ')}"


def header(facts: Mapping[str, Any]) -> str:
    """Return the C header of a file.

    Args:
        facts: Result of `compression.mcu.facts.facts_of`.
    """
    symbol = f"{facts['name']}_tflite"
    macro = symbol.upper()
    parts = [
        _opening(facts),
        f"#ifndef {macro}_H_\n#define {macro}_H_\n\n#include <stddef.h>",
        *(_end(macro, side, i, end) for side in ("input", "output") for i, end in enumerate(facts[f"{side}s"])),
        _registration(macro, facts),
        _arena(macro, facts),
        '#ifdef __cplusplus\nextern "C" {\n#endif',
        f"// Bytes of the file, aligned to 16.\n"
        f"extern const unsigned char {symbol}[{facts['bytes']}];\nextern const size_t {symbol}_len;",
        "#ifdef __cplusplus\n}\n#endif",
        f"#endif  // {macro}_H_",
    ]
    return "\n\n".join(parts) + "\n"


def source(facts: Mapping[str, Any], content: bytes) -> str:
    """Return the source file with the bytes, for C11 or C++11.

    Args:
        facts: Result of `compression.mcu.facts.facts_of`.
        content: Bytes of the .tflite file.
    """
    symbol = f"{facts['name']}_tflite"
    lines = [content[at : at + _IN_A_LINE] for at in range(0, len(content), _IN_A_LINE)]
    values = "\n".join("    " + " ".join(f"0x{byte:02x}," for byte in line) for line in lines)
    return (
        f'{_opening(facts)}\n\n#include "{facts["name"]}.h"\n\n#include <stdalign.h>\n\n'
        f"alignas(16) const unsigned char {symbol}[{len(content)}] = {{\n{values}\n}};\n\n"
        f"const size_t {symbol}_len = {len(content)};\n"
    )


def _arena(macro: str, facts: Mapping[str, Any]) -> str:
    """Return the size of the arena: measured if that was possible, otherwise with room for TFLite Micro's own data."""
    least, measured = facts["arena_at_least"], facts["arena_bytes"]
    if measured is None:
        size = least + ROOM
        told = f"Tensors that are live at the same time, and {ROOM} bytes for TFLite Micro's own data. Not measured"
    else:
        size = measured
        told = "Measured in TFLite Micro's interpreter on a 64-bit machine, whose own data take more than on 32 bits"
    return (
        f"// Bytes of the arena. {told};\n"
        f"// MicroInterpreter::arena_used_bytes() returns the total on the device. Kernels of chip vendors, such as\n"
        f"// CMSIS-NN, may ask for more scratch memory.\n"
        f"#define {macro}_ARENA_BYTES {size}\n"
        f"// Lower bound: tensors that are live at the same time.\n"
        f"#define {macro}_ARENA_AT_LEAST {least}"
    )


def _opening(facts: Mapping[str, Any]) -> str:
    return f"// {quoted(facts['file'])} as a C array, {MARK}\n// {facts['bytes']:,} bytes, SHA-256 {facts['sha256']}"


def _end(macro: str, side: str, number: int, end: Mapping[str, Any]) -> str:
    """Return the comment and the constants of an input or output."""
    values = {
        "NAME": quoted(end["name"]),
        "TYPE": f"kTfLite{_C_TYPES.get(end['type'], 'NoType')}",
        "RANK": len(end["shape"]),
        "DIMS": "{" + ", ".join(map(str, end["shape"])) + "}",
        "ELEMENTS": end["elements"],
    }
    if "scale" in end:
        values |= {"SCALE": _float(end["scale"]), "ZERO_POINT": f"({end['zero_point']})"}
    lines = [f"#define {macro}_{side.upper()}_{number}_{name} {value}" for name, value in values.items()]
    return "\n".join([f"// {side}({number}) {about(end)}", *lines])


def _float(value: float) -> str:
    """Return a float constant for a float32 value; nine significant digits represent every float32 exactly."""
    text = f"{value:.9g}"
    return text + ("f" if "." in text or "e" in text else ".0f")


def _registration(macro: str, facts: Mapping[str, Any]) -> str:
    """Return the code that registers the operators, as a line to copy and as a macro."""
    methods = facts["methods"]
    added = " ".join(f"resolver.{method}();" for method in methods)
    calls = [f"(resolver).{method}() == kTfLiteOk" for method in methods] or ["true"]
    lines = [
        f"// Operators to register, with the method names of TFLite Micro at {micro.SOURCE}:",
        f"//   tflite::MicroMutableOpResolver<{len(methods)}> resolver; {added}",
        *(f"// TFLite Micro cannot run this file: {quoted(text)}" for text in facts["hindrances"]),
        f"#define {macro}_OPERATORS {len(methods)}",
        f"#define {macro}_ADD_OPERATORS(resolver) \\",
        "  (" + " && \\\n   ".join(calls) + ")",
    ]
    return "\n".join(lines)
