"""The text of a .tflite file as C: a header with what it takes and gives, and a source file with its bytes."""

import re
from collections.abc import Mapping
from typing import Any

from compression.mcu import micro

# By which a file of ours is known, so that no other is overwritten.
MARK = "made by python -m compression.to_c"
_IN_A_LINE = 16
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
    """Return the name in C of a file of this name: letters, digits and underscores, not beginning with a digit."""
    name = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_") or "model"
    return f"model_{name}" if name[0].isdigit() else name


def quoted(text: str) -> str:
    """Return a text as a C string, which neither ends a comment's line nor goes on with the next."""

    def escaped(byte: int) -> str:  # ? would begin a trigraph
        return chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}"

    return '"' + "".join(map(escaped, text.encode())) + '"'


def about(end: Mapping[str, Any]) -> str:
    """Return what a person must know of an input or output: name, type, shape and what its values stand for."""
    stands = f", which stands for {end['scale']:.9g} * (value - {end['zero_point']})" if "scale" in end else ""
    return f"{quoted(end['name'])}: {end['type']} {end['shape']}{stands.replace('- -', '+ ')}"


def header(facts: Mapping[str, Any]) -> str:
    """Return the header of a file.

    Args:
        facts: of `compression.mcu.facts.facts_of`.
    """
    symbol = f"{facts['name']}_tflite"
    macro = symbol.upper()
    parts = [
        _opening(facts),
        f"#ifndef {macro}_H_\n#define {macro}_H_\n\n#include <stddef.h>",
        *(_end(macro, side, i, end) for side in ("input", "output") for i, end in enumerate(facts[f"{side}s"])),
        _registration(macro, facts),
        f"// An arena of less cannot suffice: tensors that are needed at the same time. What TFLite Micro keeps for\n"
        f"// itself comes on top; MicroInterpreter::arena_used_bytes() tells it on the device.\n"
        f"#define {macro}_ARENA_AT_LEAST {facts['arena_at_least']}",
        '#ifdef __cplusplus\nextern "C" {\n#endif',
        f"// The file, from an address that is a multiple of 16.\n"
        f"extern const unsigned char {symbol}[{facts['bytes']}];\nextern const size_t {symbol}_len;",
        "#ifdef __cplusplus\n}\n#endif",
        f"#endif  // {macro}_H_",
    ]
    return "\n\n".join(parts) + "\n"


def source(facts: Mapping[str, Any], content: bytes) -> str:
    """Return the source file with the bytes, for C11 or C++11.

    Args:
        facts: of `compression.mcu.facts.facts_of`.
        content: of the .tflite file.
    """
    symbol = f"{facts['name']}_tflite"
    lines = [content[at : at + _IN_A_LINE] for at in range(0, len(content), _IN_A_LINE)]
    values = "\n".join("    " + " ".join(f"0x{byte:02x}," for byte in line) for line in lines)
    return (
        f'{_opening(facts)}\n\n#include "{facts["name"]}.h"\n\n#include <stdalign.h>\n\n'
        f"alignas(16) const unsigned char {symbol}[{len(content)}] = {{\n{values}\n}};\n\n"
        f"const size_t {symbol}_len = {len(content)};\n"
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
    """Return a constant of type float that is exactly this one: nine digits tell every float32 from the next."""
    text = f"{value:.9g}"
    return text + ("f" if "." in text or "e" in text else ".0f")


def _registration(macro: str, facts: Mapping[str, Any]) -> str:
    """Return the code that registers the operators, as a line to copy and as a macro."""
    methods = facts["methods"]
    added = " ".join(f"resolver.{method}();" for method in methods)
    calls = [f"(resolver).{method}() == kTfLiteOk" for method in methods] or ["true"]
    lines = [
        f"// Operators to register, by the list of TFLite Micro, {micro.SOURCE}:",
        f"//   tflite::MicroMutableOpResolver<{len(methods)}> resolver; {added}",
        *(f"// TFLite Micro cannot run this file: {quoted(text)}" for text in facts["hindrances"]),
        f"#define {macro}_OPERATORS {len(methods)}",
        f"#define {macro}_ADD_OPERATORS(resolver) \\",
        "  (" + " && \\\n   ".join(calls) + ")",
    ]
    return "\n".join(lines)
